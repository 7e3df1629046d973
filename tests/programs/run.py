"""Run a program three times: for the truth, plain, and under ``dominance record``; each in a forked process.

The parent has torch and the recorder imported and never runs a program itself.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pickle
import random
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from programs import hand
from programs.compose import Program

TIMEOUT = 120
HEAVY = (
    "torch._dynamo", "torch.utils.checkpoint", "torch.utils.flop_counter", "torch.profiler", "zarr", "xarray", "typer",
    "dominance.record.step_recorder", "dominance.record.script.session", "dominance.store.reader", "dominance_cli.main",
)  # fmt: skip
PARTS = ("total", "residual", "unattributed", "decay", "outside")


@dataclass
class Ran:
    """What one run of a program left behind."""

    code: int
    out: str
    err: str
    kept: dict[str, str] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    """The truth, where it was made."""
    runs: list[dict[str, Any]] = field(default_factory=list)
    """What was recorded: one for each run that was found."""
    imported: list[str] = field(default_factory=list)
    fault: str = ""
    """What went wrong outside the program: reading the run, mostly."""


@dataclass
class Trial:
    """A program's three runs."""

    truth: Ran
    plain: Ran
    recorded: Ran


def get_ready(first: Program) -> None:
    """Import what the children need: what is known, and what a first one had to import."""
    for name in HEAVY:
        importlib.import_module(name)
    torch.set_num_threads(1)
    sys.modules["hand"] = hand
    for name in trial(first).recorded.imported:
        if name not in sys.modules and name.split(".")[0] not in ("hand", "zoolib", "__main__"):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    gc.freeze()


def write(program: Program, folder: Path) -> tuple[Path, Path]:
    """Write the program: with the lines that make the truth, and without."""
    folder.mkdir(parents=True, exist_ok=True)
    script, truth = folder / f"program_{program.number}.py", folder / f"truth_{program.number}.py"
    script.write_text(program.script)
    truth.write_text(program.text)
    if program.library:
        (folder / "site-packages").mkdir(exist_ok=True)
        (folder / "site-packages" / "zoolib.py").write_text(program.library + "\n")
    return script, truth


def trial(
    program: Program, *, options: Sequence[str] = ("--every", "1", "--exact"), before: Callable[[], None] | None = None
) -> Trial:
    """Run a program in its three ways.

    Args:
        before: called in the process that records, ahead of everything: a test plants its errors here.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"program-{program.number}-"))
    try:
        script, truth = write(program, folder)
        return Trial(
            _forked(folder, lambda: _plain(truth)),
            _forked(folder, lambda: _plain(script)),
            _forked(folder, lambda: _recorded(script, folder / "run", options, before)),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _plain(script: Path) -> dict[str, Any]:
    from dominance.record.script.running import prepare

    outcome = prepare(script.name, module=False).run([], on_torch=lambda: None)
    return {"code": outcome.code}


def _recorded(script: Path, run: Path, options: Sequence[str], before: Callable[[], None] | None) -> dict[str, Any]:
    from dominance_cli.main import main

    if before is not None:
        before()
    sys.argv = ["dominance", "record", *options, "-o", str(run), script.name]
    try:
        main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    found = sorted(path.parent for path in run.parent.rglob("data.zarr"))
    return {"code": code, "paths": [str(path) for path in found]}


def _forked(folder: Path, run: Callable[[], dict[str, Any]]) -> Ran:
    """Call it in a child; what it did is pickled into a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    out, err, result = folder / "out", folder / "err", folder / "result"
    result.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        _child(folder, out, err, result, run)
    _, status = os.waitpid(child, 0)
    out_text, error_text = [path.read_text(errors="replace") if path.exists() else "" for path in (out, err)]
    if not result.exists():
        return Ran(os.waitstatus_to_exitcode(status), out_text, error_text, fault="died")
    done = pickle.loads(result.read_bytes())
    return Ran(
        done["code"], out_text, error_text, done["kept"], done["rows"], done["runs"], done["imported"], done["fault"]
    )


def _child(folder: Path, out: Path, err: Path, result: Path, run: Callable[[], dict[str, Any]]) -> None:
    signal.alarm(TIMEOUT)
    done: dict[str, Any] = {"code": -1, "kept": {}, "rows": [], "runs": [], "imported": [], "fault": ""}
    there = set(sys.modules)
    try:
        for number, file in ((1, out), (2, err)):
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, number)
        os.chdir(folder)
        random.seed(0)  # Python seeds it anew in every forked child
        done |= run()
        sys.stdout.flush()
        sys.stderr.flush()
        done["kept"] = hand.kept | ({"modes at the end": hand.modes()} if hand.kept else {})
        torch.set_grad_enabled(True)
        torch.autograd.set_detect_anomaly(False)
        torch.set_default_dtype(torch.float32)
        done["rows"] = _numpy(hand.rows)
        warnings.simplefilter("ignore")
        done["runs"] = [extract(path) for path in done.pop("paths", [])]
        done["imported"] = [name for name in sys.modules if name not in there]
    except BaseException:  # noqa: BLE001  whatever it is, the parent is told
        done["fault"] = traceback.format_exc()
    result.write_bytes(pickle.dumps(done))
    os._exit(0)


def _numpy(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().double().numpy().ravel()
    if isinstance(value, dict):
        return {key: _numpy(inner) for key, inner in value.items()}
    return [_numpy(inner) for inner in value] if isinstance(value, list) else value


def extract(path: str) -> dict[str, Any]:
    """A recorded run as plain arrays."""
    from dominance import open_run

    run = open_run(path)
    root = run.dataset
    found: dict[str, Any] = {
        "path": os.path.basename(path),
        "attrs": {
            key: value
            for key, value in run.attrs.items()
            if isinstance(value, str | int | float | bool | list | dict | None)
        },
        "tasks": [str(task) for task in run.attrs["tasks"]],
        "step": root["step"].values.copy(),
        "skipped": root["skipped"].values.copy(),
        "closure": root["closure"].values.copy(),
        "parameter": np.asarray(root["parameter"].values).astype(str),
        "index": root["index"].values.copy(),
        "shared": root["shared"].values.copy(),
    }
    found |= {name: run[f"gradient/{name}"].values for name in ("gradient", "total")}
    found["update"] = run["update/update"].values
    found["parts"] = {name: run[f"update/{name}"].values for name in PARTS if name in run["update"].dataset}
    found["loss"], found["weight"] = run["loss/loss"].values, run["loss/weight"].values
    return found
