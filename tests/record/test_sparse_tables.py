"""Tables whose gradients are sparse: each recorded step against gradients and steps taken by hand, of all rows."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Optimizer, SparseAdam

from dominance import au
from dominance.record.recorder import Recorder
from dominance.store.reader import open_run

torch.set_num_threads(1)
# Adagrad and SparseAdam have torch say it themselves, in a training that nobody records as well.
pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks")
ROWS, WIDTH, STEPS = 4000, 3, 7
TASKS = ("click", "buy")


class Net(nn.Module):
    """Some rows are of both tasks, some of one alone."""

    def __init__(self, max_norm: float | None = None) -> None:
        super().__init__()
        self.table = nn.Embedding(ROWS, WIDTH, sparse=True, max_norm=max_norm)
        self.click = nn.Linear(WIDTH, 1)
        self.buy = nn.Linear(WIDTH, 1)

    def losses(self, items: Tensor) -> tuple[Tensor, Tensor]:
        z = self.table(items).sum(1).tanh()
        return self.click(z[:12]).square().mean(), (self.buy(z[6:]) - 2).square().mean()


def batches() -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(3)
    for _ in range(STEPS):
        yield torch.randint(40, (16, 3), generator=generator) * 97


Note = Callable[[Tensor, Tensor], None]
Script = Callable[[Net, list[Optimizer], Note], None]


def step_on(
    net: Net, optimizers: list[Optimizer], note: Note, items: Tensor, between: Callable[[], object] = lambda: None
) -> None:
    """A step of each optimizer by the sum of a batch's losses; what is called ``between`` backward() and the steps."""
    click, buy = net.losses(items)
    note(click, buy)
    for optimizer in optimizers:
        optimizer.zero_grad()
    (click + buy).backward()
    between()
    for optimizer in optimizers:
        optimizer.step()


def plain(net: Net, optimizers: list[Optimizer], note: Note) -> None:
    for items in batches():
        step_on(net, optimizers, note, items)


def accumulated(net: Net, optimizers: list[Optimizer], note: Note) -> None:
    """Two batches a step, which touch rows of their own, and gradients that are zeroed in place."""
    for items in batches():
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=False)
        for some in (items, items + 1):
            click, buy = net.losses(some)
            note(click / 2, buy / 2)
            ((click + buy) / 2).backward()
        for optimizer in optimizers:
            optimizer.step()


def halved(net: Net, optimizers: list[Optimizer], note: Note) -> None:
    """The script scales the gradients down, and puts others in their place."""
    for items in batches():
        click, buy = net.losses(items)
        note(click / 2, buy / 2)
        for optimizer in optimizers:
            optimizer.zero_grad()
        (click + buy).backward()
        for p in net.parameters():
            assert p.grad is not None
            p.grad = p.grad * 0.5
        for optimizer in optimizers:
            optimizer.step()


def made_dense(net: Net, optimizers: list[Optimizer], note: Note) -> None:
    """In mid-run the script hands the optimizer a dense gradient."""

    def dense() -> None:
        assert net.table.weight.grad is not None
        net.table.weight.grad = net.table.weight.grad.to_dense()

    for step, items in enumerate(batches()):
        step_on(net, optimizers, note, items, dense if step == 4 else lambda: None)


def in_a_closure(net: Net, optimizers: list[Optimizer], note: Note) -> None:
    for step, items in enumerate(batches()):
        if step < 4:
            click, buy = net.losses(items)
            note(click, buy)
            optimizers[0].zero_grad()
            (click + buy).backward()
            optimizers[0].step()
            continue

        def closure(items: Tensor = items) -> Tensor:
            click, buy = net.losses(items)
            note(click, buy)
            optimizers[0].zero_grad()
            loss = click + buy
            loss.backward()
            return loss

        optimizers[0].step(closure)  # type: ignore[arg-type]


def pulled(net: Net, optimizers: list[Optimizer], note: Note) -> None:
    """All rows are drawn towards zero after some steps, and one that no batch has is moved."""
    for step, items in enumerate(batches()):
        step_on(net, optimizers, note, items)
        if step in (2, 4):
            net.table.weight.data.mul_(0.9)


def some_without(net: Net, optimizers: list[Optimizer], note: Note) -> None:
    """A batch has no rows at all, and a hook of the script scales each gradient on its way."""
    hook = net.table.weight.register_hook(lambda gradient: gradient * 0.25)
    for step, items in enumerate(batches()):
        step_on(net, optimizers, note, items if step != 3 else items[:, :0])
    hook.remove()


