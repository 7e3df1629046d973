"""``record --columns``: the columns of what a module puts out are tasks, and the script is not changed."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from record.in_session import in_session
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from dominance.config import RecordOptions, parse_columns, record_options
from dominance.errors import BadOption
from dominance.store.reader import open_run

torch.set_num_threads(1)


class Net(nn.Module):
    """A trunk, and a head of three columns."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Linear(4, 6)
        self.heads = nn.ModuleDict({"logits": nn.Linear(6, 3)})

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.heads["logits"](self.trunk(x).tanh())
        return out


def batches(count: int = 3) -> list[tuple[Tensor, Tensor]]:
    made = torch.Generator().manual_seed(1)
    return [(torch.randn(8, 4, generator=made), torch.rand(8, 3, generator=made).round()) for _ in range(count)]


def train(net: nn.Module, loss_of: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None) -> list[Tensor]:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for x, y in batches():
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(net(x), y) if loss_of is None else loss_of(net, x, y)
        loss.backward()
        optimizer.step()
    return list(net.parameters())


def recorded(path: Path, program: Callable[[], object], *columns: str, strict: bool = False) -> None:
    options = RecordOptions(every=1, columns=columns, exact=True, strict=strict)
    with in_session(path, options, ["train.py", "--lr", "1"]):
        program()


def by_hand(loss_of: Callable[[Tensor, Tensor], Tensor]) -> np.ndarray:
    """(column, parameter) the first step's gradients, with all but one column cut off."""
    rows = []
    (x, y), *_ = batches()
    for column in range(3):
        net = Net()
        out = net(x)
        loss_of(torch.where(torch.arange(3) == column, out, out.detach()), y).backward()
        rows.append(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]).numpy())
    return np.array(rows)


def test_each_column_is_a_task_from_the_first_step_on(tmp_path: Path) -> None:
    recorded(tmp_path / "run", lambda: train(Net()), "heads.logits=rain,wind,hail")
    run = open_run(tmp_path / "run")
    assert run.attrs["tasks"] == ["rain", "wind", "hail"]
    assert run["step"].values.tolist() == [0, 1, 2]
    np.testing.assert_allclose(
        run["gradient/gradient"].values[0], by_hand(F.binary_cross_entropy_with_logits), atol=1e-7
    )


def test_missing_labels(tmp_path: Path) -> None:
    """Of entries without a label there is no gradient, whatever else their row holds."""

    def masked(out: Tensor, y: Tensor) -> Tensor:
        known = torch.ones_like(y)
        known[::2, 1] = 0
        return (F.mse_loss(out, y, reduction="none") * known).sum() / known.sum()

    recorded(tmp_path / "run", lambda: train(Net(), lambda net, x, y: masked(net(x), y)), "heads.logits")
    run = open_run(tmp_path / "run")
    assert run.attrs["tasks"] == ["heads.logits.0", "heads.logits.1", "heads.logits.2"]
    np.testing.assert_allclose(run["gradient/gradient"].values[0], by_hand(masked), atol=1e-7)


