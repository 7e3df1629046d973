"""Run a command twice: by the interpreter itself, and under ``dominance.record.script.running``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

DRIVER = """
import sys
from dominance.errors import DominanceError
from dominance.record.script.running import prepare
arguments = sys.argv[1:]
module = arguments[0] == "-m"
target, *rest = arguments[module:]
calls = []
try:
    outcome = prepare(target, module=module).run(rest, on_torch=lambda: calls.append(1))
except DominanceError as error:
    print(type(error).__name__, error, file=sys.stderr)
    sys.exit(2)
if calls:
    print("on_torch", len(calls))
outcome.leave()
"""


def python(*arguments: str, cwd: Path, **options: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the interpreter itself."""
    return _result([sys.executable, *arguments], cwd, options)


def wrapped(*arguments: str, cwd: Path, **options: str) -> tuple[int, str, str]:
    """The same under the wrapper."""
    return _result([sys.executable, "-c", DRIVER, *arguments], cwd, options)


def _result(command: list[str], cwd: Path, environment: dict[str, str]) -> tuple[int, str, str]:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


def agree(*arguments: str, cwd: Path) -> tuple[int, str, str]:
    expected = python(*arguments, cwd=cwd)
    assert wrapped(*arguments, cwd=cwd) == expected
    return expected
