"""Training from scratch: the same to the bit whenever it is repeated, recorded, or interrupted and resumed."""

from __future__ import annotations

import contextlib
import itertools
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from same import differences
from small_benchmark import BATCHES, Small, install, state
from torch import nn
from torch.nn import functional as F

from dominance import au
from dominance.benchmarks.data.splits import derived_generator
from dominance.benchmarks.train import checkpoint, training
from dominance.benchmarks.train.plan import TrainOptions, plan
from dominance.benchmarks.train.trainer import result, resume, train
from dominance.benchmarks.train.training import Interrupted, Progress
from dominance.config import RecordOptions
from dominance.errors import BadOption, NotARun, NothingRecorded, RunExists, TrainingFailed
from dominance.record.recorder import Recorder
from dominance.record.write.sink import Sink
from dominance.store.reader import open_run

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


def options(method: str = "equal-weight", /, **more: Any) -> TrainOptions:
    return TrainOptions("small", method, **more)


def same(one: Path, two: Path) -> bool:
    return not list(differences(state(one), state(two)))


def after(steps: int) -> Any:
    """Says stop after so many steps."""
    counter = itertools.count(1)
    return lambda: next(counter) >= steps


def test_by_hand(tmp_path: Path) -> None:
    """Equal weighting with SGD, two steps of warm-up, the learning rate a tenth in the last of three epochs."""
    done = train(options(optimizer="sgd", seed=3, milestones=(0.6,), warmup=2), tmp_path / "run", record=None)
    problem, generator = Small(), derived_generator(3, "batches")
    problem.load(3)
    torch.manual_seed(3)
    model = problem.model("hps", ("y", "z"))
    rates = iter([0.005] + [0.01] * (2 * BATCHES - 1) + [0.001] * BATCHES)
    for _ in range(3):
        for batch in problem.batches("train", 4, generator):
            lr = next(rates)
            out = model(batch.inputs)
            model.zero_grad()
            (F.mse_loss(out["y"], batch.targets["y"]) + F.cross_entropy(out["z"], batch.targets["z"])).backward()
            with torch.no_grad():
                for p in model.parameters():
                    p.sub_(lr * p.grad)
    for name, value in state(tmp_path / "run")["model"].items():
        torch.testing.assert_close(value, model.state_dict()[name])
    x, y, z = problem.data["test"]
    with torch.no_grad():
        out = model(x)
    assert done.scores["y"]["mse"] == pytest.approx(float(F.mse_loss(out["y"], y)))
    assert done.scores["z"]["accuracy"] == float((out["z"].argmax(1) == z).float().mean())
    assert (done.epoch, done.steps) == (3, 3 * BATCHES)


def test_learning_rates_fall_as_the_papers_say() -> None:
    """Halved in the middle (AdaTask), and by the root of the step (MoCoGrad, Corollary 1)."""
    halved = plan(options(lr=0.5, epochs=4, milestones=(0.5,), decay=2.0))
    assert [halved.learning_rate(epoch, 7) for epoch in range(4)] == [0.5, 0.5, 0.25, 0.25]
    rooted = plan(options(lr=0.5, lr_power=0.5))
    assert [rooted.learning_rate(0, step) for step in (0, 3, 99)] == [0.5, 0.25, 0.05]


def test_the_mean_of_the_last_epochs_counts(tmp_path: Path) -> None:
    """Also over an interruption; an epoch's own score is that of a training which ends with it, at a constant rate."""
    each = [
        train(options(seed=2, epochs=epochs), tmp_path / str(epochs), record=None).scores["y"]["mse"]
        for epochs in (2, 3)
    ]
    with pytest.raises(Interrupted):
        train(options(seed=2, epochs=3, last=2), tmp_path / "run", record=None, stop=after(2 * BATCHES + 2))
    assert resume(tmp_path / "run").scores["y"]["mse"] == pytest.approx(sum(each) / 2, rel=1e-12)
    with pytest.raises(BadOption, match="in two ways"):
        plan(options(last=2, patience=1))


