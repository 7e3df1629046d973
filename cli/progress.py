"""How far a training is, on a terminal; nothing in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dominance.benchmarks.train.training import Progress

EVERY = 0.1
"""Seconds between two looks at the bar."""


@contextmanager
def counting(quiet: bool, what: str) -> Iterator[Callable[[int, int], None] | None]:
    """What to tell how many of how many are done; None where nobody looks."""
    if quiet or sys.__stderr__ is None or not sys.__stderr__.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(file=sys.__stderr__), transient=True, refresh_per_second=5) as bar:
        shown = bar.add_task(what, total=None)

        def tell(done: int, total: int) -> None:
            bar.update(shown, completed=done, total=total)

        yield tell


@contextmanager
def training_progress(quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """What to tell of each step; None where nobody looks."""
    if quiet or sys.__stderr__ is None or not sys.__stderr__.isatty():
        yield None
        return
    import time

    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[where]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
    )
    with Bar(*columns, console=Console(file=sys.__stderr__), transient=True, refresh_per_second=5) as bar:
        shown = bar.add_task("training", total=1.0, where="", losses="")
        alone: str | None = None
        looked = 0.0

        def tell(now: Progress) -> None:
            nonlocal alone, looked
            if now.alone != alone:
                bar.reset(shown, description=now.alone or "training")
                alone = now.alone
            if time.monotonic() - looked < EVERY:
                return
            looked = time.monotonic()
            of_epoch = now.batch / now.batches if now.batches else 0.0
            bar.update(
                shown,
                completed=(now.epoch + of_epoch) / now.epochs,
                where=f"epoch {now.epoch + 1}/{now.epochs} step {now.step}",
                losses="  ".join(f"{task} {loss:.3g}" for task, loss in now.losses.items()),
            )

        yield tell
