"""``dominance watch``: a run in the terminal while it grows."""

from __future__ import annotations

import contextlib
import math
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dominance.errors import BadOption, DominanceError
from dominance_cli import stderr
from dominance_cli.folded import shortened
from dominance_cli.rundir import opened, place
from dominance_cli.state import state
from dominance_cli.text import size

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table

    from dominance.analyse.live import Live

_BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = ".:-=+*#@"
_COLOURS = ("cyan", "yellow", "magenta", "green", "blue", "red")
_MOST_TASKS = 8
"""Of more tasks the line of losses shows the first, and how many more there are."""
_COURSE = 24
"""Characters of a course over the steps."""


def watch(
    run: Annotated[
        str, typer.Argument(metavar="RUN", parser=place, help="Run directory, such as runs/latest, or a URL of one.")
    ],
    every: Annotated[float, typer.Option(metavar="SECONDS", help="Time between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, and leave.")] = False,
    to: Annotated[
        str | None,
        typer.Option(metavar="SINK", help="Show nothing, and send the numbers on: to tensorboard, wandb or mlflow."),
    ] = None,
) -> int:
    """Follow a run while it is recorded: losses, owners and effective tasks by layer, conflicts, speed.

    Ends with the training, or with q. In a pipe it prints a line for each look that finds new steps.

    Example: dominance watch runs/latest
    """
    if not 0.1 <= every <= 3600:
        raise BadOption(f"--every {every:g} is out of range", fix="give from 0.1 to 3600 seconds")
    if "://" not in run:  # runs/latest may come to point at another run meanwhile
        run = str(Path(run).resolve()) if Path(run).is_symlink() else run
    if to is not None:
        return _send(run, to, every, follow=not once)
    if once:
        _print(_view(run, _look(run)))
    elif sys.stdout.isatty():
        _follow(run, every)
    else:
        _list(run, every)
    stderr.line(f"dominance summary {shlex.quote(run)}")
    return 0


def _send(run: str, to: str, every: float, *, follow: bool) -> int:
    """Send the run on until it is over; what a logger cannot do is said in a line."""
    from dominance.sinks.sending import send

    opened(run).close()
    try:
        with contextlib.redirect_stdout(sys.stderr):  # loggers greet
            where = send(run, to, follow=follow, every=every)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except DominanceError:
        raise
    except Exception as error:  # noqa: BLE001  what a stranger's logger raises can be anything
        stderr.error(f"{to} failed, and is sent nothing more: {type(error).__name__}: {error}")
        return 1
    stderr.note(f"sent to {to}: {where}")
    return 0


def _look(run: str) -> tuple[Any, Live]:
    """The run as it is now, and what its last steps show."""
    from dominance.analyse.live import live

    tree = opened(run)
    return tree, live(tree)


def _follow(run: str, every: float) -> None:
    """Draw the same screen again and again, until the run is over or a key says so."""
    from rich.live import Live as Screen

    look = _look(run)
    with _keys() as pressed, Screen(console=_console(), auto_refresh=False, screen=True) as screen:
        while not _over(run, look[0]):
            screen.update(_view(run, look, every), refresh=True)
            if pressed(every):
                break
            look = _look(run)
    _print(_view(run, look))


def _list(run: str, every: float) -> None:
    """A line for each look that finds new steps."""
    before = -1
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            tree, now = _look(run)
            if now.recorded != before:
                before = now.recorded
                print(_line(now), flush=True)
            if _over(run, tree):
                print(state(run, tree), flush=True)
                return
            time.sleep(every)


def _over(run: str, tree: Any) -> bool:
    """Whether nobody will write to the run any more, as far as is known here."""
    return tree.attrs.get("status") != "recording" or state(run, tree).endswith(": killed")


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], bool]]:
    """Waits for some seconds; true as soon as q, Escape or Ctrl-C is pressed. The terminal is as it was afterwards."""
    stopped = False

    def sleep(seconds: float) -> bool:
        nonlocal stopped
        try:
            time.sleep(seconds)
        except KeyboardInterrupt:
            stopped = True
        return stopped

    if not (sys.stdin and sys.stdin.isatty()):
        yield sleep
        return
    try:
        import select
        import termios
        import tty
    except ImportError:  # a system without terminals of this kind: Ctrl-C is left
        yield sleep
        return
    before = termios.tcgetattr(sys.stdin)

    def pressed(seconds: float) -> bool:
        end = time.monotonic() + seconds
        try:
            while (left := end - time.monotonic()) > 0:
                if select.select([sys.stdin], [], [], left)[0] and sys.stdin.read(1) in ("q", "Q", "\x1b", "\x04", ""):
                    return True
        except KeyboardInterrupt:
            return True
        return False

    try:
        tty.setcbreak(sys.stdin)
        yield pressed
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False)


def _print(view: Group) -> None:
    _console().print(view)