def alternating(net: Net, optimizers: list[Optimizer], note: Note) -> None:
    """One task a step."""
    for step, items in enumerate(batches()):
        click, buy = net.losses(items)
        note(click * (step % 2 == 0), buy * (step % 2 == 1))
        for optimizer in optimizers:
            optimizer.zero_grad()
        if step % 2 == 0:
            click.backward()
        else:
            buy.backward()
        for optimizer in optimizers:
            optimizer.step()


def sgd(net: Net) -> list[Optimizer]:
    return [SGD(net.parameters(), 0.3)]


def adagrad(net: Net) -> list[Optimizer]:
    return [Adagrad(net.parameters(), 0.1, lr_decay=0.01)]


def sparse_adam(net: Net) -> list[Optimizer]:
    return [SparseAdam([net.table.weight], 0.05), SGD([*net.click.parameters(), *net.buy.parameters()], 0.1)]


class Truth:
    """Of the table: each task's gradient of each step, the rows that these hold, be they zero, and where it stood."""

    def __init__(self, net: Net) -> None:
        self.net, self.starts, self.gradients = net, list[Tensor](), list[list[Tensor]]()
        self.rows, self.last = list[Tensor](), torch.empty(0)

    def note(self, click: Tensor, buy: Tensor) -> None:
        weight = self.net.table.weight
        sparse = [torch.autograd.grad(loss, weight, retain_graph=True)[0].coalesce() for loss in (click, buy)]
        taken = [gradient.to_dense() for gradient in sparse]
        rows = torch.zeros(ROWS, dtype=torch.bool)
        rows[torch.cat([gradient.indices()[0] for gradient in sparse])] = True
        here = torch.cat([p.detach().flatten() for p in self.net.parameters()])
        if torch.equal(self.last, here):  # a further batch of the step
            self.gradients[-1] = [one + other for one, other in zip(self.gradients[-1], taken, strict=True)]
            self.rows[-1] |= rows
            return
        self.last = here
        self.starts.append(weight.detach().clone())
        self.gradients.append(taken)
        self.rows.append(rows)


def recorded(script: Script, made: Callable[[Net], list[Optimizer]], path: Path, **how: int) -> tuple[xr.DataTree, Net]:
    torch.manual_seed(0)
    net = Net()
    optimizers = made(net)
    with Recorder(path, net, optimizers, exact=True, **how) as recorder:  # type: ignore[arg-type]
        script(net, optimizers, lambda *_: None)
        assert recorder.failure is None
    return open_run(path), net


def by_hand(script: Script, made: Callable[[Net], list[Optimizer]]) -> tuple[Truth, Net]:
    torch.manual_seed(0)
    net = Net()
    truth = Truth(net)
    script(net, made(net), truth.note)
    truth.starts.append(net.table.weight.detach().clone())
    return truth, net


def of_table(tree: xr.DataTree, path: str) -> np.ndarray:
    values = tree[path]
    return values.values[..., values["parameter"].values == "table.weight"]


