"""Run a script or module as Python itself would, and say when it has imported torch.

The script sees what it would see under ``python script.py``: its own ``__main__``, ``sys.argv``, ``sys.path[0]``, exit
code and tracebacks. Nothing heavy is imported before it starts, so that what it puts into ``os.environ`` before
``import torch`` still counts.
"""

from __future__ import annotations

import builtins
import contextlib
import difflib
import io
import os
import pkgutil
import runpy
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader, SourcelessFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Literal, NoReturn

from dominance.errors import BadScript
from dominance.record.script.beside import apart, give_way
from dominance.record.script.import_hook import when_imported
from dominance.record.script.tracebacks import peel

_KEPT: list[ModuleType] = []
"""The ``__main__`` that was replaced: it must outlive the script, whose caller's globals it holds."""


@dataclass(frozen=True)
class Outcome:
    """How the script ended."""

    code: int
    """Exit code that Python would return; 130 stands for death by SIGINT."""
    kind: Literal["complete", "failed", "interrupted"]
    torch: bool
    """Whether torch was imported, and ``on_torch`` called."""
    forked: bool = False
    """True in a child that the script forked and that ran to its end: only the parent is recorded."""

    def leave(self) -> NoReturn:
        """End the process as Python would have: exit code, or death by SIGINT after a KeyboardInterrupt."""
        if self.kind == "interrupted":
            # The traceback is out already. Python kills itself by SIGINT once atexit has run, but only for an
            # exception that nobody caught; so one is raised again, unprinted.
            sys.excepthook = lambda *_: None
            raise KeyboardInterrupt
        sys.exit(self.code)


@dataclass(frozen=True)
class Prepared:
    """A target that was found and parsed, and can be run once.

    ``code`` is None for a module, a folder or a zip file: there ``runpy`` finds the code, as under ``python -m``.
    """

    target: str
    module: bool
    code: CodeType | None = None
    error: SyntaxError | None = None

    @property
    def file(self) -> str:
        """``__file__`` of the script: the working folder and the path as given, not normalised, as Python does."""
        return self.target if os.path.isabs(self.target) else os.path.join(os.getcwd(), self.target)

    def run(self, args: list[str], *, on_torch: Callable[[], None]) -> Outcome:
        """Run it as ``__main__`` with ``args``; returns when it has ended and its traceback, if any, is printed.

        Args:
            args: ``sys.argv[1:]`` of the script.
            on_torch: called once, as soon as ``import torch`` has finished in this process.

        Raises:
            BadScript: the module cannot be imported, or the folder holds no ``__main__``.
        """
        seen: list[bool] = []
        pid = os.getpid()

        def arrived() -> None:
            if os.getpid() == pid:
                seen.append(True)
                with apart():
                    on_torch()

        if self.error is not None:
            return Outcome(_print_error(self.error), "failed", torch=False)
        self._enter(args)
        with _peeled_threads(), when_imported("torch", arrived):
            error = self._execute()
        code, kind = self._ending(error)
        return Outcome(code, kind, torch=bool(seen), forked=os.getpid() != pid)

    def _enter(self, args: list[str]) -> None:
        """Set ``sys.argv``, ``sys.path[0]`` and a fresh ``__main__``."""
        sys.argv = ["-m" if self.module else self.target, *args]
        if self.module:
            first = os.getcwd()
        else:
            first = self.file if self.code is None else os.path.dirname(os.path.realpath(self.target))
        if not sys.flags.safe_path:
            sys.path[:1] = [first]
            give_way(first)
        elif self.code is None and not self.module:
            sys.path.insert(0, first)
        main = ModuleType("__main__")
        if sys.version_info < (3, 14):
            vars(main)["__annotations__"] = {}
        vars(main)["__builtins__"] = builtins
        if self.code is not None:
            kind = SourcelessFileLoader if self.target.endswith(".pyc") else SourceFileLoader
            main.__loader__ = kind("__main__", self.file)
            main.__file__ = self.file
            vars(main)["__cached__"] = None
        _KEPT.append(sys.modules["__main__"])
        sys.modules["__main__"] = main

    def _execute(self) -> BaseException | None:
        """Run the code; returns what nobody caught."""
        try:
            if self.code is not None:
                exec(self.code, vars(sys.modules["__main__"]))
            else:
                # Private, and what the interpreter itself calls for -m: the frames of a traceback are then the same.
                runpy._run_module_as_main(  # type: ignore[attr-defined]
                    self.target if self.module else "__main__", self.module
                )
        except BaseException as error:  # noqa: BLE001  it is printed as Python would, and becomes the exit code
            return error
        return None

    def _ending(self, error: BaseException | None) -> tuple[int, Literal["complete", "failed", "interrupted"]]:
        """Do what the interpreter does with the exception that ended the script; returns the exit code."""
        self._flush()
        if isinstance(error, SystemExit):
            if isinstance(error.__context__, runpy._Error):  # type: ignore[attr-defined]
                raise BadScript(str(error.__context__), fix=_module_fix(self.target))
            code = _exit_code(error)
            return code, "failed" if code else "complete"
        if isinstance(error, KeyboardInterrupt):
            _print_error(error)
            return 130, "interrupted"
        if error is not None:
            return _print_error(error), "failed"
        return 0, "complete"

    def _flush(self) -> None:
        """Python flushes after a script, before its traceback; and does not after a module."""
        if self.code is not None:
            for stream in (sys.stderr, sys.stdout):
                with contextlib.suppress(OSError, ValueError, AttributeError):  # so does the interpreter
                    stream.flush()


