"""``dominance train`` over a grid: what is trained, once, and what the table says of how many seeds."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from dominance.benchmarks.train.trainer import result
from dominance.errors import BadOption
from dominance_cli.farm import JobFlags
from dominance_cli.flags import TrainingFlags
from dominance_cli.main import main
from dominance_cli.train_grid import GridFlags, is_grid, plan_grid

SMALL = ("--epochs", "1", "--set", "steps=20", "--every", "10")


def leave(*arguments: str) -> object:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return left.value.code


def planned(method: str, *grid: str, seeds: str | None = None, training: TrainingFlags | None = None):
    return plan_grid("toy-2d", method, training or TrainingFlags(), GridFlags(seeds, list(grid)), ())


def test_a_grid_is_trained_once_and_its_table_is_of_its_seeds(tmp_path: Path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    words = ("train", "toy-2d", "--method", "equal-weight,pcgrad", "--grid", "start=0,2", "--seeds", "2", *SMALL)
    assert leave(*words) == 0
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert lines[0].split("  ")[0] == ""
    assert [line.split("  ")[0] for line in lines[1:5]] == [
        "equal-weight start=0", "equal-weight start=2", "pcgrad start=0", "pcgrad start=2",
    ]  # fmt: skip
    assert (tmp_path / "grids/toy-2d/table.txt").read_text() == out
    assert all(len(line) <= 80 for line in lines[5:])
    assert "8 runs made, 0 used again; grids/toy-2d/table.txt" in err
    assert err.splitlines()[-1] == "dominance study grids/toy-2d"
    assert leave("study", "grids/toy-2d", "--json") == 0
    assert {cell["complete"] for cell in json.loads(capfd.readouterr().out)["cells"]} == {2}
    assert leave(*words) == 0
    assert "0 runs made, 8 used again" in capfd.readouterr().err

    # One of them, trained by itself, has the same weights; and the numbers of its row are those of its two seeds.
    assert leave("train", "toy-2d", "--method", "pcgrad", "--set", "start=2", *SMALL, "-o", "alone", "-q") == 0
    (first, second) = sorted((tmp_path / "grids/toy-2d").glob("pcgrad-start=2-s?-????????"))
    alone, ours = (torch.load(path / "checkpoint.pt") for path in (tmp_path / "alone", first))
    assert all(torch.equal(alone["model"][key], ours["model"][key]) for key in alone["model"])
    losses = [result(path).scores["L1"]["loss"] for path in (first, second)]
    cells = lines[4].split()
    assert cells[:4] == ["pcgrad", "start=2", "2", f"{np.mean(losses):.4g}"]


def test_a_seed_that_failed_is_counted(tmp_path: Path, capfd):
    """UW needs losses that stay above 0, which those from the first start do not."""
    words = ("--method", "uw", "--grid", "steps=20,4000", "--epochs", "1", "--every", "1000", "--lr", "0.01")
    assert leave("train", "toy-2d", *words, "--seeds", "0:1", "-o", str(tmp_path / "out")) == 1
    out, err = capfd.readouterr()
    assert "uw steps=4000: 1 of its runs failed." in out
    rows = {line.split("  ")[0]: line.split() for line in out.splitlines()[1:3]}
    assert rows["uw steps=20"][2] == "1"
    assert rows["uw steps=4000"][2:] == ["0", "-", "-", "-", "-"]
    assert "uw failed at step" in err


def test_a_run_that_is_done_and_has_lost_its_files_can_be_trained_again(tmp_path: Path, capfd):
    words = ("train", "toy-2d", "--method", "uw", "--seeds", "0:1", *SMALL, "-o", str(tmp_path))
    assert leave(*words) == 0
    (run,) = (path for path in tmp_path.iterdir() if path.is_dir())
    (run / "checkpoint.pt").unlink()
    assert leave(*words) == 1
    said = capfd.readouterr().err.splitlines()
    assert sum("no checkpoint.pt; delete" in line for line in said) == 1
    Path(f"{run}.done").unlink()
    assert leave(*words) == 0
    assert "1 run made, 0 used again" in capfd.readouterr().err


def test_what_is_a_grid():
    assert not is_grid("uw", GridFlags(), JobFlags())
    assert is_grid("uw,pcgrad", GridFlags(), JobFlags())
    assert is_grid("uw", GridFlags("3"), JobFlags())
    assert is_grid("uw", GridFlags(None, ["lr=1,2"]), JobFlags())
    assert is_grid("uw", GridFlags(), JobFlags(on="dask"))


def test_each_key_goes_where_it_is_typed_for_one_training():
    jobs = planned("mocograd", "lr=1e-2,1e-3", "start=1", "lam=0.1", seeds="3:5")
    assert len(jobs) == 4
    assert jobs[1].command("x") == [
        "train", "toy-2d", "--method", "mocograd", "--seed", "4", "--lr", "0.01", "--set", "start=1",
        "--option", "lam=0.1", "--force", "-o", "x",
    ]  # fmt: skip
    assert len({job.name for job in jobs}) == 4
    assert [job.row for job in jobs[:2]] == [("mocograd", "lr=1e-2", "start=1", "lam=0.1")] * 2


def test_other_options_make_another_run():
    one, other = planned("uw"), planned("uw", training=TrainingFlags(epochs=3))
    assert one[0].name != other[0].name


@pytest.mark.parametrize(
    ("method", "grid", "seeds", "said"),
    [
        ("nothing", (), None, "no method"),
        (",", (), None, "no method is named"),
        ("uw", ("strat=1,2",), None, "--grid: neither toy-2d nor uw has strat; did you mean start?"),
        ("uw", ("start=1,9",), None, "start=9: there are 5 starts"),
        ("uw", ("lr=fast",), None, "--grid lr=fast: lr is a number"),
        ("uw", ("epochs=1.5",), None, "--grid epochs=1.5: epochs is a whole number"),
        ("uw", ("lr=0.1,0.1",), None, "--grid lr=0.1,0.1 cannot be used; name each value once"),
        ("uw", ("lr",), None, "--grid 'lr' is no key=value"),
        ("uw", ("lr=0.1,-1",), None, "a learning rate of -1 cannot be used"),
        ("uw", (), "5:2", "--seeds '5:2' names no seeds; write 5, 0:5 or 0,3,7"),
        ("uw", (), "x", "--seeds 'x' names no seeds"),
        ("uw", (), "0", "--seeds '0' names no seeds"),
    ],
)
def test_mistakes_are_said_before_anything_begins(method, grid, seeds, said):
    with pytest.raises(BadOption) as caught:
        planned(method, *grid, seeds=seeds)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--seed", "3", "--seeds", "2"), "--seed and --seeds both say which seeds"),
        (("--seeds", "2", "--force"), "--force is for one training"),
        (("--seeds", "2", "--on", "nowhere"), "--on 'nowhere' is unknown"),
        (("--seeds", "2", "--detach"), "processes of this machine end with the command"),
        (("--seeds", "2", "--no-record", "--probe", "noise"), "--probe cannot probe what is not recorded"),
    ],
)
def test_options_that_go_against_each_other(words, said, tmp_path, capfd):
    assert leave("train", "toy-2d", "--method", "uw", *words, "-o", str(tmp_path / "out")) == 2
    assert said in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_interval_of_one_seed_is_not_known():
    from dominance_cli.train_grid import _mean

    assert _mean([2.0])[0] == 2.0
    assert math.isnan(_mean([2.0])[1])
    assert _mean([1.0, 3.0, math.nan])[1] == pytest.approx(12.706, abs=1e-3)
