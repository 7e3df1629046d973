"""``dominance reproduce``: from nothing to a figure and a report."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

import dominance.jobs.run
from dominance.papers import catalogue
from dominance.papers.item import Claim, Item, Judgement, Wish
from dominance.papers.jobs import Training
from dominance.papers.table import Table
from dominance_cli.main import main


def leave(*arguments: str) -> object:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return left.value.code


def toy(wish: Wish) -> list[Training]:
    if wish.data.get("toy-2d"):
        return [Training("toy-2d", "equal-weight", settings=wish.settings("toy-2d"))]
    seeds = (0, 1) if wish.scale == "full" else (0,)
    return [Training("toy-2d", "equal-weight", seed=seed, epochs=1, settings={"steps": 20}) for seed in seeds]


def steps(material, backend) -> Table:
    runs = material.select(benchmark="toy-2d", settings={"steps": 20})
    return Table(["seed", "steps"], [[str(i), str(run.attrs["steps_taken"])] for i, run in enumerate(runs)])


def judge(material) -> Judgement:
    taken = [run.attrs["steps_taken"] for run in material.select(benchmark="toy-2d")]
    return Judgement("reproduced" if set(taken) == {20} else "not reproduced", f"{taken} steps")


CLAIM = Claim("steps", "20 steps are taken", "20 steps in every seed", judge)
BROKEN = Item(
    "pub-fig8", "PUB", "Fig. 8", "broken", lambda wish: [Training("toy-2d", "uw", settings={"start": 9})], steps
)
NEVER = Item("pub-table6", "PUB", "Table VI", "online", lambda wish: [], None, "Nobody can.", claims=(CLAIM,))


@pytest.fixture(autouse=True)
def _items(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [BROKEN, Item("pub-fig9", "PUB", "Fig. 9", "toy", toy, steps, claims=(CLAIM,)), NEVER]
    monkeypatch.setattr(catalogue, "items", lambda: {item.name: item for item in known})


def test_from_nothing_to_a_figure_and_again_without_training(tmp_path: Path, capfd):
    output = tmp_path / "out"
    assert leave("reproduce", "pub-fig9", "-o", str(output), "--format", "svg", "--jobs", "2") == 0
    out, err = capfd.readouterr()
    assert out.splitlines()[0] == str(output / "pub-fig9.svg")
    assert "  reproduced: 20 steps are taken ([20] steps)" in out.splitlines()
    assert out.splitlines()[-1] == str(output / "REPRODUCTION.md")
    assert err.splitlines()[-1] == "dominance: 1 jobs run, 0 used again"
    assert "seeds: 0;" in (output / "pub-fig9.md").read_text()

    first = (output / "pub-fig9.svg").read_bytes()
    assert leave("reproduce", "pub-fig9", "-o", str(output), "--format", "svg", "-q") == 0
    assert capfd.readouterr().err == ""
    assert (output / "pub-fig9.svg").read_bytes() == first

    # The other items of the paper: one that fails, one that nobody can make; what was made stays in the report.
    assert leave("reproduce", "all", "-o", str(output), "--format", "svg") == 1
    out, err = capfd.readouterr()
    assert "cannot be tested: 20 steps are taken (Nobody can.)" in out
    lines = err.splitlines()
    assert any(line.startswith("dominance: error: toy-2d-uw-s0-") and "there are 5 starts" in line for line in lines)
    assert any(line.startswith("dominance: error: pub-fig8 was not made: ") for line in lines)
    assert lines[-1] == "dominance: 1 jobs run, 1 used again"
    report = (output / "REPRODUCTION.md").read_text()
    assert "2 claims: 1 reproduced, 1 cannot be tested." in report
    assert "`dominance reproduce pub-fig9`" in report


def test_folders_and_scale_reach_the_trainings_and_the_command_that_is_noted(tmp_path: Path, monkeypatch, capfd):
    asked = []

    def run(jobs, folder, **rest):
        asked.extend(jobs)
        return dominance.jobs.run.JobResults(failed={job.name: "it failed" for job in jobs})

    monkeypatch.setattr(dominance.jobs.run, "run_jobs", run)
    assert leave("reproduce", "pub-table6", "--scale", "full", "--data", "toy-2d=some where", "-o", str(tmp_path)) == 0
    assert "nothing that is asked for is made from toy-2d" in capfd.readouterr().err
    found = json.loads((tmp_path / "pub-table6.json").read_text())
    assert found["command"] == "dominance reproduce pub-table6 --scale full --data 'toy-2d=some where'"
    assert leave("reproduce", "pub-fig9", "--scale", "full", "-o", str(tmp_path)) == 1
    assert [job.seed for job in asked] == [0, 1]
    asked.clear()
    monkeypatch.chdir(tmp_path)
    assert leave("reproduce", "pub-fig9", "--data", "toy-2d=here", "-o", str(tmp_path)) == 1
    assert asked[0].arguments()[-2:] == ["--set", f"data={tmp_path / 'here'}"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_end_the_trainings_and_say_how_to_go_on(number, tmp_path: Path, monkeypatch, capfd):
    def run(jobs, folder, **rest):
        os.kill(os.getpid(), number)
        time.sleep(5)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(dominance.jobs.run, "run_jobs", run)
    assert leave("reproduce", "pub-fig9", "-o", str(tmp_path), "--scale", "full") == 128 + number
    lines = capfd.readouterr().err.splitlines()
    assert lines[-1] == f"dominance reproduce pub-fig9 --scale full -o {tmp_path}"
    assert signal.getsignal(signal.SIGTERM) == before


def test_when_time_is_up_it_ends_well_and_says_how_to_go_on(tmp_path: Path, monkeypatch, capfd):
    def run(jobs, folder, *, tell, **rest):
        tell(dominance.jobs.run.JobResults(), [])  # nothing runs any more
        tell(dominance.jobs.run.JobResults(), ["one"])
        raise AssertionError("it goes on")

    monkeypatch.setattr(dominance.jobs.run, "run_jobs", run)
    assert leave("reproduce", "pub-fig9", "-o", str(tmp_path), "--minutes", "0", "--scale", "long") == 0
    lines = capfd.readouterr().err.splitlines()
    assert lines[-2].startswith("dominance: time is up; ")
    assert lines[-1] == f"dominance reproduce pub-fig9 --scale long -o {tmp_path}"


def test_when_time_is_up_what_was_trained_is_made(tmp_path: Path, monkeypatch, capfd):
    """The toy's one training is there, the other item's is not; what needs nothing is said, too."""
    output = tmp_path / "out"
    assert leave("reproduce", "pub-fig9", "-o", str(output), "--format", "svg", "-q") == 0
    (output / "pub-fig9.svg").unlink()

    def run(jobs, folder, *, tell, **rest):
        tell(dominance.jobs.run.JobResults(), ["one"])

    monkeypatch.setattr(dominance.jobs.run, "run_jobs", run)
    assert leave("reproduce", "all", "-o", str(output), "--format", "svg", "--minutes", "0") == 0
    assert (output / "pub-fig9.svg").exists()
    assert not (output / "pub-fig8.md").exists()
    report = (output / "REPRODUCTION.md").read_text()
    assert "2 claims: 1 reproduced, 1 cannot be tested." in report
    assert "time is up" in capfd.readouterr().err


def test_it_says_how_long_it_will_take(tmp_path: Path, monkeypatch, capfd):
    def run(jobs, folder, **rest):
        return dominance.jobs.run.JobResults()

    def long(wish: Wish) -> list[Training]:
        return [Training("digits", "equal-weight", seed=seed, epochs=100) for seed in range(10)] + [
            Training("nyuv2", "uw", settings={"data": "/x"})
        ]

    monkeypatch.setattr(dominance.jobs.run, "run_jobs", run)
    monkeypatch.setattr(catalogue, "items", lambda: {"pub-fig9": Item("pub-fig9", "PUB", "Fig. 9", "toy", long, None)})
    assert leave("reproduce", "pub-fig9", "-o", str(tmp_path), "-j", "2") == 1  # nothing was trained
    said = capfd.readouterr().err.splitlines()[0]
    found = re.fullmatch(
        r"dominance: 11 jobs to run, about (\d+) min with 2 at a time; of 1 of them it is not known", said
    )
    assert found is not None
    assert 2 <= int(found[1]) <= 20
    assert leave("reproduce", "pub-fig9", "-o", str(tmp_path), "-q") == 1
    assert "jobs to run" not in capfd.readouterr().err


def test_settings_take_the_place_of_ours_and_are_in_the_command(tmp_path: Path, monkeypatch):
    asked = []

    def run(jobs, folder, **rest):
        asked.extend(jobs)
        return dominance.jobs.run.JobResults(failed={job.name: "it failed" for job in jobs})

    monkeypatch.setattr(dominance.jobs.run, "run_jobs", run)
    words = ["--data", "toy-2d=here", "--set", "toy-2d:start=3", "--set", "toy-2d:scale=1"]
    monkeypatch.chdir(tmp_path)
    assert leave("reproduce", "pub-fig9", *words, "-o", str(tmp_path)) == 1
    assert asked[0].arguments()[-4:] == ["--set", "start=3", "--set", "scale=1"]
    assert leave("reproduce", "pub-table6", *words[2:], "-o", str(tmp_path)) == 0
    found = json.loads((tmp_path / "pub-table6.json").read_text())
    assert found["command"] == "dominance reproduce pub-table6 --set toy-2d:start=3 --set toy-2d:scale=1"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pub-fig7"], "no figure or table is called 'pub-fig7'; did you mean pub-fig9?"),
        (["pub-fig9", "--scale", "huge"], "scale 'huge' is unknown; choose from quick, long, full"),
        (["pub-fig9", "--jobs", "0"], "--jobs 0 does nothing; give 1 or more"),
        (["pub-fig9", "--format", "gif"], "format 'gif' is unknown; choose from pdf, png, svg"),
        (["pub-fig9", "--data", "here"], "--data 'here' is no BENCHMARK=DIR; write it like --data nyuv2=/data/nyuv2"),
        (
            ["pub-fig9", "--set", "width=3"],
            "--set 'width=3' is no BENCHMARK:KEY=VALUE; write it like --set census:width=32",
        ),
        (["pub-fig9", "--set", "toy-2d:start"], "--set 'start' is no key=value; write it like --set width=200"),
        (["pub-fig9", "--data", "toy=/x"], "there is no benchmark 'toy'; did you mean toy-2d?"),
    ],
)
def test_mistakes_are_said_in_one_line(words, said, tmp_path, capfd):
    assert leave("reproduce", *words, "-o", str(tmp_path / "out")) == 2
    assert capfd.readouterr().err == f"dominance: error: {said}\n"
    assert not (tmp_path / "out").exists()
