"""The numbers of a run are sent to a logger: of one that has ended, or while it grows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from importlib import import_module
from pathlib import Path, PurePath
from typing import Any, Protocol

import xarray as xr

from dominance.analyse.scalars import scalars
from dominance.config import check_sink
from dominance.errors import BadOption
from dominance.store.ended import ended
from dominance.store.files import RunPath
from dominance.store.reader import open_run

EASY = 10.0
"""A look at a run that grows is followed by a pause of so many times what it took: the training needs the cores."""

Call = Callable[[int, Mapping[str, float]], object]


class Logger(Protocol):
    """What a logger is told.

    Attributes:
        where: where the numbers are then, and how to see them.
    """

    where: str

    def write(self, step: int, seconds: float, numbers: Mapping[str, float]) -> None:
        """The numbers of one training step, which was taken at this time (of the epoch); steps come in order."""

    def close(self) -> None:
        """Nothing more comes."""


class _Function:
    """A callable as a sink."""

    def __init__(self, call: Call) -> None:
        self._call, self.where = call, ""

    def write(self, step: int, seconds: float, numbers: Mapping[str, float]) -> None:
        self._call(step, numbers)

    def close(self) -> None:
        """There is nothing to close."""


def begin(run: str, to: str | Call, attrs: Mapping[Any, Any]) -> Logger:
    """The sink of this run. Raises BadOption as ``check_sink``."""
    if callable(to):
        return _Function(to)
    check_sink(to)
    folder = Path(PurePath(run).name if "://" in run else run)
    sink: Logger = import_module(f"dominance.sinks.{to}").begin(folder, attrs)
    return sink


def send(run: RunPath | xr.DataTree, to: str | Call, *, follow: bool = False, every: float = 5.0) -> str:
    """Send the numbers of a run to a logger: losses, owners, effective tasks, conflicts, learning rates, metrics.

    Their names are paths, such as ``loss/TASK``; see ``dominance.analyse.scalars.scalars``. A run that is sent while it
    grows gives the same numbers as one that is sent when it has ended.

    Args:
        run: the run directory, or an open run.
        to: "tensorboard" (into ``RUN/tensorboard``), "wandb" (into ``RUN/wandb``, offline unless WANDB_MODE says
            otherwise), "mlflow" (where MLFLOW_TRACKING_URI says), or what is called with each step and its numbers.
        follow: go on while the run is being recorded, until it ends.
        every: seconds between two looks; more where a look takes long.

    Returns:
        where the numbers are, and how to see them; "" for a callable.

    Raises:
        BadOption: an unknown sink, or one whose package is not installed; or an open run is to be followed.
        NotARun: there is no run.

    >>> from dominance import send
    >>> losses = []
    >>> send(run, lambda step, numbers: losses.append((step, numbers["loss/a"])))
    ''
    >>> losses
    [(0, 1.0), (1, 1.0)]
    """
    if isinstance(run, xr.DataTree):
        if follow:
            raise BadOption("an open run does not grow", fix="give its path to follow it")
        with closing(begin(str(run.attrs["path"]), to, run.attrs)) as sink:
            _write(sink, run, -1, over=True)
            return sink.where
    tree = open_run(run)
    with closing(begin(str(tree.attrs["path"]), to, tree.attrs)) as sink:
        sent = -1
        while True:
            began = time.thread_time()
            over = not follow or ended(tree.attrs)
            if follow and over:  # what was written between opening it and its end
                tree.close()
                tree = open_run(run)
            sent = _write(sink, tree, sent, over=over)
            tree.close()
            if over:
                return sink.where
            time.sleep(max(every, EASY * (time.thread_time() - began)))
            tree = open_run(run)


def _write(sink: Logger, tree: xr.DataTree, sent: int, *, over: bool) -> int:
    """Write the steps after ``sent``, and return the last. That of a run that grows waits: metrics may still come."""
    last = math.inf if over else int(tree["step"].to_numpy().max(initial=-1))
    for step, seconds, numbers in scalars(tree):
        if sent < step < last:
            sink.write(step, seconds, numbers)
            sent = step
    return sent
