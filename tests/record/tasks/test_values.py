"""Values of losses whose tensors are gone, against the losses themselves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dominance.record.tasks.values import _RULES, term_value

REDUCTIONS = ["none", "mean", "sum"]
Loss = Callable[[Tensor], Tensor]


def inputs() -> Tensor:
    """Outputs of a network, (6, 3); not a leaf, as in a network."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 3, generator=generator).requires_grad_() * 1.5


GENERATOR = torch.Generator().manual_seed(1)
TARGET = torch.randn(6, 3, generator=GENERATOR)
CLASSES = torch.tensor([0, 2, 1, -100, 2, 0])
MAP_CLASSES = torch.tensor([[[0, 2], [1, 7]], [[1, 1], [0, 2]], [[2, 2], [7, 0]]])
HALF = (TARGET > 0).float()
WEIGHT = torch.tensor([1.0, 0.2, 3.0])


def nll_2d(z: Tensor, reduction: str) -> Tensor:
    maps = z.T.reshape(3, 3, 2, 1).expand(3, 3, 2, 2)
    return F.nll_loss(maps.log_softmax(1), MAP_CLASSES, WEIGHT, ignore_index=7, reduction=reduction)


REDUCED: dict[str, Callable[[Tensor, str], Tensor]] = {
    "mse": lambda z, r: F.mse_loss(z, TARGET, reduction=r),
    "l1": lambda z, r: F.l1_loss(z, TARGET, reduction=r),
    "smooth l1": lambda z, r: F.smooth_l1_loss(z, TARGET, beta=0.3, reduction=r),
    "smooth l1, beta 0": lambda z, r: F.smooth_l1_loss(z, TARGET, beta=0.0, reduction=r),
    "huber": lambda z, r: F.huber_loss(z, TARGET, delta=0.4, reduction=r),
    "soft margin": lambda z, r: F.soft_margin_loss(z, TARGET.sign(), reduction=r),
    "cross entropy": lambda z, r: F.cross_entropy(z, CLASSES, reduction=r),
    "cross entropy, class weights": lambda z, r: F.cross_entropy(z, CLASSES, WEIGHT, reduction=r),
    "cross entropy, ignored class": lambda z, r: F.cross_entropy(z, CLASSES.abs() % 3, ignore_index=2, reduction=r),
    "nll of maps": nll_2d,
    "bce": lambda z, r: F.binary_cross_entropy(z.sigmoid(), HALF, reduction=r),
    "bce, weights": lambda z, r: F.binary_cross_entropy(z.sigmoid(), HALF, WEIGHT, reduction=r),
    "bce of logits": lambda z, r: F.binary_cross_entropy_with_logits(z, HALF, reduction=r),
    "bce of logits, weights": lambda z, r: F.binary_cross_entropy_with_logits(
        z, HALF, WEIGHT, pos_weight=WEIGHT + 1, reduction=r
    ),
}

WRITTEN: dict[str, Loss] = {
    "mean of square": lambda z: ((z - TARGET) ** 2).mean(),
    "mean of cube": lambda z: ((z - TARGET) ** 3).mean(),
    "mean of root": lambda z: (z.abs() ** 0.5).mean(),
    "sum of abs": lambda z: (z - TARGET).abs().sum(),
    "mean of product": lambda z: (z * z.sin()).mean(),
    "half square": lambda z: (0.5 * z**2).mean(),
    "square halved": lambda z: (z**2 * 0.5).mean(),
    "of a minimum of rows": lambda z: (z**2).sum(1).mean(),
    "last dim": lambda z: (z**2).mean(-1),
    "negative dims, kept": lambda z: (z**2).sum((-1, -2), keepdim=True),
    "divided by a count": lambda z: (z - TARGET).abs().sum() / 5,
    "divided by a tensor": lambda z: (z**2).sum() / CLASSES.abs().sum(),
    "quotient": lambda z: (z**2).sum() / (z.abs().sum() + 0.0 * z.sum()).exp(),
    "log": lambda z: z.abs().log().mean(),
    "log1p": lambda z: z.abs().log1p().mean(),
    "softplus": lambda z: F.softplus(-z * TARGET.sign()).mean(),
    "steep softplus": lambda z: F.softplus(z, beta=3, threshold=2).mean(),
    "log of a sigmoid": lambda z: -F.logsigmoid(z * TARGET.sign()).mean(),
    "bounded": lambda z: (z - TARGET).square().clamp(max=0.5).mean(),
    "bounded on both sides": lambda z: z.clamp(-0.2, 0.5).sum(),
    "minus": lambda z: -(z**2).mean(),
    "sum of two": lambda z: (z**2).mean() + 2 * z.abs().sum(),
    "scaled sum": lambda z: torch.add((z**2).mean(), z.abs().sum(), alpha=3),
    "scaled difference": lambda z: torch.sub((z**2).mean(), z.abs().sum(), alpha=3),
    "root mean square": lambda z: F.mse_loss(z, TARGET).sqrt(),
    "squeezed": lambda z: (z**2).mean((0, 1), keepdim=True).squeeze(),
    "viewed as a scalar": lambda z: (z[0, :1] ** 2).view(()),
    "viewed as a vector": lambda z: (z**2).mean().view(1),
    "cloned": lambda z: (z**2).mean().clone(),
    "likelihood by index": lambda z: -z.log_softmax(1).gather(1, CLASSES.abs()[:, None] % 3).mean(),
    "likelihood of the last class": lambda z: -z.log_softmax(1)[:, -1].mean(),
    "with a dimension more": lambda z: (z**2).mean().unsqueeze(0),
    "without a dimension of one": lambda z: (z**2).mean(0, keepdim=True).squeeze(0),
    "in double": lambda z: (z**2).mean().double(),
}