@pytest.mark.parametrize("made", [sgd, adagrad, sparse_adam])
@pytest.mark.parametrize(
    "script", [plain, accumulated, halved, made_dense, in_a_closure, pulled, some_without, alternating]
)
def test_parts_of_steps_are_those_taken_by_hand(
    script: Script, made: Callable[[Net], list[Optimizer]], tmp_path: Path
) -> None:
    if made is sparse_adam and script in (made_dense, in_a_closure):
        pytest.skip("SparseAdam takes no dense gradient, and only one of two optimizers a closure")
    truth, other = by_hand(script, made)
    tree, net = recorded(script, made, tmp_path / "run")
    for one, two in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two), "the training was changed"
    gradients, updates = (of_table(tree, path) for path in ("gradient/gradient", "update/update"))
    if script is alternating:  # what comes up later is not known of the first step
        gradients, updates = np.nan_to_num(gradients), np.nan_to_num(updates)
    assert gradients.shape == (STEPS, 2, ROWS * WIDTH)
    expected = np.stack([np.stack([g.numpy().ravel() for g in both]) for both in truth.gradients])
    np.testing.assert_allclose(gradients, expected, rtol=1e-4, atol=1e-7)
    moved = np.stack([(b - a).numpy().ravel() for a, b in zip(truth.starts, truth.starts[1:], strict=False)])
    np.testing.assert_allclose(of_table(tree, "update/total"), moved, rtol=1e-3, atol=1e-6)
    beside = sum(of_table(tree, f"update/{part}") for part in ("residual", "unattributed", "decay", "outside"))
    np.testing.assert_allclose(updates.sum(1) + beside, moved, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(updates, steps_by_hand(made, expected, truth.rows), rtol=1e-3, atol=1e-6)


def steps_by_hand(made: Callable[[Net], list[Optimizer]], gradients: np.ndarray, rows: list[Tensor]) -> np.ndarray:
    """Each task's part of each step of the table, from its own gradients and the squares of their sums."""
    squares = np.zeros_like(gradients[0, 0], np.float64)
    momentum = np.zeros_like(gradients[0], np.float64)
    found = []
    for step, each in enumerate(gradients.astype(np.float64)):
        whole = each.sum(0)
        if made is sgd:
            found.append(-0.3 * each)
        elif made is adagrad:
            squares += whole**2
            found.append(-0.1 / (1 + step * 0.01) * each / (np.sqrt(squares) + 1e-10))
        else:
            touched = np.repeat(rows[step].numpy(), WIDTH)
            momentum[:, touched] += 0.1 * (each - momentum)[:, touched]
            squares[touched] += 0.001 * (whole**2 - squares)[touched]
            scale = -0.05 * np.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
            found.append(np.where(touched, scale * momentum / (np.sqrt(squares) + 1e-8), 0))
    return np.stack(found)


@pytest.mark.parametrize("made", [sgd, adagrad, sparse_adam])
def test_what_a_sample_and_bursts_keep_is_what_is_kept_of_the_whole_table(
    made: Callable[[Net], list[Optimizer]], tmp_path: Path
) -> None:
    """A largest norm that no row comes near has all rows looked at, and changes no training."""
    trees = []
    for name, norm in (("rows", None), ("whole", 1e9)):
        torch.manual_seed(0)
        net = Net(norm)
        optimizers = made(net)
        with Recorder(tmp_path / name, net, optimizers, every=2, burst=3, budget="4MB", averages=True) as recorder:
            plain(net, optimizers, lambda *_: None)
            assert bool(recorder._watch.recording.by_rows) == (norm is None)
        trees.append(open_run(tmp_path / name))
    rows, whole = trees
    assert rows["step"].values.tolist() == whole["step"].values.tolist()
    for group in ("gradient", "update", "layer"):
        for name, values in rows[group].data_vars.items():
            if values.dtype.kind == "f":
                other = whole[group][name].values
                np.testing.assert_allclose(values.values, other, rtol=1e-4, atol=1e-8, err_msg=f"{group}/{name}")

    mine, theirs = (au(tree, exact=True)["au"].values for tree in (rows, whole))
    assert mine.shape[-1] == ROWS * WIDTH
    np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-12)


def test_a_row_that_no_batch_has_is_found_out_when_one_has_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Net()
    optimizer = SGD(net.parameters(), 0.3)
    start = net.table.weight.detach().clone()
    with Recorder(tmp_path / "run", net, optimizer, exact=True):
        for step, items in enumerate((*batches(), torch.full((16, 3), 3))):
            click, buy = net.losses(items)
            optimizer.zero_grad()
            (click + buy).backward()
            optimizer.step()
            if step == 3:
                net.table.weight.data[3] += 1
    total = of_table(open_run(tmp_path / "run"), "update/total").sum(0)
    moved = (net.table.weight.detach() - start).numpy().ravel()
    np.testing.assert_allclose(total, moved, rtol=1e-3, atol=1e-5)


def test_the_training_is_the_same_to_the_bit_when_a_gradient_is_not_finite(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Net()
    twin = copy.deepcopy(net)
    for model, record in ((net, True), (twin, False)):
        optimizers = sgd(model)
        recorder = Recorder(tmp_path / "run", model, optimizers) if record else None
        if recorder is not None:
            recorder.__enter__()
        for step, items in enumerate(batches()):
            click, buy = model.losses(items)
            optimizers[0].zero_grad()
            ((click + buy) * (float("nan") if step == 3 else 1)).backward()
            if not torch.isnan(model.click.weight.grad).any():  # type: ignore[arg-type]
                optimizers[0].step()
        if recorder is not None:
            recorder.close()
            assert recorder.failure is None
    for one, two in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, two)
