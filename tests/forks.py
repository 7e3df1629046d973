"""Processes that have torch imported already: one interpreter imports it once and forks itself for every script.

A forked child sees what ``python script.py`` would see, but for the frames below the script, and for modules that are
there already. So scripts that look at their surroundings run in fresh interpreters instead (see test_harmless.py), and
commands that read runs in the test's own, by ``main``: they keep xarray from loading dask, which is here already. The
fixture ``forks`` is one such interpreter, for all tests of a session.

Run as a program, this file is that interpreter: requests come as lines of JSON on standard input, exit codes go out.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

TIMEOUT = 600  # seconds after which a child is killed: far beyond what any of them takes
HEAVY = (
    *("numpy", "torch", "torch._dynamo", "torch.utils.checkpoint", "torch.utils.flop_counter", "torch.profiler"),
    *("zarr", "xarray", "typer", "dominance_cli.main", "multiprocessing.synchronize"),
)
OURS = ("dominance.store", "dominance.record")
"""Packages of which every module is imported: a recorder needs a hundred of them."""


class Forks:
    """The interpreter that forks. A context manager; ``run`` waits for the child and returns its exit code."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        own = {key: value for key, value in os.environ.items() if not key.startswith("DOMINANCE_")}
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=own | {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"} | dict(environment or {}),
        )

    def run(
        self, arguments: Sequence[str], *, record: Sequence[str] | None, files: Sequence[Path], cwd: Path, **more: Any
    ) -> int:
        """Run ``python *arguments``, or under ``dominance record *record *arguments``.

        Args:
            files: standard input, standard output, standard error.
            more: ``environment``: added to it; ``before``: Python source that is executed ahead of the script.
        """
        return self.run_together([asked(arguments, record=record, files=files, cwd=cwd, **more)])[0]

    def python(
        self, *words: str, cwd: Path, environment: Mapping[str, str] | None = None, before: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """What ``subprocess.run`` gives of ``python *words``, a script or ``-m`` and a module, with its texts."""
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder, name) for name in ("in", "out", "errors")]
            files[0].touch()
            told = {"environment": dict(environment or {}), "before": before}
            code = self.run(words, record=None, files=files, cwd=cwd, **told)
            return subprocess.CompletedProcess(words, code, *(file.read_text() for file in files[1:]))

    def run_together(self, requests: Sequence[Mapping[str, Any]]) -> list[int]:
        """The same of several at once, as ``asked``; waits for all of them."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(requests) + "\n")
        self.process.stdin.flush()
        return list(json.loads(self.process.stdout.readline()))

    def __enter__(self) -> Forks:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=TIMEOUT)
        self.process.stdout.close()


def asked(
    arguments: Sequence[str], *, record: Sequence[str] | None, files: Sequence[Path], cwd: Path, **more: Any
) -> dict[str, Any]:
    """A request: see ``Forks.run``."""
    return {
        "arguments": list(arguments),
        "record": None if record is None else list(record),
        "files": [str(file) for file in files],
        "cwd": str(cwd),
        **more,
    }


def load() -> None:
    """Import what scripts need, and what records them; no child's garbage collector need look through it."""
    gc.disable()  # it would go through all of this again and again: a quarter of the time
    for name in HEAVY:
        importlib.import_module(name)
    for package in OURS:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            importlib.import_module(module.name)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        sys.modules["dominance_cli.main"].main(["record", "--help"])  # for which typer imports more
    with contextlib.suppress(ImportError):
        importlib.import_module("dask.array")  # where there is one, xarray imports it at the first array of a run
    gc.collect()
    gc.freeze()
    gc.enable()


def serve() -> dict[str, Any] | None:
    """Fork a child for every request. Returns the request in the child; None in the parent, once all are served."""
    load()
    while line := sys.stdin.readline():
        children: list[int] = []
        for request in json.loads(line):
            children.append(os.fork())
            if children[-1] == 0:
                return dict(request)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        os.write(1, f"{json.dumps(codes)}\n".encode())
    return None


def become(request: dict[str, Any]) -> None:
    """In the child: take over the files, the folder and the environment, then run the script as ``__main__``."""
    signal.alarm(TIMEOUT)
    for number, file in enumerate(request["files"]):
        descriptor = os.open(file, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  the parent's has a buffer of its own
    os.chdir(request["cwd"])
    os.environ.update(request.get("environment", {}))
    exec(request.get("before", ""), {})
    if request["record"] is not None:
        sys.argv = ["dominance", "record", *request["record"], *request["arguments"]]
        importlib.import_module("dominance_cli.main").main()
        return
    target, *rest = request["arguments"]
    if target == "-m":
        sys.path[0] = os.getcwd()
        sys.argv[1:] = rest[1:]
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        return
    sys.argv = [target, *rest]
    sys.path[0] = str(Path(target).resolve().parent)
    main = sys.modules["__main__"] = ModuleType("__main__")
    main.__file__ = str(Path(target).absolute())
    exec(compile(Path(target).read_bytes(), main.__file__, "exec", dont_inherit=True), vars(main))


def end(error: BaseException | None) -> None:
    """What the interpreter does at its end, but for taking itself apart, which takes a second with torch in it."""
    code = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    elif error is not None:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        code = 1
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    wanted = serve()
    if wanted is not None:
        try:
            become(wanted)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  whatever ends the script becomes the exit code
            end(error)
        end(None)
    os._exit(0)
