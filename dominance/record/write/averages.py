"""AU of every recorded coordinate, kept while the training goes on (AdaTask, Eq. 2): in the end no sample is needed.

It is what a reader works out of the rows, had they kept all coordinates: over the same steps, with the same decay. Of a
model that several processes share, each keeps what it has of it, until all is put together in the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dominance.decay import FLOOR, LEAST, WeightSeen
from dominance.errors import RecordingFailed
from dominance.record.group import Group, Lost
from dominance.record.parameters import Named
from dominance.record.sharded_models import Piece, whole_size
from dominance.record.split.packs import Packed
from dominance.schema import AVERAGE, AVERAGE_DECAY
from dominance.unattributed import MOST_UNATTRIBUTED

if TYPE_CHECKING:
    import xarray as xr

NOT_TOGETHER = "the training ended before the processes had put together what each has of it"

BYTES_STORED = 7
"""Of one number in the store, at most: 24 bits of mantissa, sign and exponent, and what does not compress."""


@dataclass
class _Held:
    """One parameter, flat."""

    sums: Tensor
    """(task, coordinate) float64, S_t = γ S_{t-1} + Δ_t²: AU = (1 - γ) S."""
    step: Tensor
    """(task, coordinate) Δ of the step in progress."""


class Averages:
    """The running averages of one run. For K tasks and N coordinates they take 12 K N bytes, where the parameters are.

    Args:
        named: the recorded parameters.
        tasks: how many tasks there are.
    """

    def __init__(self, named: Sequence[Named], tasks: int) -> None:
        self._held = {entry.tensor: _empty(entry.tensor, tasks) for entry in named}
        self._names = {entry.tensor: entry.name for entry in named}
        self._tasks = tasks
        self._last: int | None = None
        """The last step that was used."""
        self._recorded: int | None = None
        """The last step of all."""
        self._used = 0
        self._weight = WeightSeen(AVERAGE_DECAY)
        self._left = 1.0
        """By what the sums have faded since they were last held."""
        self._wholes: dict[Tensor, Tensor] | None = None
        """The sums of whole parameters, of which this process has pieces; None: they are not put together."""

    @property
    def in_pieces(self) -> bool:
        """Whether this process has a part of them only, and is to put it together with those of the others."""
        return any(isinstance(parameter, Piece) for parameter in self._held)

    @staticmethod
    def size(named: Sequence[Named], tasks: int) -> int:
        """Bytes that they take in the store, at most."""
        return BYTES_STORED * tasks * sum(whole_size(entry.tensor) for entry in named) + 2**16

    def replace(self, old: Tensor, new: Tensor) -> None:
        """``new`` is in the place of ``old``."""
        if old in self._held:
            self._held[new], self._names[new] = self._held.pop(old), self._names.pop(old)

    def widen(self, tasks: int) -> None:
        """Make room for tasks that came up later: until then they have moved nothing."""
        if tasks == self._tasks:
            return
        more, self._tasks = tasks - self._tasks, tasks
        for held in self._held.values():
            held.sums, held.step = (torch.cat([each, each.new_zeros(more, each.shape[1])]) for each in _both(held))

    def begin(self) -> None:
        """A step begins, of which nothing is known yet."""
        for held in self._held.values():
            held.step.zero_()

    def take(
        self, parameter: Tensor, task: int, update: Tensor, place: slice | None = None, rows: Tensor | None = None
    ) -> None:
        """A task's update of a parameter, or of a tile or of some rows of it."""
        row = self._held[parameter].step[task]
        if rows is not None:
            row.view(parameter.shape)[rows.to(row.device)] = update.detach().to(row.device, row.dtype)
            return
        (row if place is None else row[place]).copy_(update.detach().reshape(-1))

    def take_packed(self, packed: Packed, tasks: Sequence[int]) -> None:
        """``take``, of several parameters whose steps were split together."""
        ends = packed.pack.starts.tolist()
        for parameter, first, last in zip(packed.pack.members, ends[:-1], ends[1:], strict=True):
            for task, share in zip(tasks, packed.shares, strict=False):
                self.take(parameter, task, torch.from_numpy(share[first:last]))

    def end(self, step: int, *, used: bool) -> None:
        """The step of this number is over: S_t = γ^d S + Δ², d steps after the one before.

        Args:
            used: whether a reader uses it; else it is left out, as there.
        """
        self._recorded = step
        if not used:
            return
        gap = 1 if self._last is None else step - self._last
        self._weight.take(gap)
        self._last, self._used = step, self._used + 1
        fade = AVERAGE_DECAY**gap
        fade = max(fade, LEAST)
        self._left *= fade
        if self._left < LEAST:
            self._left = fade
            for held in self._held.values():
                _hold(held.sums)
        for held in self._held.values():
            held.sums.mul_(fade)
            for row, update in zip(held.sums, held.step, strict=True):
                wide = update.to(torch.float64)  # a float32 update below 1e-19 has no float32 square
                row.addcmul_(wide, wide)

    def put_together(self, group: Group, *, keep: bool) -> None:
        """Have all of them, of the pieces that the processes of the group have; all of them call this.

        Args:
            keep: whether this process is the one that is to have them.

        Raises:
            Lost: another process is gone, or has kept them of other steps.
        """
        steps = [self._last, self._used]
        if any(each != steps for each in group.gather(steps)):
            raise Lost("the processes of the training do not record the same steps")
        wholes: dict[Tensor, Tensor] = {}
        for parameter, held in self._held.items():
            if isinstance(parameter, Piece):
                mine = torch.zeros(self._tasks, whole_size(parameter), dtype=torch.float64)
                mine[:, parameter.start : parameter.start + parameter.numel()] = held.sums.cpu()
                (whole,) = group.mean([mine], 1)
                wholes |= {parameter: whole} if keep else {}
        self._wholes = wholes

    def dataset(self, tasks: Sequence[str], shared: Sequence[str]) -> xr.Dataset | None:
        """What the run keeps of it: AU of every coordinate of the parameters that two tasks reach.

        Args:
            tasks: names of the tasks.
            shared: names of these parameters.

        Returns:
            ``au`` (task, every_coord), the parameters one after the other, each flat, in their order in ``attrs``.
            None where no step was used or nothing is shared.

        Raises:
            RecordingFailed: the processes have not put together what each has.
        """
        import xarray as xr

        chosen = [parameter for parameter, name in self._names.items() if name in set(shared)]
        if self._last is None or not chosen:
            return None
        if self._wholes is None and any(parameter.numel() < whole_size(parameter) for parameter in chosen):
            raise RecordingFailed(NOT_TOGETHER)
        wholes = self._wholes or {}
        found = [wholes[p] if p in wholes else self._held[p].sums.cpu() for p in chosen]
        sums = np.concatenate([each.numpy() for each in found], axis=1)
        sums *= (1 - AVERAGE_DECAY) / self._weight.share
        return xr.Dataset(
            {"au": (("task", "every_coord"), _rounded(sums))},
            coords={"task": np.array(tasks, dtype=object)},
            attrs={
                "parameters": [self._names[parameter] for parameter in chosen],
                "sizes": [whole_size(parameter) for parameter in chosen],
                "step": self._last,
                "recorded": self._recorded,
                "decay": AVERAGE_DECAY,
                "max_unattributed": MOST_UNATTRIBUTED,
                "steps_used": self._used,
                "weights": [self._weight.seen, self._weight.every],
            },
        )

    def resume(self, path: Path, tasks: Sequence[str], last: int) -> bool:
        """Go on with what a run has kept; False, and from nothing, where that does not end where the run goes on from.

        Args:
            last: number of the last step that the run keeps.
        """
        from dominance.store.probes import read_probes

        found = read_probes(path, tasks).get(AVERAGE)
        if found is None or found.attrs["recorded"] != last:
            return False
        names, sizes = found.attrs["parameters"], found.attrs["sizes"]
        by_name = {self._names[parameter]: held for parameter, held in self._held.items()}
        if any(name not in by_name or by_name[name].sums.shape[1] != n for name, n in zip(names, sizes, strict=True)):
            return False
        self._last, self._used = found.attrs["step"], found.attrs["steps_used"]
        self._weight.seen, self._weight.every = found.attrs["weights"]
        values = np.nan_to_num(found["au"].to_numpy()) * self._weight.share / (1 - AVERAGE_DECAY)
        for name, part in zip(names, np.split(values, np.cumsum(sizes)[:-1], axis=1), strict=True):
            by_name[name].sums.copy_(torch.from_numpy(np.ascontiguousarray(part)))
        return True


def _empty(parameter: Tensor, tasks: int) -> _Held:
    device = torch.device("cpu") if parameter.device.type == "mps" else parameter.device  # it has no float64
    size = (tasks, parameter.numel())
    return _Held(*(torch.zeros(size, dtype=dtype, device=device) for dtype in (torch.float64, torch.float32)))


def _both(held: _Held) -> tuple[Tensor, Tensor]:
    return held.sums, held.step


def _hold(sums: Tensor) -> None:
    total = sums.sum(0)
    faint = (total < FLOOR) & (total > 0)
    sums.mul_(torch.where(faint, FLOOR / total, 1.0))


def _rounded(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """With as many bits as float32 has, in the range of float64: the zeros at the end compress."""
    bits = np.ascontiguousarray(values).view(np.int64) + (1 << 28)
    return (bits & ~np.int64((1 << 29) - 1)).view(np.float64)