def _view(run: str, look: tuple[Any, Live], every: float | None = None) -> Group:
    """One screen: what the run is, the losses, and the layers."""
    from rich.console import Group
    from rich.text import Text

    from dominance.store.files import files_of

    tree, now = look
    parts: list[RenderableType] = [Text(f"{run}   {state(run, tree)}", style="bold")]
    held = f"{now.recorded:,} steps recorded"
    if len(now.steps):
        held += f", the last one step {now.steps[-1]:,}"
    if not math.isnan(now.rate):
        held += f"; {now.rate:.3g} steps a second"
    parts.append(Text(f"{held}; {size(files_of(run).size())}"))
    if not now.recorded:
        return Group(*parts, Text("\nWaiting for the first step."))
    parts += [Text(), _losses(now)]
    parts += [Text(), Text(now.why) if now.picture is None else _layers(now)]
    if now.recorded > len(now.steps):
        parts.append(Text(f"\nOver the last {len(now.steps):,} recorded steps.", style="dim"))
    if every is not None:
        parts.append(Text(f"\nq: leave; the training goes on. A look every {every:g} s.", style="dim"))
    return Group(*parts)


def _losses(now: Live) -> Table:
    table = _table(("task", "left"), ("loss", "right"), ("course", "left"), ("gradient", "right"))
    shown = now.tasks[:_MOST_TASKS]
    total = sum(norm for norm in now.norms if not math.isnan(norm))
    for k in range(len(shown)):
        course = now.losses[:, k]
        known = course[course == course]
        norm = now.norms[k]
        share = f"{norm:.3g} ({100 * norm / total:.0f} %)" if total > 0 and not math.isnan(norm) else "–"
        table.add_row(_task(now, k), f"{known[-1]:.4g}" if len(known) else "–", _course(course), share)
    if len(now.tasks) > len(shown):
        table.add_row(f"and {len(now.tasks) - len(shown)} more", "", "", "")
    return table


def _layers(now: Live) -> Table:
    from rich.text import Text

    from dominance.analyse.summary import percent

    found, count = now.picture, len(now.tasks)
    assert found is not None
    table = _table(
        ("layers", "left"), ("owner", "left"), (f"effective tasks of {count}", "left"), ("conflict (GCD)", "left")
    )
    room = max(shutil.get_terminal_size((80, 24)).columns - 62, 14)
    for row, name in enumerate(found["row"].values):
        owned = found["owned"].isel(row=row, step=-1).values
        course = found["effective_tasks"].isel(row=row).values
        k = _owner(owned)
        owner = "–" if k is None else _task(now, k, width=14).append(f" {percent(owned[k])}")
        effective = f"{course[-1]:.2f} " if course[-1] == course[-1] else "–    "
        one, other, degree = (found[key].values[row] for key in ("task_one", "task_other", "mean_gcd"))
        pair = f"{degree:.2f} {shortened(one, 8)}, {shortened(other, 8)}" if one else "–"
        style = "bold" if one and degree > 1 else ""
        table.add_row(
            shortened(str(name), room), owner, Text(effective) + _course(course, low=1.0, high=count, width=12),
            Text(pair, style=style),
        )  # fmt: skip
    return table


def _table(*columns: tuple[str, Any]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading, justify in columns:
        table.add_column(heading, justify=justify, no_wrap=True)
    return table


def _task(now: Live, k: int, width: int = 24) -> Any:
    from rich.text import Text

    from dominance.visible import visible

    return Text(shortened(visible(now.tasks[k]), width), style=_COLOURS[k % len(_COLOURS)])


def _course(values: Any, low: float | None = None, high: float | None = None, width: int = _COURSE) -> Any:
    """Values over the steps, in few characters: medians of as many stretches; a gap where nothing is known."""
    import numpy as np
    from rich.text import Text

    pieces = [piece[np.isfinite(piece)] for piece in np.array_split(np.asarray(values, float), width) if len(piece)]
    medians = [float(np.median(piece)) if len(piece) else math.nan for piece in pieces]
    known = [value for value in medians if not math.isnan(value)]
    if not known:
        return Text("")
    low, high = min(known) if low is None else low, max(known) if high is None else high
    encoding = (getattr(sys.__stdout__, "encoding", None) or "ascii").lower()  # rich has another in its place meanwhile
    bars = _BARS if encoding.startswith("utf") else _PLAIN_BARS
    scale = (len(bars) - 1) / (high - low) if high > low else 0.0
    places = [None if math.isnan(v) else min(max(round((v - low) * scale), 0), len(bars) - 1) for v in medians]
    return Text("".join(" " if place is None else bars[place] for place in places))


def _line(now: Live) -> str:
    """One look in one line, for a pipe or a log."""
    from dominance.analyse.summary import percent

    if not now.recorded:
        return "waiting for the first step"
    losses = ", ".join(
        f"{name} {now.losses[-1, k]:.4g}" for k, name in enumerate(now.tasks[:_MOST_TASKS])
        if not math.isnan(now.losses[-1, k])
    )  # fmt: skip
    text = f"step {now.steps[-1]:,}: {losses}"
    if now.picture is None:
        return text
    whole = now.picture.isel(row=0)
    effective, owned = float(whole["effective_tasks"].values[-1]), whole["owned"].values[-1]
    text += f"; effective tasks {effective:.2f} of {len(now.tasks)}"
    k = _owner(owned)
    return text if k is None else f"{text}; {now.tasks[k]} owns {percent(owned[k])}"


def _owner(owned: Any) -> int | None:
    """The task that owns most of a layer; None where none owns any of it."""
    known = [0.0 if math.isnan(share) else share for share in owned]
    return known.index(max(known)) if max(known) > 0 else None
