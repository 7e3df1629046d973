"""What a run that is resumed holds already."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class EarlierRows:
    """What a run holds already: the training steps of its rows, and of its events."""

    steps: npt.NDArray[np.int64]
    events: npt.NDArray[np.int64]

    @property
    def _sizes(self) -> tuple[int, int]:
        return len(self.steps), len(self.events)

    @property
    def next_step(self) -> int:
        """The training step that a resumed run goes on with."""
        return int(self.steps[-1]) + 1 if len(self.steps) else 0

    def last(self, keep: tuple[int, int] | None) -> int | None:
        """Number of the last step, of the first ``keep[0]`` rows where only these are kept."""
        steps = self.steps if keep is None else self.steps[: keep[0]]
        return int(steps[-1]) if len(steps) else None

    def before(self, step: int) -> tuple[int, int]:
        """How many rows and events there are before those of this training step."""
        later = [np.flatnonzero(numbers >= step) for numbers in (self.steps, self.events)]
        rows, events = (int(at[0]) if len(at) else size for at, size in zip(later, self._sizes, strict=True))
        return rows, events


def earlier_rows(path: Path) -> EarlierRows | None:
    """Those of a run directory; None where there is no run."""
    if not (path / "data.zarr").exists():
        return None
    from dominance.store.reader import open_run

    run = open_run(path)
    events = run["metric/event_step"].to_numpy() if "metric" in run.children else np.zeros(0, np.int64)
    return EarlierRows(run.dataset["step"].to_numpy(), events)
