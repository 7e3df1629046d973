"""The wrapper as Python itself: a script is run by ``python`` and by us, and must not know the difference."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from twice import DRIVER, agree, python, wrapped

LOOK = """
import sys
print(sys.argv, sys.path[0], __name__, __file__, __package__, __doc__)
print(list(globals()), type(__builtins__).__name__, type(__loader__).__name__, __spec__ and __spec__.name)
print(sys.modules["__main__"].__dict__ is globals(), sorted(sys.modules["__main__"].__annotations__))
print(sys.exc_info(), sys.excepthook is sys.__excepthook__, __import__("signal").getsignal(2))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    package = tmp_path / "pkg" / "sub"
    package.mkdir(parents=True)
    (tmp_path / "pkg" / "__init__.py").write_text("import sys\nprint('parent sees', sys.argv)\n")
    (package / "__init__.py").write_text("VALUE = 7\n")
    (package / "tool.py").write_text(LOOK + "from . import VALUE\nfrom .. import sub\nprint(VALUE, sub)\n")
    (package / "__main__.py").write_text(LOOK)
    (package / "broken.py").write_text("import json\njson.loads('{')\n")
    (package / "unparsable.py").write_text("x = (\n")
    (tmp_path / "look.py").write_text(LOOK)
    (tmp_path / "link.py").symlink_to(package / "tool_target.py")
    (package / "tool_target.py").write_text(LOOK + "import neighbour\n")
    (package / "neighbour.py").write_text("print('found')\n")
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.writestr("__main__.py", LOOK)
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        "look.py --lr 1e-3 -o out -- --help -m",
        "./look.py",
        "pkg/../look.py",
        "link.py",
        "-m pkg.sub.tool --lr 1",
        "-m pkg.sub -x",
        "pkg/sub a",
        "app.zip b",
        "-m pkg.sub.broken",
        "-m pkg.sub.unparsable",
    ],
)
def test_surroundings(folder: Path, command: str) -> None:
    code, out, _ = agree(*command.split(), cwd=folder)
    assert ("broken" in command or "unparsable" in command) == (code != 0)
    assert out


def test_absolute_path_and_compiled_file(folder: Path) -> None:
    agree(str(folder / "look.py"), cwd=folder / "pkg")
    subprocess.run([sys.executable, "-m", "compileall", "-b", "-q", "look.py"], cwd=folder, check=True)
    agree("look.pyc", "1", cwd=folder)


ENDINGS = {
    "normal": "print('done')",
    "number": "import sys; sys.exit(3)",
    "negative": "import sys; sys.exit(-1)",
    "text": "import sys; sys.exit('no data')",
    "object": "import sys; sys.exit((1, 'two'))",
    "none": "import sys; sys.exit(None)",
    "true": "import sys; sys.exit(True)",
    "nested": "try:\n    raise KeyError(1)\nexcept KeyError:\n    raise SystemExit(4)",
    "os_exit": "import os, sys; print('gone'); sys.stdout.flush(); os._exit(5)",
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "atexit": "import atexit, sys\natexit.register(print, 'bye')\nprint('err', file=sys.stderr)\nsys.exit(1)",
    "error": "def f():\n    return 1 / 0\nprint('before')\nf()",
    "cause": "try:\n    {}['a']\nexcept KeyError as e:\n    raise ValueError('bad') from e",
    "context": "try:\n    {}['a']\nexcept KeyError:\n    raise ValueError('bad')",
    "silenced": "try:\n    {}['a']\nexcept KeyError:\n    raise ValueError('bad') from None",
    "notes": "e = ValueError('x')\ne.add_note('seen at step 3')\nraise e",
    "group": "def f(x):\n    try:\n        1 / x\n    except ZeroDivisionError as e:\n        return e\n"
    "raise ExceptionGroup('two', [f(0), ExceptionGroup('inner', [f(0), TypeError('t')])])",
    "base": "class Stop(BaseException): pass\nraise Stop('here')",
    "generator_exit": "raise GeneratorExit",
    "cycle": "e = ValueError(1)\nf = ValueError(2)\ne.__cause__ = f\nf.__cause__ = e\nraise e",
    "syntax": "print('never')\nfoo(\n",
    "indent": "if 1:\nprint(2)\n",
    "inner_syntax": "exec('a b')",
    "warning": "x = 1\nprint(x is 1)\nimport warnings\nwarnings.warn('careful')\n",
    "hook": "import sys\ndef hook(t, v, tb):\n"
    "    print('mine', t.__name__, v, tb.tb_lineno, tb.tb_next is None, sys.exc_info())\n"
    "sys.excepthook = hook\n1 / 0",
    "hook_fails": "import sys\ndef hook(*a):\n    raise OSError('hook')\nsys.excepthook = hook\n1 / 0",
    "hook_exits": "import sys\nsys.excepthook = lambda *a: sys.exit(9)\n1 / 0",
    "last": "import atexit, sys\natexit.register(lambda: print(sys.last_type, sys.last_traceback.tb_lineno))\n\n1 / 0",
    "thread": "import threading\ndef f():\n    raise ValueError('in thread')\n"
    "t = threading.Thread(target=f, name='w')\nt.start()\nt.join()\nprint('main goes on')",
    "thread_hook": "import threading\nthreading.excepthook = lambda a: print('own', a.exc_type)\n"
    "t = threading.Thread(target=lambda: 1 / 0)\nt.start(); t.join()",
    "late_thread": "import threading, time\nthreading.Thread(target=lambda: (time.sleep(.2), print('late'))).start()",
    "pool": "from concurrent.futures import ThreadPoolExecutor\n"
    "p = ThreadPoolExecutor(2)\nprint(p.submit(len, 'abc').result())",
    "printed": "import traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    traceback.print_exc()",
    "stack": "import traceback\ntraceback.print_stack(limit=1)",
    "future": "from __future__ import annotations\nx: Undefined = 1\nprint(__annotations__)",
    "latin": "# -*- coding: latin-1 -*-\nprint(ascii('\xe9'))",
    "interactive": "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))) is A, A.__module__)",
    "fork": "import os, sys\npid = os.fork()\nif pid:\n    print(os.waitpid(pid, 0)[1])\nelse:\n    sys.exit(6)",
    "broken_import": "import brittle",
}


