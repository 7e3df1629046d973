"""What the callbacks have in common: a Recorder that begins and ends with the training."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Mapping, Sequence
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from dominance.errors import RunExists
from dominance.record.recorder import Recorder
from dominance.store.lock import occupied

MetricNames = Mapping[str, tuple[str | None, str]]
"""What a trainer calls a metric -> the task it is of, or None, and what the metric is called."""


class Fitting:
    """One training after another is recorded at ``path``, which is what ``overwrite`` and ``resume`` are for.

    Args:
        path: the run directory.
        metrics: which of the trainer's metrics are of which task; others are kept as metrics of the whole model.
        options: of ``dominance.Recorder``.

    Raises:
        RunExists: ``path`` is there, and neither ``overwrite`` nor ``resume`` is given.
    """

    def __init__(self, path: str | PathLike[str], metrics: MetricNames | None, options: Mapping[str, Any]) -> None:
        if occupied(Path(path)) and not (options.get("overwrite") or options.get("resume")):
            raise RunExists(f"{path} exists", fix="give overwrite=True, resume=True, or another path")
        self.path = Path(path)
        self._metrics, self._options = dict(metrics or {}), dict(options)
        self._recorder: Recorder | None = None

    def start(self, model: nn.Module, optimizers: Sequence[Optimizer]) -> None:
        """Begin, where nothing is recorded yet. Raises what ``dominance.Recorder`` does."""
        if self._recorder is None:
            recorder = Recorder(self.path, model, list(optimizers), **self._options)
            self._recorder = recorder.__enter__()
            atexit.register(self._left)  # a training that raises may end without a word to its callbacks

    def stop(self, error: BaseException | None = None) -> None:
        """End, as what the training ended with. Does nothing where nothing is recorded."""
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            atexit.unregister(self._left)
            recorder.__exit__(None if error is None else type(error), error, None)

    def _left(self) -> None:
        self.stop(getattr(sys, "last_value", None) or RuntimeError("the training did not say that it had ended"))

    def epoch(self, number: int) -> None:
        """Which epoch the steps from now on belong to."""
        if self._recorder is not None:
            self._recorder.epoch(number)

    def log(self, metrics: Mapping[str, Any], split: str) -> None:
        """Keep the metrics that are numbers."""
        if self._recorder is None:
            return
        for name, value in metrics.items():
            number = value.detach().item() if hasattr(value, "detach") and value.numel() == 1 else value
            if isinstance(number, Real):
                task, called = self._metrics.get(name, (None, name))
                self._recorder.log_metrics({called: float(number)}, task=task, split=split)