def prepare(target: str, *, module: bool) -> Prepared:
    """Find the target and parse it; nothing of it runs yet. A SyntaxError is kept, and printed by ``run``.

    Raises:
        BadScript: there is no such script, or it cannot be read.
    """
    if module:
        return Prepared(target, module=True)
    path = Path(target)
    if not path.exists():
        raise BadScript(f"no such script: {target}", fix=_script_fix(path))
    if path.is_dir() or pkgutil.get_importer(str(path.absolute())) is not None:
        return Prepared(target, module=False)
    file = Prepared(target, module=False).file
    try:
        if target.endswith(".pyc"):
            return Prepared(target, module=False, code=SourcelessFileLoader("__main__", file).get_code("__main__"))
        with io.open_code(file) as stream:
            source = stream.read()
    except (OSError, ImportError) as error:
        raise BadScript(f"{target} cannot be read ({error})", fix="give a Python script") from None
    try:
        return Prepared(target, module=False, code=compile(source, file, "exec", dont_inherit=True))
    except SyntaxError as error:
        return Prepared(target, module=False, error=error)


def _script_fix(path: Path) -> str:
    if path.name.startswith("python") and not path.suffix:
        return "leave `python` out: dominance record train.py"
    folder = path.parent
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    close = difflib.get_close_matches(path.name, [name for name in names if name.endswith(".py")], n=1)
    if close:
        return f"did you mean {folder / close[0]}?"
    return "give the path of a Python script, or -m and the name of a module"


def _module_fix(target: str) -> str:
    if os.path.exists(target):
        return f"leave -m out to run the script {target}" if target.endswith(".py") else "name a module inside it"
    return "give -m the dotted name of a module that can be imported from here"


def _exit_code(stop: SystemExit) -> int:
    """What Python makes of ``sys.exit(code)``; a code that is no number is printed and counts as 1."""
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return stop.code
    print(stop.code, file=sys.stderr, flush=True)
    return 1


def _print_error(error: BaseException) -> int:
    """Print an uncaught exception through ``sys.excepthook``, our frames left out; returns the exit code."""
    peel(error)
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
    if sys.version_info >= (3, 12):
        sys.last_exc = error
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except SystemExit as stop:
        return _exit_code(stop)
    except BaseException as second:  # noqa: BLE001  the script's own hook failed: say what the interpreter says
        peel(second)
        print("Error in sys.excepthook:", file=sys.stderr)
        sys.__excepthook__(type(second), second, second.__traceback__)
        print("\nOriginal exception was:", file=sys.stderr)
        sys.__excepthook__(type(error), error, error.__traceback__)
    return 1


@contextlib.contextmanager
def _peeled_threads() -> Iterator[None]:
    """Leave our frames out of the tracebacks of the script's threads as well."""
    before = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            peel(args.exc_value)
            traceback = args.exc_value.__traceback__
            args = threading.ExceptHookArgs((args.exc_type, args.exc_value, traceback, args.thread))
        before(args)

    threading.excepthook = hook
    try:
        yield
    finally:
        if threading.excepthook is hook:
            threading.excepthook = before