@pytest.fixture(scope="module")
def endings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("endings")
    for name, text in ENDINGS.items():
        (folder / f"{name}.py").write_text(text, encoding="latin-1" if name == "latin" else "utf-8")
    (folder / "brittle.py").write_text("def g():\n    raise RuntimeError('deep')\ng()\n")
    return folder


@pytest.mark.parametrize("name", ENDINGS)
def test_exit_code_and_output(endings: Path, name: str) -> None:
    agree(f"{name}.py", cwd=endings)


@pytest.mark.parametrize("name", ["error", "number", "syntax", "hook"])
def test_exit_code_and_output_of_modules(endings: Path, name: str) -> None:
    agree("-m", name, cwd=endings)


@pytest.mark.parametrize("command", ["mixed.py", "-m mixed"])
def test_order_of_stdout_and_stderr(tmp_path: Path, command: str) -> None:
    """Into one pipe: Python flushes stdout before the traceback of a script, and only at the end of a module."""
    (tmp_path / "mixed.py").write_text(
        "import sys\nprint('out')\nsys.stderr.write('err\\n')\n"
        "sys.excepthook = lambda *_: sys.stderr.write('hook\\n')\n1 / 0\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    merged = []
    for prefix in ([], ["-c", DRIVER]):
        done = subprocess.run(
            [sys.executable, *prefix, *command.split()],
            cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        merged.append(done.stdout)
    assert merged[0] == merged[1]


@pytest.mark.parametrize("command", ["stopped.py", "-m stopped"])
def test_interrupt(tmp_path: Path, command: str) -> None:
    (tmp_path / "stopped.py").write_text(
        "import atexit, signal\natexit.register(print, 'bye')\n"
        "try:\n    signal.raise_signal(signal.SIGINT)\nfinally:\n    print('cleaned')\n"
    )
    code, out, err = agree(*command.split(), cwd=tmp_path)
    assert code == -signal.SIGINT
    assert out == "cleaned\nbye\n"
    assert "KeyboardInterrupt" in err


SPAWN = """
import multiprocessing as mp, os, pickle, sys
print(__name__, os.path.basename(__file__), sys.argv, flush=True)
class Item:
    def __init__(self, x): self.x = x
def work(item):
    return item.x + 1, "dominance" in sys.modules, sys.modules["__main__"].__name__
if __name__ == "__main__":
    with mp.get_context(sys.argv[1]).Pool(1) as pool:
        print(pool.map(work, [Item(1), Item(2)]))
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
@pytest.mark.parametrize("module", [False, True])
def test_multiprocessing(tmp_path: Path, method: str, module: bool) -> None:
    """Children import the script as ``__mp_main__``, never the wrapper; ``dominance`` is loaded in forked ones only."""
    (tmp_path / "workers.py").write_text(SPAWN)
    command = ["-m", "workers", method] if module else ["workers.py", method]
    code, out, err = python(*command, cwd=tmp_path)
    assert code == 0
    if method == "fork":
        out = out.replace("False", "True")
    assert wrapped(*command, cwd=tmp_path) == (code, out, err)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("lok.py", "no such script: lok.py; did you mean look.py?"),
        ("python look.py", "no such script: python; leave `python` out"),
        ("-m nowhere", "No module named nowhere"),
        ("-m pkg.nowhere", "No module named pkg.nowhere"),
        ("-m pkg", "'pkg' is a package and cannot be directly executed"),
        ("-m look.py", "Try using 'look' instead of 'look.py'"),
        ("pkg", "can't find '__main__' module"),
    ],
)
def test_nothing_to_run(folder: Path, command: str, says: str) -> None:
    code, _, err = wrapped(*command.split(), cwd=folder)
    assert code == 2
    assert err.startswith("BadScript ")
    assert says in err
    assert err.count("\n") == 1


def test_nothing_heavy_is_loaded_before_the_script(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import sys\nprint([m for m in ('torch', 'numpy', 'pandas', 'xarray', 'zarr', 'typer') if m in sys.modules])"
    )
    assert wrapped("train.py", cwd=tmp_path) == (0, "[]\n", "")


def test_safe_path(folder: Path) -> None:
    """Under PYTHONSAFEPATH the folder of the script is not importable, with us neither."""
    assert wrapped("link.py", cwd=folder, PYTHONSAFEPATH="1")[0] == 1
    assert wrapped("look.py", cwd=folder, PYTHONSAFEPATH="1") == python("look.py", cwd=folder, PYTHONSAFEPATH="1")
