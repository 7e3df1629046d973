"""The engine: what comes into .grad, by way of the parameters' gradients or the representation's."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from optim.architectures import ARCHITECTURES, TASKS, mlp, own_inputs
from torch import Tensor, nn

from dominance.optim import UW, GridSearch, PCGrad, task_gradients
from dominance.optim.engine.combiner import Combiner, Weighting
from dominance.optim.engine.gradients import accumulate
from dominance.optim.engine.loss_weighting import LossWeighting
from dominance.optim.engine.task_gradients import Matrix

FACTORS = np.array([0.5, 2.0, 1.0, 0.1, 3.0])


class Fixed(Weighting):
    """The same weights in each step, for heads too."""

    heads = "weighted"

    def weights(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        return np.array([FACTORS[TASKS.index(task)] for task in tasks])


class FixedLosses(LossWeighting):
    """The same, without task gradients."""

    def loss_weights(self, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        return np.array([FACTORS[TASKS.index(task)] for task in tasks])


class Inverse(Weighting):
    """One over the squared norm; keeps the Gram matrix."""

    def weights(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        self.gram = gram
        return 1 / np.diagonal(gram)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def plainly(losses: dict[str, Tensor], parameters: Sequence[Tensor]) -> list[Tensor | None]:
    total = torch.stack([float(FACTORS[TASKS.index(task)]) * loss for task, loss in losses.items()]).sum()
    return list(torch.autograd.grad(total, parameters, retain_graph=True, allow_unused=True))


def compare(parameters: Sequence[Tensor], expected: list[Tensor | None]) -> None:
    for p, truth in zip(parameters, expected, strict=True):
        assert (p.grad is None) == (truth is None)
        if p.grad is not None and truth is not None:
            torch.testing.assert_close(p.grad, truth, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("combiner", [Fixed, FixedLosses])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_fixed_weights_give_the_gradient_of_the_weighted_sum(name: str, combiner: type[Combiner]) -> None:
    model, losses = ARCHITECTURES[name]()
    parameters = [p for p in model.parameters() if p.requires_grad]
    made = losses()
    expected = plainly(made, parameters)
    combiner().backward(made, model)
    compare(parameters, expected)


def test_by_way_of_the_representation_fixed_weights_give_the_same() -> None:
    trunk, heads = nn.Sequential(nn.Linear(6, 8), nn.Tanh()), [nn.Linear(8, 1) for _ in TASKS]
    parameters = [*trunk.parameters(), *(p for head in heads for p in head.parameters())]
    z = trunk(torch.randn(7, 6))
    losses = {task: head(z).square().mean() for task, head in zip(TASKS, heads, strict=True)}
    expected = plainly(losses, parameters)
    Fixed().backward(losses, parameters, representation=z)
    compare(parameters, expected)
    with pytest.raises(RuntimeError, match="second time"):
        losses["a"].backward()


def test_the_representation_s_gradients_make_the_gram_matrix() -> None:
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    z = 10 * w
    combiner = Inverse()
    combiner.backward({"a": 2 * z[0], "b": z.sum()}, [w], representation=z)
    np.testing.assert_allclose(combiner.gram, [[4, 2], [2, 2]])
    assert w.grad is not None
    np.testing.assert_allclose(w.grad, [10 * (2 / 4 + 1 / 2), 10 / 2])


def test_each_task_may_have_its_own_inputs_and_representation() -> None:
    model, _ = own_inputs()
    trunk, heads = model["trunk"], model["heads"]  # type: ignore[index]
    z = {task: trunk(torch.randn(5, 6)) for task in TASKS}
    losses = {task: heads[task](z[task]).square().mean() for task in TASKS}
    parameters = list(model.parameters())
    expected = plainly(losses, parameters)
    Fixed().backward(losses, parameters, representation=z)
    compare(parameters, expected)


def test_micro_batches_add_up() -> None:
    model, _ = mlp()
    trunk, heads = model["trunk"], model["heads"]  # type: ignore[index]
    x, combiner = torch.randn(8, 6), Fixed()
    parameters = list(model.parameters())

    def losses(x: Tensor) -> dict[str, Tensor]:
        return {task: heads[task](trunk(x)).square().mean() for task in TASKS}

    expected = plainly(losses(x), parameters)
    for part in x.split(4):
        combiner.backward({task: loss / 2 for task, loss in losses(part).items()}, parameters)
    compare(parameters, expected)


def test_an_absent_task_adds_nothing() -> None:
    model, losses = mlp()
    made = losses()
    parameters = list(model.parameters())
    without = {task: loss for task, loss in made.items() if task != "c"}
    expected = plainly(without, parameters)
    Fixed().backward(made | {"c": None}, parameters)
    compare(parameters, expected)


def test_one_task_s_parameters_are_fed_its_plain_gradient_unless_the_method_says_otherwise() -> None:
    class Plain(Fixed):
        heads = "plain"  # type: ignore[assignment]

    for combiner, factor in ((Plain(), 1.0), (Fixed(), 2.0)):
        w, head = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
        combiner.backward({"a": w.sum(), "b": (w * 3 * head).sum()}, [w, head])
        assert w.grad is not None
        assert head.grad is not None
        assert (w.grad.item(), head.grad.item()) == (0.5 + 2 * 3, 3 * factor)


def test_what_is_not_finite_is_named() -> None:
    w = torch.zeros(1, requires_grad=True)
    with pytest.raises(FloatingPointError, match="loss of b is not"):
        Fixed().backward({"a": w.sum(), "b": (w + torch.nan).sum()}, [w])
    with pytest.raises(FloatingPointError, match="gradient of b is not"):
        Fixed().backward({"a": w.sum(), "b": w.sqrt().sum()}, [w])


def test_what_is_not_finite_leaves_grad_alone() -> None:
    w, head = torch.ones(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    with pytest.raises(FloatingPointError, match="combined gradient"):
        Fixed().backward({"a": w.sum(), "b": w.sum() + head.sqrt().sum()}, [w, head])
    with pytest.raises(FloatingPointError, match="loss of b"):
        FixedLosses().backward({"a": w.sum(), "b": (w + torch.nan).sum()}, [w])
    assert w.grad is None
    assert head.grad is None


def test_a_loss_weighting_may_be_called_where_no_gradients_are_recorded() -> None:
    w = torch.ones(1, requires_grad=True)
    losses: dict[str, Tensor | None] = {"a": w.sum(), "b": w.sum()}
    with torch.no_grad():
        for combiner in (FixedLosses(), UW(["a", "b"], initial=-np.log(2.0))):
            combiner.backward({task: None if loss is None else loss for task, loss in losses.items()}, [w])
            losses = _again(w)
    assert w.grad is not None
    assert w.grad.item() == pytest.approx(2.5 + 2 * 2 * 0.5)


@torch.enable_grad()  # type: ignore[untyped-decorator]
def _again(w: Tensor) -> dict[str, Tensor | None]:
    return {"a": w.sum(), "b": w.sum()}


def test_a_weight_of_zero_gives_zeros_for_moments_to_go_on() -> None:
    class Nothing(Fixed):
        def weights(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
            return np.zeros(len(tasks))

    w, head = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    Nothing().backward({"a": w.sum(), "b": (w * head).sum()}, [w, head])
    assert (w.grad, head.grad) == (torch.zeros(1), torch.zeros(1))


def test_sharing_goes_on_after_a_restart_whatever_is_frozen_meanwhile() -> None:
    model, losses = mlp()
    combiner, again = PCGrad(), PCGrad()
    first = next(model.parameters()).requires_grad_(False)
    combiner.backward(losses(), model)
    again.load_state_dict(combiner.state_dict())
    first.requires_grad_()
    for p in list(model.parameters())[2:4]:
        p.requires_grad_(False)
    grads = []
    for one in (combiner, copy.deepcopy(combiner), again, pickle.loads(pickle.dumps(again))):
        model.zero_grad()
        one.backward({"a": losses()["a"]}, model)
        grads.append(one.state_dict()["reach"])
    assert grads == [grads[0]] * 4
    again.load_state_dict(combiner.state_dict())
    with pytest.raises(ValueError, match="parameters, and 1 are given"):
        again.backward({"a": losses()["a"]}, [first])


def test_no_parameters_is_an_error_and_a_used_generator_is_explained() -> None:
    model, losses = mlp()
    generator = model.parameters()
    Fixed().backward(losses(), generator)
    for combiner in (Fixed(), FixedLosses()):
        with pytest.raises(ValueError, match="used up"):
            combiner.backward(losses(), generator)


def test_accumulated_gradients_are_copies_in_the_parameter_s_layout() -> None:
    w, v = torch.zeros(2, 3, requires_grad=True), torch.zeros(2, 3, requires_grad=True)
    lent = torch.arange(6.0).reshape(3, 2).t()
    accumulate([w, v], [lent, None])
    assert w.grad is not None
    assert v.grad is None
    assert w.grad.stride() == w.stride()
    accumulate([w, v], [lent, lent])
    np.testing.assert_array_equal(w.grad, 2 * lent)
    assert v.grad is not None
    u, like_u = torch.zeros(3, 2, requires_grad=True), torch.ones(3, 2)
    accumulate([u], [like_u])
    for p in (u, v):
        assert p.grad is not None
        p.grad.zero_()
    assert lent.sum() == 15
    assert like_u.sum() == 6


def test_the_state_names_what_it_is_of() -> None:
    combiner = Fixed()
    with pytest.raises(ValueError, match="another method"):
        combiner.load_state_dict({"momentum": 1})
    combiner.load_state_dict(combiner.state_dict())


def test_representations_of_different_sizes_have_no_gram_matrix() -> None:
    trunk, heads = nn.Linear(3, 4), {"a": nn.Linear(4, 1), "b": nn.Linear(4, 1)}
    points = {"a": trunk(torch.ones(2, 3)), "b": trunk(torch.ones(5, 3))}
    losses = {task: heads[task](z).square().mean() for task, z in points.items()}
    with pytest.raises(ValueError, match=r"a \(2, 4\), b \(5, 4\); give batches of one size"):
        PCGrad().backward(losses, trunk.parameters(), representation=points)


def test_a_loss_weighting_combines_without_a_gram_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    gradients = task_gradients({"a": w.sum(), "b": w.square().sum()}, [w])
    monkeypatch.setattr(type(gradients), "gram", lambda self: pytest.fail("not needed"))
    rows = GridSearch({"a": 2.0, "b": 0.5}).combine(gradients).rows
    assert [row[0].tolist() for row in rows if row[0] is not None] == [[2.0, 2.0], [1.0, 2.0]]