LOSSES: dict[str, Loss] = WRITTEN | {
    f"{name}, {reduction}": lambda z, loss=loss, r=reduction: loss(z, r)
    for name, loss in REDUCED.items()
    for reduction in REDUCTIONS
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_value_of_a_loss(name: str) -> None:
    loss = LOSSES[name](inputs())
    want, node = loss.detach().clone(), loss.grad_fn
    del loss
    value = term_value(node)
    assert value is not None
    assert value.shape == want.shape
    assert not value.requires_grad
    torch.testing.assert_close(value, want, check_dtype=False)


def test_every_rule_is_tested() -> None:
    used = set()
    for loss in LOSSES.values():
        stack = [loss(inputs()).grad_fn]
        while stack:
            node = stack.pop()
            used.add(node.name())
            stack += [child for child, _ in node.next_functions if child is not None]
    assert set(_RULES) - used == set()


@pytest.mark.parametrize(
    "loss",
    [
        lambda z: (F.relu(z) + 0.1).mean(),
        lambda z: torch.cat([z, z]).sum(),
        lambda z: z.mean() + 1,
    ],
)
def test_not_known(loss: Loss) -> None:
    assert term_value(loss(inputs()).grad_fn) is None


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x.sum()

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def test_not_known_of_a_function_of_the_script() -> None:
    assert term_value(Doubled.apply(inputs()).grad_fn) is None


@pytest.mark.parametrize("name", ["mse, mean", "cross entropy, class weights, mean", "mean of square", "half square"])
def test_not_known_after_the_graph_was_freed(name: str) -> None:
    loss = LOSSES[name](inputs())
    loss.backward()
    assert term_value(loss.grad_fn) is None


def changed_output() -> Tensor:
    z = inputs()
    loss = F.mse_loss(z, TARGET)
    with torch.no_grad():
        z.add_(1)
    return loss


def changed_target() -> Tensor:
    target = TARGET.clone()
    loss = F.mse_loss(inputs(), target)
    target.add_(1)
    return loss


def changed_class_weights() -> Tensor:
    weight = WEIGHT.clone()
    loss = F.cross_entropy(inputs(), CLASSES, weight)
    weight.add_(1)
    return loss


def changed_positive_weights() -> Tensor:
    weight = WEIGHT.clone()
    loss = F.binary_cross_entropy_with_logits(inputs(), HALF, pos_weight=weight)
    weight.add_(1)
    return loss


@pytest.mark.parametrize("loss", [changed_output, changed_target, changed_class_weights, changed_positive_weights])
def test_not_known_after_a_change_in_place(loss: Callable[[], Tensor]) -> None:
    assert term_value(loss().grad_fn) is None


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_is_changed(name: str) -> None:
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(2)).requires_grad_()
    loss = LOSSES[name](x * 2)
    want = torch.autograd.grad(loss.sum(), x, retain_graph=True)[0]
    random = torch.get_rng_state()
    versions = [t._version for t in (x, TARGET, CLASSES, HALF, WEIGHT)]
    term_value(loss.grad_fn)
    assert x.grad is None
    assert versions == [t._version for t in (x, TARGET, CLASSES, HALF, WEIGHT)]
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.equal(torch.autograd.grad(loss.sum(), x)[0], want)
