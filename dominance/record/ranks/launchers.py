"""Programs that start the processes of a training: they are to launch the recording, and not to be recorded."""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Sequence
from pathlib import Path

from dominance.errors import BadOption

_BY_MODULE = {
    "torch.distributed.run": "torchrun",
    "torch.distributed.launch": "torchrun",
    "accelerate.commands.launch": "accelerate launch",
}
_PARSERS = {
    "torchrun": ("torch.distributed.run", "get_args_parser"),
    "accelerate launch": ("accelerate.commands.launch", "launch_command_parser"),
}
_BY_NAME = {"torchrun": "torchrun", "accelerate": "accelerate launch"}


def refuse_launcher(target: str, args: Sequence[str], *, module: bool) -> None:
    """Raise where the target starts other processes, which train: nothing of them would be recorded.

    Args:
        target: script or module.
        args: its arguments.
        module: whether it is a module.

    Raises:
        BadOption: it does; the fix is the command that records.
    """
    launcher = _BY_MODULE.get(target) if module else _BY_NAME.get(Path(target).name)
    if launcher is None:
        return
    given = list(args)
    if launcher == "accelerate launch" and given[:1] == ["launch"]:
        given = given[1:]
    raise BadOption(
        f"{launcher} starts the processes that train, and a recording of it sees none of them",
        fix=f"let it start the recordings: {launcher} {_recording(launcher, given)}",
    )


def _recording(launcher: str, args: list[str]) -> str:
    """The launcher's arguments, with a recording of the script in the script's place."""
    options, script = _split(launcher, args)
    if script is None:
        return "OPTIONS -m dominance record SCRIPT"
    of_module = [option for option in options if option in ("-m", "--module")]
    options = [option for option in options if option not in of_module]
    return shlex.join([*options, "-m", "dominance", "record", *(["-m"] if of_module else []), *script])


def _split(launcher: str, args: list[str]) -> tuple[list[str], list[str] | None]:
    """The launcher's own options, and the script with its arguments; None where that cannot be told."""
    try:
        module, parser = _PARSERS[launcher]
        found = getattr(importlib.import_module(module), parser)().parse_args(args)
        script = [found.training_script, *found.training_script_args]
    except (ImportError, AttributeError, SystemExit):
        return args, None
    return args[: len(args) - len(script)], script
