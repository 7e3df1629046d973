"""A recorded loop as a whole: schedules, bursts, skipped steps, several optimizers, resuming, faults, and leaving."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from record.losses import Data, Net
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

import dominance
from dominance import Recorder, open_run
from dominance.analyse.verdict.verdict import verdict
from dominance.errors import BadOption, RunExists
from dominance.record.split import gradients as gradients_module


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def train(net: Net, optimizer: torch.optim.Optimizer, steps: int, data: Data | None = None) -> None:
    data = data or Data()
    for _ in range(steps):
        out = net(data.x)
        depth, seg = data.mse(out), data.ce(out)
        optimizer.zero_grad()
        (depth + seg).backward()
        optimizer.step()


def test_bursts_and_the_momentum_that_nobody_saw(tmp_path: Path) -> None:
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.5)
    with Recorder(tmp_path / "run", net, optimizer, every=3, burst=4, exact=True):
        train(net, optimizer, 30)
    run = open_run(tmp_path / "run")
    assert run.dataset["step"].values.tolist() == [0, 1, 2, 3, 12, 13, 14, 15, 24, 25, 26, 27]
    total, rest = run["update/total"].values, run["update/unattributed"].values
    assert (rest[:4] == 0).all(), "recorded from the first step: nothing is unknown"
    # The step before the burst moved by -lr * m; the burst's first step holds momentum * that, then half each step.
    assert (rest[4] != 0).any()
    np.testing.assert_allclose(rest[5], 0.5 * rest[4], rtol=1e-5)
    np.testing.assert_allclose(rest[7], 0.125 * rest[4], rtol=1e-5)
    parts = run["update/update"].values.sum(1) + rest + run["update/residual"].values + run["update/decay"].values
    assert np.abs(parts - total).max() <= 5e-4 * np.abs(total).max()
    assert float(run.dataset["closure"].max()) < 5e-4


@pytest.mark.parametrize(("optimizer", "burst"), [(torch.optim.RMSprop, 1), (torch.optim.Adam, 20)])
def test_the_default_burst_depends_on_momentum(optimizer: Any, burst: int, tmp_path: Path) -> None:
    net = Net()
    chosen = optimizer(net.parameters(), lr=0.01)
    with Recorder(tmp_path / "run", net, chosen, every=10):
        train(net, chosen, 25)
    run = open_run(tmp_path / "run")
    assert run.attrs["schedule"] == {"every": 10, "burst": burst, **({} if burst == 1 else {"longest_burst": 100})}
    assert run.dataset["step"].values.tolist() == ([0, 2, 4, 7, 12, 19] if burst == 1 else list(range(20)))
    assert run.attrs["steps_taken"] == 25


def test_a_loop_in_a_function_whose_result_is_assigned(tmp_path: Path) -> None:
    """`run = train()` is no name of the weighted losses in train: their weights are looked through."""

    def weighted() -> Path:
        net, data = Net(), Data()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        with Recorder(tmp_path / "run", net, optimizer):
            for _ in range(2):
                out = net(data.x)
                depth, seg = data.mse(out), data.ce(out)
                optimizer.zero_grad()
                (0.25 * depth + seg).backward()
                optimizer.step()
        return tmp_path / "run"

    run = weighted()
    tree = open_run(run)
    assert tree.attrs["tasks"] == ["depth", "seg"]
    np.testing.assert_array_equal(tree["loss/weight"].values, [[0.25, 1], [0.25, 1]])


def test_a_step_that_grad_scaler_skips(tmp_path: Path) -> None:
    net, data = Net(), Data()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with Recorder(tmp_path / "run", net, optimizer, exact=True):
        for step in range(5):
            out = net(data.x)
            depth, seg = data.mse(out) * (float("inf") if step == 2 else 1.0), data.ce(out)
            optimizer.zero_grad()
            scaler.scale(depth + 0.5 * seg).backward()
            scaler.step(optimizer)
            scaler.update()
    run = open_run(tmp_path / "run")
    assert run.dataset["skipped"].values.tolist() == [0, 0, 1, 0, 0]
    assert np.isnan(run["gradient/total"].values[2]).all()
    assert (run["update/total"].values[2] == 0).all()
    weights = run["loss/weight"].values[[0, 1, 3, 4]]
    np.testing.assert_allclose(weights, [[1, 0.5]] * 4, rtol=1e-5, err_msg="unscaled, whatever the scale was")
    assert run.attrs["task_weights"] == pytest.approx({"depth": 1, "seg": 0.5})


def test_two_optimizers_make_one_row_a_step(tmp_path: Path) -> None:
    net, data = Net(), Data()
    trunk = torch.optim.SGD(net.trunk.parameters(), lr=0.1)
    heads = torch.optim.Adam([*net.depth_head.parameters(), *net.seg_head.parameters()], lr=0.01)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    with Recorder(tmp_path / "run", net, [trunk, heads], exact=True):
        out = net(data.x)
        depth, seg = data.mse(out), data.ce(out)
        (depth + seg).backward()
        trunk.step()
        heads.step()
    run = open_run(tmp_path / "run")
    assert run.sizes["step"] == 1
    total = run["update/total"]
    for name, p in net.named_parameters():
        moved = (p.detach() - before[name]).flatten().numpy()
        np.testing.assert_array_equal(total.values[0, total["parameter"].values == name], moved)
    rate = run["learning_rate/learning_rate"]
    assert rate.sel(layer="trunk.0").item() == pytest.approx(0.1)
    assert rate.sel(layer="seg_head").item() == pytest.approx(0.01)


def test_optimizers_that_take_turns_keep_their_momenta(tmp_path: Path) -> None:
    net, data = Net(), Data()
    trunk = torch.optim.Adam(net.trunk.parameters(), lr=0.01)
    heads = torch.optim.Adam([*net.depth_head.parameters(), *net.seg_head.parameters()], lr=0.01)
    with Recorder(tmp_path / "run", net, [trunk, heads], exact=True):
        for step in range(12):
            net.zero_grad()
            out = net(data.x)
            depth, seg = data.mse(out), data.ce(out)
            (depth + seg).backward()
            (heads if step % 3 else trunk).step()
    run = open_run(tmp_path / "run")
    assert run.sizes["step"] == 12
    assert (run["update/unattributed"].values == 0).all()
    assert float(run.dataset["closure"].max()) < 5e-4


def test_an_optimizer_that_was_not_given_is_not_recorded(tmp_path: Path) -> None:
    net, data = Net(), Data()
    trunk = torch.optim.SGD(net.trunk.parameters(), lr=0.1)
    other = torch.optim.SGD(net.seg_head.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", net, trunk):
        out = net(data.x)
        depth, seg = data.mse(out), data.ce(out)
        (depth + seg).backward()
        trunk.step()
        other.step()
    run = open_run(tmp_path / "run")
    total = run["update/total"]
    assert (total.values[0, total["coord_layer"].values == "seg_head"] == 0).all()


@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
def test_the_steps_of_lbfgs_are_split_over_all_their_iterations(tmp_path: Path, line_search: str | None) -> None:
    net, data = Net(), Data()
    optimizer = torch.optim.LBFGS(net.parameters(), lr=0.1, max_iter=4, line_search_fn=line_search)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        out = net(data.x)
        depth, seg = data.mse(out), data.ce(out)
        loss = depth + seg
        loss.backward()
        return loss

    with Recorder(tmp_path / "run", net, optimizer):
        for _ in range(3):
            optimizer.step(closure)
    run = open_run(tmp_path / "run")
    assert run.attrs["tasks"] == ["depth", "seg"]
    assert run.attrs["attribution"] == "additive"
    update, total = run["update/update"].values, run["update/total"].values
    assert np.allclose(np.nansum(update, axis=1), total, atol=1e-3 * np.abs(total).max())
    assert (np.nanmax(np.abs(update[..., run["update/update"]["coord_layer"].values == "trunk.0"]), axis=2) > 0).all()


def test_beside_an_optimizer_that_is_not_linear_all_updates_are_solo(tmp_path: Path) -> None:
    net, data = Net(), Data()
    hidden = [net.trunk[0].weight]
    rprop = torch.optim.Rprop(hidden, lr=0.1)
    adam = torch.optim.AdamW([p for p in net.parameters() if p is not hidden[0]], lr=0.01)
    with Recorder(tmp_path / "run", net, [adam, rprop]):
        for _ in range(3):
            out = net(data.x)
            depth, seg = data.mse(out), data.ce(out)
            (depth + seg).backward()
            adam.step()
            rprop.step()
    run = open_run(tmp_path / "run")
    assert run.attrs["attribution"] == "solo"
    solo = run["update/solo"].values
    assert np.isfinite(solo).all()
    seen = [
        name for name in ("trunk.0", "seg_head") if (solo[..., run["update/solo"]["coord_layer"] == name] != 0).any()
    ]
    assert seen == ["trunk.0", "seg_head"]
    assert "solo updates" in " ".join(verdict(run).notes)


def test_resuming_goes_on_where_the_run_ended(tmp_path: Path) -> None:
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", net, optimizer):
        train(net, optimizer, 3)
    with pytest.raises(RunExists, match="overwrite=True"):
        Recorder(tmp_path / "run", net, optimizer)
    with Recorder(tmp_path / "run", net, optimizer, resume=True):
        train(net, optimizer, 2)
    assert open_run(tmp_path / "run").dataset["step"].values.tolist() == [0, 1, 2, 3, 4]
    with Recorder(tmp_path / "run", net, optimizer, resume=True, every=10):
        train(net, optimizer, 2)
    assert open_run(tmp_path / "run").dataset["step"].values.tolist() == [0, 1, 2, 3, 4, 5], "a burst begins at once"
    with Recorder(tmp_path / "run", net, optimizer, overwrite=True):
        train(net, optimizer, 1)
    assert open_run(tmp_path / "run").dataset["step"].values.tolist() == [0]


def test_metrics_and_epochs(tmp_path: Path) -> None:
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", net, optimizer) as recorder:
        recorder.log_metrics(task="seg", split="val", accuracy=0.25)
        for epoch in range(2):
            recorder.epoch(epoch)
            train(net, optimizer, 2)
            recorder.log_metrics(task="seg", split="val", accuracy=0.5 + epoch / 4)
        recorder.flush()
    run = open_run(tmp_path / "run")
    metric = run["metric"]
    assert metric["value"].values.tolist() == [0.25, 0.5, 0.75]
    assert metric["event_task"].values.tolist() == ["seg", "seg", "seg"]
    assert metric["event_epoch"].values.tolist()[1:] == [0, 1]
    assert run.dataset["epoch"].values.tolist() == [0, 0, 1, 1]


def hooks_in_place() -> tuple[Any, ...]:
    return (
        torch.autograd._engine_run_backward,
        torch.Tensor.register_hook,
        torch.utils.hooks.BackwardHook.__init__,
        dict(_global_optimizer_pre_hooks),
        dict(_global_optimizer_post_hooks),
        torch.is_anomaly_enabled(),
    )


@pytest.mark.parametrize("ends", ["well", "in the loop", "in backward", "in a step"])
def test_nothing_is_left_behind(ends: str, tmp_path: Path) -> None:
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
            raise ValueError("in backward")

    net, data = Net(), Data()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    before = hooks_in_place()

    def fault() -> None:
        out = net(data.x)
        depth, seg = data.mse(out), data.ce(out)
        if ends == "in backward":
            (Broken.apply(depth) + seg).backward()
        if ends == "in a step":
            optimizer.register_step_post_hook(lambda *_: (_ for _ in ()).throw(ValueError("in a step")))
            train(net, optimizer, 1)
        raise ValueError(ends)

    def recorded_fault(recorder: Recorder) -> None:
        with recorder:
            train(net, optimizer, 2)
            fault()

    recorder = Recorder(tmp_path / "run", net, optimizer)
    if ends == "well":
        with recorder:
            train(net, optimizer, 2)
    else:
        with pytest.raises(ValueError, match=ends):
            recorded_fault(recorder)
    assert hooks_in_place() == before
    assert list(optimizer._optimizer_step_pre_hooks) == []
    assert all(p._backward_hooks is None for p in net.parameters())
    dominance.observe({"a": torch.ones(())})
    run = open_run(tmp_path / "run")
    assert run.sizes["step"] >= 2


def test_a_fault_of_the_recorder_leaves_the_training_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def trained(record: bool) -> tuple[list[torch.Tensor], torch.Tensor]:
        torch.manual_seed(0)
        net = Net()
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        if record:
            with Recorder(tmp_path / "run", net, optimizer):
                train(net, optimizer, 5)
        else:
            train(net, optimizer, 5)
        return list(net.parameters()), torch.rand(3)

    calls = []

    def broken(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 6:
            raise KeyError("a fault of ours")
        return original(*arguments, **options)

    original = gradients_module.several
    plain, numbers = trained(record=False)
    monkeypatch.setattr(gradients_module, "several", broken)
    recorded, same_numbers = trained(record=True)
    assert all(torch.equal(p, q) for p, q in zip(plain, recorded, strict=True))
    assert torch.equal(numbers, same_numbers)
    run = open_run(tmp_path / "run")
    assert run.dataset["step"].values.tolist() == [0, 1]
    assert run.attrs["status"] == "interrupted"
    assert "a fault of ours" in run.attrs["failure"]
    assert "recording stopped at step 2, the training goes on: KeyError" in capsys.readouterr().err


def mistakes(net: Net, optimizer: torch.optim.Optimizer, path: Path) -> dict[str, Callable[[], Any]]:
    return {
        "class Net, not an instance": lambda: Recorder(path, Net, optimizer),  # type: ignore[arg-type]
        "optimizer is a list": lambda: Recorder(path, net, [net]),  # type: ignore[list-item]
        "every=0 records nothing": lambda: Recorder(path, net, optimizer, every=0),
        "is no size": lambda: Recorder(path, net, optimizer, budget="lots"),
        "attribution 'best' is unknown": lambda: Recorder(path, net, optimizer, attribution="best"),
        "contradict each other": lambda: Recorder(path, net, optimizer, overwrite=True, resume=True),
    }


@pytest.mark.parametrize("words", list(mistakes(Net(), torch.optim.SGD([torch.zeros(1)], lr=1), Path())))
def test_mistakes_are_named_at_once(words: str, tmp_path: Path) -> None:
    net = Net()
    mistake = mistakes(net, torch.optim.SGD(net.parameters(), lr=0.1), tmp_path / "run")[words]
    with pytest.raises(BadOption, match=words):
        mistake()
    assert not (tmp_path / "run").exists()


def test_observe_takes_a_mapping_of_tensors(tmp_path: Path) -> None:
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with (
        Recorder(tmp_path / "run", net, optimizer) as recorder,
        pytest.raises(TypeError, match="mapping of task names"),
    ):
        recorder.observe({"a": 1.0})  # type: ignore[dict-item]


def test_a_budget_is_kept_by_recording_more_rarely(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = Net()
    optimizer = torch.optim.RMSprop(net.parameters(), lr=0.001)
    with Recorder(tmp_path / "run", net, optimizer, budget="1MB", exact=True):
        train(net, optimizer, 700)
    size = sum(f.stat().st_size for f in (tmp_path / "run").rglob("*") if f.is_file())
    assert size <= 1_000_000
    steps = open_run(tmp_path / "run").dataset["step"].values
    gaps = np.diff(steps)
    assert gaps[0] == 1
    assert gaps[-1] > 1, "stretched"
    assert steps[-1] > 600, "and going on to the end"
    assert "half of the budget" in capsys.readouterr().err


def test_a_resumed_run_goes_on_at_the_step_it_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", net, optimizer, quiet=True, attrs={"method": "none"}) as recorder:
        train(net, optimizer, 2)
        recorder.log_metrics(error=1.0)
        train(net, optimizer, 3)
        recorder.log_metrics(error=2.0)
    with Recorder(tmp_path / "run", net, optimizer, resume=True, first_step=3, quiet=True) as recorder:
        train(net, optimizer, 4)
        recorder.log_metrics(error=3.0)
    run = open_run(tmp_path / "run")
    assert run.dataset["step"].values.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert dominance.au(run, decay=0.9).attrs["left_out_superseded"] == 0
    assert run["metric/value"].values.tolist() == [1.0, 3.0], "the event of step 4 went with its step"
    assert run.attrs["method"] == "none"
    assert capfd.readouterr().err == ""


def test_an_interrupt_is_no_failure(tmp_path: Path) -> None:
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

    def stopped() -> None:
        with Recorder(tmp_path / "run", net, optimizer):
            train(net, optimizer, 2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert open_run(tmp_path / "run").attrs["ended"] == "interrupted"
