"""The end of ``import torch`` is noticed, once, and the import system is left as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from twice import agree, python, wrapped

FAKE_TORCH = (
    "import os\nprint('torch sees', os.environ.get('OMP_NUM_THREADS'), type(__loader__).__name__)\nready = True\n"
)


@pytest.fixture
def torchlike(tmp_path: Path) -> Path:
    """A folder in which ``torch`` is a small package: the notice of its import needs no more."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(FAKE_TORCH)
    (tmp_path / "torch" / "nn.py").write_text("import torch\n")
    return tmp_path


@pytest.mark.parametrize(
    "text",
    [
        "import torch",
        "import torch.nn",
        "from torch import nn",
        "import importlib.util as u\nprint(type(u.find_spec('torch').loader).__name__)\nimport torch",
        "import threading\nt = threading.Thread(target=__import__, args=('torch',))\nt.start(); t.join()\nimport torch",
        "import importlib, torch\nimportlib.reload(torch)\n"
        "l = torch.__loader__\nprint(type(l).__name__, vars(l).keys(), torch.__spec__.loader is l)",
        "import importlib.util as u\ns = u.find_spec('torch')\n"
        "m = u.module_from_spec(s)\ns.loader.exec_module(m)\nimport torch",
        "import importlib.util as u, sys\ns = u.find_spec('torch')\n"
        "s.loader = u.LazyLoader(s.loader)\nm = u.module_from_spec(s)\n"
        "sys.modules['torch'] = m\ns.loader.exec_module(m)\nprint('lazy')\nprint(m.ready)",
        "import pkgutil\nprint(pkgutil.get_data('torch', 'nn.py'))",
        "import os\nos.environ['OMP_NUM_THREADS'] = '3'\nimport torch",
    ],
)
def test_the_import_of_torch_is_noticed_once(torchlike: Path, text: str) -> None:
    (torchlike / "train.py").write_text(text)
    code, out, err = python("train.py", cwd=torchlike)
    assert code == 0, err
    assert wrapped("train.py", cwd=torchlike) == (code, out + "on_torch 1\n", err)


def test_no_torch_no_notice(torchlike: Path) -> None:
    (torchlike / "train.py").write_text(
        "import importlib.util as u, sys\nprint(u.find_spec('torch').name, u.find_spec('torchx'))"
    )
    agree("train.py", cwd=torchlike)


@pytest.mark.parametrize("error", ["RuntimeError('broken')", "ImportError('no libcuda')", "SystemExit(7)"])
def test_an_import_of_torch_that_fails(torchlike: Path, error: str) -> None:
    """The same traceback, and the next attempt is noticed."""
    (torchlike / "torch" / "__init__.py").write_text(
        f"import os\nif os.environ.pop('FAIL', None):\n    raise {error}\n"
    )
    (torchlike / "train.py").write_text("import torch.nn")
    (torchlike / "again.py").write_text(
        "try:\n    import torch\nexcept BaseException as e:\n    print(repr(e))\nimport torch"
    )
    assert wrapped("train.py", cwd=torchlike, FAIL="1") == python("train.py", cwd=torchlike, FAIL="1")
    code, out, err = python("again.py", cwd=torchlike, FAIL="1")
    assert wrapped("again.py", cwd=torchlike, FAIL="1") == (code, out + "on_torch 1\n", err)


def test_a_forked_child_is_not_recorded(torchlike: Path) -> None:
    (torchlike / "train.py").write_text("import os\nif os.fork():\n    os.wait()\nelse:\n    import torch\n")
    code, out, err = wrapped("train.py", cwd=torchlike)
    seen = os.environ.get("OMP_NUM_THREADS")
    assert (code, out, err) == (0, f"torch sees {seen} SourceFileLoader\n", "")


@pytest.mark.parametrize("enabled", ["", "import gc\ngc.disable()\n"])
def test_the_garbage_collector_rests_meanwhile_and_is_as_it_was(torchlike: Path, enabled: str) -> None:
    (torchlike / "torch" / "__init__.py").write_text("import gc\nprint('torch is imported', gc.isenabled())\n")
    (torchlike / "train.py").write_text(f"{enabled}import gc, torch\nprint(gc.isenabled())")
    code, out, _ = wrapped("train.py", cwd=torchlike)
    assert (code, out.splitlines()[:2]) == (0, ["torch is imported False", str(not enabled)])
