"""The command ``dominance``. This module and the ones it imports load nothing heavier than typer."""

from __future__ import annotations

import difflib
import gc
import os
import signal
import sys
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any

import typer
import typer.completion
import typer.main

from dominance import __version__
from dominance.errors import BadOption, DominanceError
from dominance_cli import stderr
from dominance_cli.compare import compare
from dominance_cli.figures import figures
from dominance_cli.info import info
from dominance_cli.mixture import mixture
from dominance_cli.record import record
from dominance_cli.recorded_script import RecordedScript
from dominance_cli.report import report
from dominance_cli.reproduce import reproduce
from dominance_cli.study import study
from dominance_cli.summary import summary
from dominance_cli.train import train
from dominance_cli.trying import try_
from dominance_cli.watch import watch

_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""The class of every mistake in the arguments; some versions of typer have it from click, others bring their own."""

app = typer.Typer(
    name="dominance",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"dominance {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _dominance(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Who trains your shared parameters? Record a training script, then see which task moves which layer.

    Example: dominance record train.py --lr 1e-3
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


app.command(
    context_settings={"allow_interspersed_args": False},
    options_metavar="[OPTIONS]",
)(record)
app.command(
    name="try",
    context_settings={"allow_interspersed_args": False},
    options_metavar="[OPTIONS]",
)(try_)
app.command()(report)
app.command()(summary)
app.command()(compare)
app.command()(mixture)
app.command()(study)
app.command()(info)
app.command()(watch)
app.command()(train)
app.command()(reproduce)
app.add_typer(figures)


def _explain(error: Any) -> str:
    """A mistake in the arguments as one line: what is wrong, and what to type instead."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "dominance"
    wrong = getattr(error, "option_name", None)
    if wrong is not None and "no such option" in str(error.message).lower():
        known = [name for parameter in context.command.params for name in parameter.opts] if context else []
        close = difflib.get_close_matches(wrong, [*known, "--help"], n=1)
        fix = f"did you mean {close[0]}?" if close else f"see `{command} --help`"
        return f"no such option: {wrong}; {fix}"
    message = error.format_message().rstrip(".")
    words = message.split("'")
    if message.startswith("No such command") and len(words) > 1:
        close = difflib.get_close_matches(words[1], [name.name or name.callback.__name__ for name in _commands()], n=1)
        fix = f"did you mean {close[0]}?" if close else "see `dominance --help`"
        return f"no such command: {words[1]}; {fix}"
    return f"{message[:1].lower()}{message[1:]}; see `{command} --help`"


@cache
def _command() -> Any:
    """All commands; made once, which takes longer than many of them, where a process runs several."""
    return typer.main.get_command(app)


def _commands() -> list[Any]:
    return list(app.registered_commands)


_READERS = ("info", "mixture", "report", "study", "summary", "watch")


def _leave_dask_out(command: str | None) -> None:
    """Let nothing load dask in a process that only reads runs: where it is installed, xarray loads all of it to ask
    whether an array is one of its own, which takes as long as everything else together."""
    if command in _READERS and "dask" not in sys.modules:
        sys.modules["dask"] = None  # type: ignore[assignment]  # which makes an import of it fail


def _collect_less(command: str | None) -> None:
    """Let the garbage collector look less often in a process that only reads runs: nearly all that it would go through
    again and again are the modules that were just imported, a tenth of a summary's time."""
    if command in _READERS:
        gc.set_threshold(200_000)


def _check_folder() -> None:
    try:
        os.getcwd()
    except FileNotFoundError:
        raise BadOption("the working folder is gone", fix="change into one that is there") from None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code.

    0: fine; 1: failed; 2: wrong usage or unusable input, said in one line; 3: a ``--fail-on`` threshold was crossed.
    ``record`` leaves as the script that it ran.
    """
    if arguments is None:  # a process of our own
        command = sys.argv[1] if len(sys.argv) > 1 else None
        _leave_dask_out(command)
        _collect_less(command)
    try:
        _check_folder()
        if "_DOMINANCE_COMPLETE" in os.environ:  # a shell asks what may come next
            typer.completion.completion_init()  # type: ignore[attr-defined]
        # Not app(): that would put typer's own hook into sys.excepthook, which the recorded script would see.
        result = _command().main(
            args=list(sys.argv[1:] if arguments is None else arguments), prog_name="dominance", standalone_mode=False
        )
        if isinstance(result, RecordedScript):  # run from here, so that the frames of typer are not below the script's
            result.run()
        sys.stdout.flush()
    except DominanceError as error:
        stderr.error(str(error))
        result = 2
    except _UsageError as error:
        stderr.error(_explain(error))
        result = 2
    except BrokenPipeError:
        # Whoever read our output has gone, as in `dominance summary RUN | head`: no word about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        result = 1
    except typer.Abort:
        result = 128 + signal.SIGINT
    sys.exit(result or 0)


if __name__ == "__main__":
    main()