def test_one_seed_one_training(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(options(seed=seed, settings={"dropout": 0.5}), tmp_path / name, record=None)
    assert torch.equal(before, torch.get_rng_state())
    assert same(tmp_path / "a", tmp_path / "b")
    assert not same(tmp_path / "a", tmp_path / "c")


@pytest.mark.parametrize("method", ["equal-weight", "uw", "pcgrad", "famo", "adatask", "pub"])
def test_recording_changes_nothing(tmp_path: Path, method: str) -> None:
    chosen = options(method, settings={"dropout": 0.5, "missing": True})
    train(chosen, tmp_path / "recorded", record=RecordOptions(every=1))
    train(chosen, tmp_path / "bare", record=None)
    assert same(tmp_path / "recorded", tmp_path / "bare")
    assert open_run(tmp_path / "recorded").sizes["step"] == 3 * BATCHES


KEEPS_SOMETHING = """equal-weight uw dwa rlw gradnorm bandit-mtl famo igb go4align modo gradvac graddrop mocograd
adatask ladatask adatask+pcgrad pub pub+adatask clippy"""


@pytest.mark.parametrize("method", KEEPS_SOMETHING.split())
def test_resuming_is_as_if_nothing_had_happened(tmp_path: Path, method: str) -> None:
    """Stopped within the second epoch, and again at its very end; with dropout, and tasks that are not always there."""
    optimizer = "rmsprop" if method == "graddrop" else "adam"
    chosen = options(method, optimizer=optimizer, settings={"dropout": 0.3, "missing": True})
    train(chosen, tmp_path / "whole", record=None)
    for steps, go in ((7, train), (3, resume)):
        arguments = (chosen, tmp_path / "parts") if go is train else (tmp_path / "parts",)
        recording = {"record": None} if go is train else {}
        with pytest.raises(Interrupted):
            go(*arguments, stop=after(steps), **recording)  # type: ignore[operator]
    done = resume(tmp_path / "parts")
    assert same(tmp_path / "whole", tmp_path / "parts")
    assert done.scores == result(tmp_path / "whole").scores


def test_a_training_that_went_on_says_the_same_settings(tmp_path: Path) -> None:
    """Those that were asked for, none of the defaults: it is a repeat of one that was never interrupted."""
    chosen, asked = options(settings={"dropout": 0.3}), RecordOptions(every=1)
    train(chosen, tmp_path / "whole", record=asked)
    with pytest.raises(Interrupted):
        train(chosen, tmp_path / "parts", record=asked, stop=after(5))
    for stop in (after(2), after(100)):
        with contextlib.suppress(Interrupted):
            resume(tmp_path / "parts", stop=stop)
    whole, parts = (open_run(tmp_path / name).attrs["training"] for name in ("whole", "parts"))
    assert whole == parts
    assert whole["settings"] == {"dropout": 0.3}


def test_a_training_that_is_to_be_probed_keeps_au_of_every_parameter(tmp_path: Path) -> None:
    """Fig. 1 of AdaTask: "the top 1 %" is that of all shared parameters, not of the sample."""
    chosen, asked = options(optimizer="rmsprop"), RecordOptions(every=1)
    train(chosen, tmp_path / "plain", record=asked)
    train(chosen, tmp_path / "probed", record=replace(asked, probe=("noise",)))
    plain, probed = (open_run(tmp_path / name) for name in ("plain", "probed"))
    with pytest.raises(NothingRecorded, match="AU of every coordinate was not kept"):
        au(plain, exact=True)
    every = au(probed, exact=True)["au"]
    shared = [each for each in probed.attrs["parameters"] if len(each["tasks"]) > 1]
    assert every.sizes["coord"] == sum(math.prod(each["shape"]) for each in shared)


def test_resuming_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there then is the last checkpoint, and a run that went further."""
    chosen, killed = options(settings={"dropout": 0.3}), tmp_path / "killed"
    train(chosen, tmp_path / "whole", record=RecordOptions(every=1))
    monkeypatch.setattr(training, "SAVE_EVERY", 0.0)

    def kill(now: Progress) -> None:
        if now.step == 2 * BATCHES - 1:
            monkeypatch.setattr(training, "SAVE_EVERY", math.inf)
        if now.step == 2 * BATCHES + 3:
            raise SystemExit

    with pytest.raises(SystemExit):
        train(chosen, killed, record=RecordOptions(every=1), progress=kill)
    assert state(killed)["place"]["step"] == 2 * BATCHES - 2
    resume(killed)
    assert same(tmp_path / "whole", killed)
    final = {k: v for k, v in _metrics(killed).items() if k[0] == "final"}
    assert final == {k: v for k, v in _metrics(tmp_path / "whole").items() if k[0] == "final"}


@pytest.mark.parametrize("steps", [BATCHES, 2 * BATCHES + 2])
def test_a_checkpoint_comes_after_the_record_of_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """Killed right after a checkpoint, with nothing closed: the run on disk holds every step and metric before it."""
    chosen, killed = options(settings={"dropout": 0.3}), tmp_path / "killed"
    train(chosen, tmp_path / "whole", record=RecordOptions(every=1))
    monkeypatch.setattr(training, "SAVE_EVERY", 0.0)
    save, saved = checkpoint.save, tmp_path / "saved"

    def snapshot(folder: Path, what: Any) -> None:
        save(folder, what)
        if what["place"]["step"] == steps:
            shutil.copytree(folder, saved)

    monkeypatch.setattr(checkpoint, "save", snapshot)
    train(chosen, killed, record=RecordOptions(every=1))
    monkeypatch.setattr(checkpoint, "save", save)
    assert open_run(saved)["step"].values.tolist() == list(range(steps))
    assert {epoch for _, epoch, _, _ in _metrics(saved)} == set(range(steps // BATCHES))
    resume(saved)
    assert open_run(saved)["step"].values.tolist() == list(range(3 * BATCHES))
    assert _metrics(saved) == _metrics(tmp_path / "whole")
    assert open_run(saved).attrs["status"] == "complete"


def test_it_is_over_once_the_recording_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while the recording is closed, which is the last that happens: resuming still completes the run."""
    train(options(), tmp_path / "whole", record=RecordOptions(every=1))

    def kill(self: Recorder, *error: object) -> None:
        assert self._sink.lock is not None
        self._sink.lock.release()  # as the system does
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(training, "SAVE_EVERY", 0.0)
        patch.setattr(Recorder, "__exit__", kill)
        with pytest.raises(SystemExit):
            train(options(), tmp_path / "run", record=RecordOptions(every=1))
    assert not state(tmp_path / "run")["place"]["done"]
    resume(tmp_path / "run")
    assert same(tmp_path / "whole", tmp_path / "run")
    assert open_run(tmp_path / "run").attrs["status"] == "complete"
    assert _metrics(tmp_path / "run") == _metrics(tmp_path / "whole")


def test_stopped_after_the_last_batch_of_an_epoch(tmp_path: Path) -> None:
    """The epoch is evaluated first; of the last epoch nothing is left to stop."""
    with pytest.raises(Interrupted):
        train(options(), tmp_path / "run", record=RecordOptions(every=100), stop=after(BATCHES))
    assert state(tmp_path / "run")["place"]["epoch"] == 1
    with pytest.raises(Interrupted):
        resume(tmp_path / "run", stop=after(2 * BATCHES - 1))
    done = resume(tmp_path / "run", stop=after(1))
    assert done.scores == train(options(), tmp_path / "whole", record=RecordOptions(every=100)).scores
    assert _metrics(tmp_path / "run") == _metrics(tmp_path / "whole")


def test_a_recording_that_fails_does_not_end_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Sink, row: object) -> bool:
        raise OSError("no space left on device")

    monkeypatch.setattr(training, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(Sink, "append", full)
    train(options(), tmp_path / "run", record=RecordOptions(every=1))
    train(options(), tmp_path / "bare", record=None)
    assert same(tmp_path / "run", tmp_path / "bare")
    assert "no space left" in open_run(tmp_path / "run").attrs["failure"]


def test_a_checkpoint_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other defaults in a later version do not change a training that is resumed."""
    train(options("uw"), tmp_path / "whole", record=None)
    with pytest.raises(Interrupted):
        train(options("uw"), tmp_path / "run", record=None, stop=after(7))
    later = replace(Small.settings, lr=0.5, epochs=9, batch_size=2, optimizer="sgd", milestones=(0.5,), patience=1)
    monkeypatch.setattr(Small, "settings", later)
    monkeypatch.setitem(Small.__init__.__kwdefaults__, "dropout", 0.9)  # type: ignore[arg-type]
    resume(tmp_path / "run")
    assert same(tmp_path / "whole", tmp_path / "run")


def test_a_training_that_is_over_returns_its_result_again(tmp_path: Path) -> None:
    done = train(options(), tmp_path / "run", record=None)
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    again = resume(tmp_path / "run")
    assert (again.scores, again.epoch, again.steps) == (done.scores, done.epoch, done.steps)
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before


def _metrics(path: Path) -> dict[tuple[str, int, str, str], float]:
    metric = open_run(path)["metric"]
    columns = [metric[name].values.tolist() for name in ("split", "event_epoch", "event_task", "metric", "value")]
    return {(split, epoch, task, name): value for split, epoch, task, name, value in zip(*columns, strict=True)}


def test_what_the_run_says(tmp_path: Path) -> None:
    """The metrics of every epoch, then those that count; what was trained and how; which way is better."""
    done = train(options("uw", seed=5, lr=0.02, options={"initial": "0.5"}), tmp_path / "run")
    metrics = _metrics(tmp_path / "run")
    assert {key[:2] for key in metrics} == {(s, e) for s in ("val", "test") for e in range(3)} | {("final", 2)}
    for task, name in (("y", "mse"), ("y", "mae"), ("z", "accuracy")):
        assert metrics["final", 2, task, name] == metrics["test", 2, task, name] == done.scores[task][name]
    attrs = open_run(tmp_path / "run").attrs
    assert (attrs["benchmark"], attrs["method"], attrs["architecture"], attrs["seed"]) == ("small", "uw", "hps", 5)
    assert attrs["metrics"] == {"y": {"mse": "lower", "mae": "lower"}, "z": {"accuracy": "higher"}}
    assert attrs["training"]["lr"] == 0.02
    assert attrs["training"]["options"] == {"initial": "0.5"}


@pytest.mark.parametrize(
    ("curve", "patience", "chosen", "epochs"),
    [
        ((5, 4, 3, 2, 1), 2, 5, 5),
        ((5, 1, 2, 3, 0), 2, 2, 4),  # an error: less is better
        ((5, math.nan, 4, 6, 6), 3, 3, 5),
        ((5, 1, 2, 3, 0), 0, 5, 5),
    ],
)
def test_early_stopping(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    curve: tuple[float, ...],
    patience: int,
    chosen: int,
    epochs: int,
) -> None:
    """The scores are those of the best epoch on "val". The task to look at is the error alone."""
    tested: list[dict[str, float]] = []
    score = Small.score

    def scripted(self: Small, task: str, output: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
        found = score(self, task, output, target)
        if torch.equal(target, self.data["val"][1]):
            return {**found, "mse": float(curve[len(tested)])}
        tested.append(found)
        return found

    monkeypatch.setattr(Small, "score", scripted)
    done = train(options(epochs=5, patience=patience, tasks=("y",)), tmp_path / "run", record=None)
    assert (done.epoch, len(tested)) == (chosen, epochs)
    assert done.scores == {"y": tested[chosen - 1]}


def test_missing_labels(tmp_path: Path) -> None:
    """Samples without a label count neither in the loss nor in the metrics; an absent task is no gradient."""
    seen: list[set[str]] = []
    done = train(
        options(settings={"missing": True}),
        tmp_path / "run",
        record=None,
        progress=lambda now: seen.append({*now.losses}),
    )
    assert seen == [{"y"} if i % BATCHES == 2 else {"y", "z"} for i in range(3 * BATCHES)]
    assert all(math.isfinite(value) for metrics in done.scores.values() for value in metrics.values())


def test_some_of_the_tasks(tmp_path: Path) -> None:
    done = train(options(tasks=("z",)), tmp_path / "run", record=None)
    assert list(done.scores) == ["z"]
    assert not [name for name in state(tmp_path / "run")["model"] if name.startswith("heads.y")]


def test_single_task_learning(tmp_path: Path) -> None:
    """A run for each task, as if it were trained by itself; what was interrupted goes on where it was."""
    done = train(options("stl", seed=2), tmp_path / "stl")
    for task in ("y", "z"):
        alone = train(options(seed=2, tasks=(task,)), tmp_path / task, record=None)
        assert done.scores[task] == alone.scores[task]
        assert not list(differences(state(tmp_path / "stl" / task)["model"], state(tmp_path / task)["model"]))
        assert open_run(tmp_path / "stl" / task).attrs["method"] == "stl"
    assert result(tmp_path / "stl").scores == done.scores
    with pytest.raises(Interrupted):
        train(options("stl", seed=2), tmp_path / "parts", stop=after(3 * BATCHES + 4), record=None)
    assert resume(tmp_path / "parts").scores == done.scores
    assert same(tmp_path / "parts" / "z", tmp_path / "stl" / "z")


def test_representation(tmp_path: Path) -> None:
    """With fixed weights it makes no difference what is looked at; a method that weighs by gradients sees others."""
    for method, name in (("equal-weight", "e"), ("pcgrad", "p")):
        for representation in (False, True):
            chosen = options(method, optimizer="sgd", lr=0.5, representation=representation)
            train(chosen, tmp_path / f"{name}{representation}", record=None)
    one, two = (state(tmp_path / f"e{r}")["model"] for r in (False, True))
    for name, value in one.items():
        torch.testing.assert_close(value, two[name])
    one, two = (state(tmp_path / f"p{r}")["model"] for r in (False, True))
    assert any(not torch.allclose(value, two[name], rtol=1e-3) for name, value in one.items())


def test_what_is_there_is_kept(tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    train(options("stl"), run)
    with pytest.raises(RunExists, match="give --force"):
        train(options(), run)
    train(options(), run, overwrite=True)
    (run / "notes.txt").write_text("mine")
    train(options(seed=1), run, overwrite=True)
    assert sorted(path.name for path in run.iterdir()) == ["checkpoint.pt", "data.zarr", "notes.txt"]
    other.mkdir()
    (other / "thesis.tex").touch()
    with pytest.raises(RunExists, match="no dominance run"):
        train(options(), other, overwrite=True)
    with pytest.raises(NotARun, match="check the path"):
        resume(tmp_path / "nowhere")
    with pytest.raises(NotARun, match="dominance train"):
        resume(other)


def test_a_wrong_option_costs_no_run(tmp_path: Path) -> None:
    train(options(), tmp_path / "run")
    with pytest.raises(BadOption):
        train(options(options={"wrong": "1"}), tmp_path / "run", overwrite=True)
    shutil.rmtree(tmp_path / "run" / "data.zarr")  # it is there still
    assert result(tmp_path / "run").steps == 3 * BATCHES


def test_a_loss_that_is_not_finite(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match=r"equal-weight failed at step \d+: the loss of y is .*smaller --lr"):
        train(options(optimizer="sgd", lr=1e12), tmp_path / "run")
    assert open_run(tmp_path / "run").attrs["status"] != "complete"


def test_a_method_that_finds_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Small, "loss", lambda self, task, output, target: output.sum())  # not always positive
    with pytest.raises(TrainingFailed, match=r"si failed at step \d+: "):
        train(options("si"), tmp_path / "run", record=None)


def test_a_model_without_a_representation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Small, "model", lambda self, architecture, tasks: nn.Linear(6, 1))
    with pytest.raises(BadOption, match="no shared representation; leave --representation out"):
        train(options(representation=True), tmp_path / "run")
    with pytest.raises(BadOption, match=r"no shared representation, and mgda-ub works on its .*; take --method mgda"):
        train(options("mgda-ub"), tmp_path / "run")


def test_progress(tmp_path: Path) -> None:
    told: list[Progress] = []
    train(options("stl", epochs=2), tmp_path / "run", record=None, progress=told.append)
    assert [(now.alone, now.epoch, now.batch, now.batches, now.step) for now in told[: BATCHES + 1]] == [
        *(("y", 0, i, None, i) for i in range(1, BATCHES + 1)),
        ("y", 1, 1, BATCHES, BATCHES + 1),
    ]
    assert [now.alone for now in told] == ["y"] * 2 * BATCHES + ["z"] * 2 * BATCHES


def test_threads_are_those_asked_for_and_put_back(tmp_path: Path) -> None:
    seen: list[int] = []
    torch.set_num_threads(2)
    try:
        train(
            options(threads=1), tmp_path / "run", record=None, progress=lambda _: seen.append(torch.get_num_threads())
        )
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert set(seen) == {1}
    with pytest.raises(BadOption, match="--threads 0 is no number of threads; give 1 or more"):
        train(options(threads=0), tmp_path / "none", record=None)