def test_a_network_that_is_called_twice_for_one_loss(tmp_path: Path) -> None:
    def twice(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(net(x), y) + F.mse_loss(net(-x), y)

    recorded(tmp_path / "run", lambda: train(Net(), twice), "heads.logits=a,b,c")
    run = open_run(tmp_path / "run")
    total = run["gradient/total"].values
    np.testing.assert_allclose(run["gradient/gradient"].values.sum(axis=1), total, atol=1e-6)
    np.testing.assert_allclose(run["loss/loss"].values.sum(axis=1), run["loss/total"].values, rtol=1e-6)


def test_a_module_that_is_called_by_the_variable_of_its_model(tmp_path: Path) -> None:
    """The model itself is never called, its parts are."""

    def by_parts() -> None:
        model = Net()
        train(model, lambda net, x, y: F.mse_loss(model.heads["logits"](model.trunk(x)), y))

    recorded(tmp_path / "run", by_parts, "model.heads.logits=a,b,c")
    assert open_run(tmp_path / "run").attrs["tasks"] == ["a", "b", "c"]


def test_each_model_of_a_process_has_its_columns(tmp_path: Path) -> None:
    recorded(tmp_path / "run", lambda: [train(Net()), train(Net())], "heads.logits=a,b,c")
    tasks = [open_run(tmp_path / name).attrs["tasks"] for name in ("run", "run-2")]
    assert tasks == [["a", "b", "c"]] * 2


def test_the_training_is_the_same_to_the_bit(tmp_path: Path) -> None:
    plain, nets = train(Net()), [Net()]
    recorded(tmp_path / "run", lambda: train(nets[0]), "heads.logits")
    assert all(torch.equal(a, b) for a, b in zip(plain, nets[0].parameters(), strict=True))


def test_copies_and_saved_models_hold_nothing_of_ours(tmp_path: Path) -> None:
    seen: list[object] = []

    def program() -> None:
        net = Net()
        train(net)
        seen.append(pickle.dumps(copy.deepcopy(net)))

    recorded(tmp_path / "run", program, "heads.logits")
    assert b"dominance" not in seen[0]  # type: ignore[operator]
    assert not torch_module._global_forward_hooks
    assert not torch_module._global_forward_pre_hooks


def test_outputs_that_lead_to_no_backward_are_let_go(tmp_path: Path) -> None:
    """An evaluation that forgot ``no_grad`` does not fill the memory."""
    alive: list[int] = []

    def program() -> None:
        net = Net()
        train(net)
        import gc
        import weakref

        outputs = [weakref.ref(net(torch.randn(8, 4))) for _ in range(40)]
        gc.collect()
        alive.append(sum(output() is not None for output in outputs))

    recorded(tmp_path / "run", program, "heads.logits")
    assert alive[0] <= 8


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("heads.logit", "--columns heads.logit: no such module was called; did you mean heads.logits"),
        ("heads.logits=a,b", "--columns heads.logits: 2 names for the 3 columns of its output"),
    ],
)
def test_what_is_not_there_is_said_and_strict_stops(
    tmp_path: Path, asked: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        recorded(tmp_path / "run", lambda: train(Net()), asked, strict=True)
    assert said in capfd.readouterr().err


def test_the_line_that_takes_the_columns_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    recorded(tmp_path / "run", lambda: train(Net()))
    said = capfd.readouterr().err.splitlines()[0]
    assert said.endswith("take the 3 columns of its output: dominance record --columns heads.logits train.py --lr 1")


def test_a_compiled_model_is_compiled_as_without_us(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What is inside is not seen, which is said; the whole can be named."""
    counts: list[int] = []

    def compiled() -> None:
        graphs: list[object] = []

        def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
            graphs.append(graph)
            return graph.forward

        torch._dynamo.reset()
        train(torch.compile(Net(), backend=backend))
        counts.append(len(graphs))

    compiled()
    recorded(tmp_path / "inside", compiled, "heads.logits")
    assert "no forward of it outside compiled code was seen" in capfd.readouterr().err
    recorded(tmp_path / "whole", lambda: (model := torch.compile(Net(), backend="eager"), train(model)), "net=a,b,c")
    assert open_run(tmp_path / "whole").attrs["tasks"] == ["a", "b", "c"]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("text", ["", "=a,b", "head=a,a", "head=a,"])
def test_what_cannot_be_read(text: str) -> None:
    with pytest.raises(BadOption, match="cannot be read"):
        parse_columns(text)


def test_from_the_environment(tmp_path: Path) -> None:
    found = record_options({}, environ={"DOMINANCE_COLUMNS": "heads.a=x,y; heads.b"}, folder=tmp_path)
    assert found.columns == ("heads.a=x,y", "heads.b")
