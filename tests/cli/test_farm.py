"""What commands that train many times show, and how they are left."""

from __future__ import annotations

import signal

import pytest
from fake_jobs import Fake

from dominance.errors import BadOption
from dominance.jobs.run import JobResults
from dominance_cli.farm import Farm, JobFlags, TimeIsUp, said, until


def test_a_job_that_was_killed_and_then_done_is_done():
    outcome = JobResults(reused=["a"], seconds={"b": 2.0}, killed={"b": 1, "c": 1})
    assert said(outcome, ["c"], 4, 2, seconds=10) == "2 done, 1 running, 0 failed, 1 left, 20 s to go: c"


@pytest.mark.parametrize(
    ("seconds", "left"), [(99, "99 s"), (600, "10 min"), (36000, "10.0 h")]
)  # one of two is over: the other takes as long
def test_the_time_to_go_is_that_of_those_before(seconds, left):
    assert f"{left} to go" in said(JobResults(seconds={"a": 1.0}), ["b"], 2, 1, seconds=seconds)


def test_what_waits_for_a_worker_does_not_run():
    """An engine may have been given more than it runs at the same time."""
    told = said(JobResults(), [str(number) for number in range(50)], 100, 4, seconds=1)
    assert told == "0 done, 4 running, 0 failed, 96 left: 0, 1, 2, ..."


def test_time_is_up_only_while_something_runs():
    told = until(0, lambda outcome, running: None)
    told(JobResults(), [])
    with pytest.raises(TimeIsUp):
        told(JobResults(), [object()])  # type: ignore[list-item]


def test_sigterm_ends_as_ctrl_c_does_and_is_given_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    farm = Farm(JobFlags(jobs=1), quiet=True)
    with pytest.raises(KeyboardInterrupt), farm:
        signal.raise_signal(signal.SIGTERM)
    assert farm.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_farm_that_cannot_be_leaves_nothing(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(BadOption, match="leave --detach out"), Farm(JobFlags(detach=True), quiet=True) as farm:
        farm.run([Fake("fine")], tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_same_place_is_typed_again():
    assert JobFlags().again() == ""
    assert JobFlags(on="dask=tcp://a:1", jobs=3, detach=True).again() == " --on dask=tcp://a:1 --detach"
