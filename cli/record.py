"""``dominance record``: run a training script as Python would, and record it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dominance.errors import BadOption
from dominance_cli.flags import ScriptFlags
from dominance_cli.grouped import grouped
from dominance_cli.recorded_script import RecordedScript
from dominance_cli.rundir import default_folder


@grouped
def record(
    *,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Script; with -m, module.")],
    args: Annotated[list[str] | None, typer.Argument(metavar="ARGS", help="Its own arguments and options.")] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Run directory, or an address such as s3://bucket/runs/first."
            " [default: runs/<script>-<UTC time>-<pid>]",
        ),
    ] = None,
    recording: ScriptFlags,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="M",
            help="Train by this method (pcgrad, adatask, uw, weights ...) in the place of the sum of the losses."
            " See `dominance train --list`. [default: the script as it is]",
        ),
    ] = None,
    method_option: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="Of the method; may be repeated.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="SINK", help="Send the numbers on meanwhile: to tensorboard, wandb or mlflow."),
    ] = None,
    seed_run: Annotated[
        int, typer.Option(metavar="N", min=0, help="Move the seeds that the script sets: repeat number N of it.")
    ] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the run directory.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Append to the run directory.")] = False,
    strict: Annotated[
        bool | None, typer.Option("--strict", help="Stop with exit code 2 if the tasks are not found as asked.")
    ] = None,
    quiet: Annotated[bool | None, typer.Option("-q", "--quiet", help="Say nothing but errors.")] = None,
    module: Annotated[bool, typer.Option("-m", "--module", help="TARGET is a module, as in python -m.")] = False,
) -> RecordedScript:
    """Record a training script that needs no change.

    The script's output, exit code and weights are the ones it has without us.
    Our options stand before TARGET; everything after TARGET goes to the script.

    Example: dominance record --every 5 -o runs/first train.py --lr 1e-3
    """
    from dominance.config import record_options
    from dominance.record.launch import check_address, is_address, of_rank
    from dominance.record.ranks.launchers import refuse_launcher
    from dominance.record.script.running import prepare

    if force and resume:
        raise BadOption("--force and --resume exclude each other", fix="give one: overwrite, or append")
    words = {**vars(recording), "columns": recording.columns or None}
    options = record_options({**words, "to": to, "strict": strict, "quiet": quiet})
    if method_option and method is None:
        raise BadOption("--method-option without --method", fix="say which method it is of")
    choice = None
    if method is not None:
        from dominance.cure.choice import choose

        choice = choose(method, method_option or [])
    refuse_launcher(target, args or [], module=module)
    prepared = prepare(target, module=module)
    if output is not None and is_address(output):
        check_address(output, resume=resume)
        path, first = Path(output), None
    else:
        given = None if output is None else Path(output)
        path = of_rank(given) if given is not None else default_folder(target, module=module)
        first = given if given is not None and path != given else None
    return RecordedScript(
        prepared, args or [], path, output is None, options, force, resume, choice, seed_run, first, output
    )
