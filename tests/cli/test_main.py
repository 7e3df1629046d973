"""The command as a whole: mistakes are one line and exit code 2, and nothing heavy is loaded for them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from runs import planted_rows, write_run

from dominance_cli.main import main

HEAVY = {"torch", "numpy", "pandas", "xarray", "zarr", "matplotlib", "seaborn", "rich"}


def run(*arguments: str, cwd: Path | None = None, **environment: str) -> tuple[int, str, str]:
    """The command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "dominance", *arguments],
        cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a script, a directory with something in it, a directory that is no run."""
    (tmp_path / "train.py").write_text("print('never')\n")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thing").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("record --evry 5 train.py", "no such option: --evry; did you mean --every?"),
        ("record --forse train.py", "no such option: --forse; did you mean --force?"),
        ("record -x train.py", "no such option: -x; "),
        ("record", "missing argument 'TARGET'; see `dominance record --help`"),
        ("record -o", "option '-o' requires an argument"),
        ("record --every 0 train.py", "every=0 records nothing; give 1 (all steps) or more"),
        ("record --every x train.py", "--every: every cannot be 'x'"),
        ("record --budget lots train.py", "budget 'lots' is no size; write it like 500MB or 2GiB"),
        ("record --budget 10 train.py", "a budget of 10 bytes is too small for any run; give 1MB or more"),
        ("record --attribution all train.py", "attribution 'all' is unknown; choose from additive, solo, both"),
        ("record --tasks a,a train.py", "a task is named twice in a,a"),
        ("record --force --resume train.py", "--force and --resume exclude each other"),
        ("record trian.py", "no such script: trian.py; did you mean train.py?"),
        ("record python train.py", "no such script: python; leave `python` out"),
        ("record -o taken train.py", "taken exists; give --force"),
        ("record -o train.py train.py", "train.py exists; give --force"),
        ("summary nowhere", "nowhere: no such run; "),
        ("summary taken", "taken: no dominance run"),
        ("info nowhere", "nowhere: no such run; "),
        ("info a b", "got unexpected extra argument(s) (b); see `dominance info --help`"),
        ("report nowhere", "nowhere: no such run; "),
        ("report --format doc taken", "format 'doc' is unknown; choose from pdf, png, svg"),
        ("summary --fail-on 'gcd' taken", "--fail-on \"'gcd'\" cannot be read; write it like"),
        ("rekord train.py", "no such command: rekord; did you mean record?"),
        ("xyzzy", "no such command: xyzzy; see `dominance --help`"),
        ("--versio", "no such option: --versio; "),
    ],
)
def test_a_mistake_is_one_line(folder: Path, capfd: pytest.CaptureFixture[str], command: str, says: str) -> None:
    with pytest.raises(SystemExit) as left:
        main(command.split())
    out, err = capfd.readouterr()
    assert left.value.code == 2
    assert out == ""
    assert err.startswith("dominance: error: ")
    assert says in err
    assert err.count("\n") == 1
    assert not (folder / "runs").exists()


def test_help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """``dominance`` alone is help; every command has help with an example; all of it fits 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    texts = {}
    for command in ("", "--help", "record -h", "report --help", "summary --help", "info --help"):
        with pytest.raises(SystemExit) as left:
            main(command.split())
        assert left.value.code == 0
        texts[command] = capsys.readouterr().out
        assert "Example: dominance " in texts[command]
        assert max(map(len, texts[command].splitlines())) <= 80
    assert texts[""] == texts["--help"]
    options = "-o --tasks --every --burst --params --budget --exact --attribution --force --resume --strict -q -m"
    for option in options.split():
        assert option in texts["record -h"]


def test_version_and_what_is_loaded() -> None:
    """One process: ``--version``, ``--help`` and a mistyped option load nothing heavy and leave the hooks alone."""
    code = (
        "import sys, dominance\n"
        f"heavy = {sorted(HEAVY)}\n"
        "print([m for m in (*heavy, 'typer') if m in sys.modules])\n"
        "from dominance_cli.main import main\n"
        "for command in ('--version', '--help', 'record --evry 5 x', 'record --every 5 x.py'):\n"
        "    try:\n        main(command.split())\n    except SystemExit as e:\n        print(e.code)\n"
        "print([m for m in heavy if m in sys.modules], sys.excepthook is sys.__excepthook__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == "[]"
    assert lines[1] == "dominance 0.1.0"
    assert lines[-1] == "[] True"
    assert [line for line in lines if line.isdecimal()] == ["0", "0", "2", "2"]


@pytest.mark.parametrize("command", ["info", "summary"])
def test_reading_loads_no_dask(command: str, tmp_path: Path) -> None:
    """xarray would load it to ask whether an array is one of its own."""
    write_run(tmp_path / "run", *planted_rows())
    code = (
        "import sys\n"
        "from dominance_cli.main import main\n"
        f"sys.argv = ['dominance', {command!r}, {str(tmp_path / 'run')!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print(end.code)\n"
        "found = [name for name, module in sys.modules.items() if name.startswith('dask') and module]\n"
        "print(found, 'xarray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-2:] == ["0", "[] True"]


def test_arguments_that_are_given_leave_the_process_as_it_is(tmp_path: Path) -> None:
    """A notebook that runs the command may need dask for something else."""
    code = (
        "import sys\n"
        "from dominance_cli.main import main\n"
        "try:\n    main(['info', 'x'])\nexcept SystemExit:\n    print('dask' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)

    assert done.stdout.split() == ["False"]


def test_a_reader_that_leaves_early(tmp_path: Path) -> None:
    """``dominance --help | head -0``: no traceback and no complaint about a broken pipe."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dominance", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    process.wait(timeout=60)


def test_configuration_of_the_project_and_the_environment(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.dominance]\nevery = 0\n")
    assert run("record", "train.py", cwd=folder)[2] == (
        "dominance: error: every=0 records nothing; give 1 (all steps) or more\n"
    )
    assert "burst=0" in run("record", "--every", "3", "train.py", cwd=folder, DOMINANCE_BURST="0")[2]
    code, out, err = run("record", "--every", "3", "--burst", "2", "train.py", cwd=folder, DOMINANCE_BURST="0")
    assert (code, out) == (0, "never\n")
    assert err == "dominance: nothing was recorded: the script's own process never imported torch\n"
    assert run("record", "-q", "--every", "3", "train.py", cwd=folder) == (0, "never\n", "")
