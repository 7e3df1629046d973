"""``dominance watch``: a run in the terminal while it grows."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dominance.errors import BadOption, DominanceError
from dominance_cli import stderr
from dominance_cli.rundir import opened, place
from dominance_cli.state import state
from dominance_cli.watch_view import line, view

if TYPE_CHECKING:
    from rich.console import Group

    from dominance.analyse.live import Live


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
        _print(view(run, _look(run)))
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
            screen.update(view(run, look, every), refresh=True)
            if pressed(every):
                break
            look = _look(run)
    _print(view(run, look))


def _list(run: str, every: float) -> None:
    """A line for each look that finds new steps."""
    before = -1
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            tree, now = _look(run)
            if now.recorded != before:
                before = now.recorded
                print(line(now), flush=True)
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


def _print(screen: Group) -> None:
    _console().print(screen)
