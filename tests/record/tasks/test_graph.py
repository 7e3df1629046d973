"""Autograd graphs that are written out here, and the terms, leaves and evidence of data that are in them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dominance.record.tasks.evidence import Evidence
from dominance.record.tasks.graph import (
    Edge,
    children,
    edge_of,
    head,
    leaves,
    output_size,
    private_parameters,
    saved_tensor,
    structure,
    walk,
)
from dominance.record.tasks.splitting import Splitter, Term

torch.set_num_threads(1)
X, T = torch.linspace(-1, 1, 12).reshape(6, 2), torch.ones(6, 2)
W = torch.tensor([1.0, 2.0])
IDS = torch.tensor([0, 1, 1])


def losses(count: int) -> list[Tensor]:
    """Scalar losses of one parameter."""
    p = torch.ones(2, requires_grad=True)
    return [F.mse_loss(p * X + k, T) for k in range(count)]


def per_sample(count: int) -> list[Tensor]:
    p = torch.ones(2, requires_grad=True)
    return [F.mse_loss(p * X + k, T, reduction="none") for k in range(count)]


def loss_like(edge: Edge) -> bool:
    return bool(edge[0].name().startswith("MseLoss"))


def split(root: Tensor, named: tuple[Tensor, ...] = ()) -> list[Term]:
    edges = {edge_of(tensor) for tensor in named}
    splitter = Splitter(Evidence(), lambda edge, path, above: edge in edges, loss_like)
    return splitter.terms(edge_of(root))


def prefilled(a: Tensor, b: Tensor) -> Tensor:
    held = torch.zeros(2)
    held[0] = a
    held[1] = b
    return held


APART: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sum": lambda a, b: a + b,
    "weighted": lambda a, b: 0.5 * a + b * 3,
    "difference": lambda a, b: a - b,
    "from a number": lambda a, b: 1 - a + b,
    "negative": lambda a, b: -(a + b),
    "divided": lambda a, b: (a / 3 + b) / 2,
    "divided by its own value": lambda a, b: a / a.detach() + b / b.item(),
    "plus a number": lambda a, b: a + b + 1.5,
    "stacked": lambda a, b: torch.stack([a, b]).sum(),
    "mean of a stack": lambda a, b: torch.stack([a, b]).mean(),
    "a weighted stack": lambda a, b: (torch.stack([a, b]) * W).sum(),
    "a stack at weights": lambda a, b: torch.stack([a, b]) @ W,
    "weights at a stack": lambda a, b: torch.dot(W, torch.stack([a, b])),
    "a row at a column": lambda a, b: (torch.stack([a, b])[None] @ W[:, None]).squeeze(),
    "joined": lambda a, b: torch.cat([a[None], b.reshape(1)]).sum(),
    "filled in": lambda a, b: prefilled(a, b).sum(),
    "filled in and weighted": lambda a, b: (prefilled(a, b) * W).mean(),
    "unbound": lambda a, b: sum(torch.stack([a, b]).unbind()),
    "picked": lambda a, b: torch.stack([a, b])[0] + torch.stack([b, a])[0],
    "copied": lambda a, b: a.clone() + b.double(),
    "weighted by a scaler": lambda a, b: (a + b) * torch.tensor(65536.0),
}


@pytest.mark.parametrize("name", APART)
def test_a_sum_comes_apart(name: str) -> None:
    a, b = losses(2)
    terms = split(APART[name](a, b))
    assert [term.edge for term in terms] == [edge_of(a), edge_of(b)]
    assert {term.kind for term in terms} == {"MseLossBackward0"}
    assert len({term.path for term in terms}) == 2


@pytest.mark.parametrize("name", APART)
def test_the_same_term_has_the_same_path_in_the_next_step(name: str) -> None:
    first, second = ([term.path for term in split(APART[name](*losses(2)))] for _ in range(2))
    assert first == second


WHOLE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "a product of losses": lambda a, b: a * b,
    "a quotient of losses": lambda a, b: a / b,
    "a square": lambda a, b: (a + b) ** 2,
    "a root": lambda a, b: (a + b).sqrt(),
    "a maximum": lambda a, b: torch.stack([a, b]).max(),
    "a log of a sum": lambda a, b: torch.stack([a, b]).logsumexp(0),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_no_sum_stays_whole(name: str) -> None:
    root = WHOLE[name](*losses(2))
    assert [term.edge for term in split(root)] == [edge_of(root)]
    assert split(root)[0].path == ()


def test_a_term_below_a_sum_may_be_whole() -> None:
    a, b = losses(2)
    root = a.sqrt()
    assert [term.edge for term in split(root + 2 * b)] == [edge_of(root), edge_of(b)]


def test_learned_weights() -> None:
    """exp(-s) L + s: the weight is looked through, and what is added for it is a term of its own."""
    a, b = losses(2)
    s = torch.zeros(2, requires_grad=True)
    root = torch.exp(-s[0]) * a + s[0] + b / s[1].exp()
    terms = split(root)
    assert {edge_of(a), edge_of(b)} < {term.edge for term in terms}
    assert len(terms) == 3
    assert [Evidence()(term.node) for term in terms].count(False) == 1


def test_a_term_that_enters_twice_is_listed_once() -> None:
    (a,) = losses(1)
    assert [term.edge for term in split(a + 0.5 * a)] == [edge_of(a)]


def test_losses_per_sample() -> None:
    a, b = per_sample(2)
    assert [term.edge for term in split((a + 0.5 * b).mean())] == [edge_of(a), edge_of(b)]
    alone = a.mean()
    assert [term.edge for term in split(alone)] == [edge_of(alone)], "the reduced scalar is the loss"


def test_a_sum_inside_a_network_stays_whole() -> None:
    p, q = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    root = (p * X + (q * X).tanh()).mean()
    assert [term.edge for term in split(root)] == [edge_of(root)]


def test_named_sums() -> None:
    a, b, c = losses(3)
    both = a + b
    assert [term.edge for term in split(both + c, (both,))] == [edge_of(both), edge_of(c)]
    below = split(both + c)
    assert [term.edge for term in below] == [edge_of(t) for t in (a, b, c)]
    assert [term.edge for term in split(both, (both,))] == [edge_of(a), edge_of(b)], "not at the root itself"
    stack = torch.stack([a, b])
    assert [term.edge for term in split(stack.sum() + c, (stack,))] == [edge_of(t) for t in (a, b, c)]


def test_many_terms_in_order() -> None:
    many = losses(200)
    assert [term.edge for term in split(sum(many))] == [edge_of(t) for t in many]


# Data


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


def parameter(*shape: int) -> Tensor:
    return torch.linspace(0.1, 1, int(torch.tensor(shape).prod())).reshape(shape).requires_grad_()


REGULARISERS: dict[str, Callable[[], Tensor]] = {
    "squares": lambda: 0.01 * parameter(2, 3).square().sum(),
    "norm": lambda: parameter(2, 3).norm(),
    "absolute": lambda: parameter(2, 3).abs().sum() / 7,
    "distance to a start": lambda: (parameter(2, 3) - torch.ones(2, 3)).square().sum(),
    "orthogonality": lambda: ((w := parameter(2, 2)) @ w.T - torch.eye(2)).square().sum(),
    "log variance": lambda: parameter(2)[0] / 2,
    "entropy of weights": lambda: (-(p := parameter(3).softmax(0)) * p.log()).sum(),
    "product of layers": lambda: parameter(2, 3) @ parameter(3, 2) @ parameter(2),
}
LOSSES: dict[str, Callable[[], Tensor]] = {
    "mean squared error": lambda: F.mse_loss(parameter(2), torch.ones(2)),
    "cross entropy": lambda: F.cross_entropy(parameter(3, 2), IDS),
    "linear layer": lambda: F.linear(X, parameter(3, 2), parameter(3)).square().mean(),
    "matrix product": lambda: (X @ parameter(2, 3)).abs().mean(),
    "matrix times vector": lambda: (X @ parameter(2)).abs().mean(),
    "convolution": lambda: F.conv1d(X[None], parameter(1, 6, 1)).square().mean(),
    "embedding": lambda: F.embedding(IDS, parameter(3, 2)).square().mean(),
    "index": lambda: parameter(3, 2)[IDS].square().mean(),
    "scaled inputs": lambda: (parameter(2) * X).square().mean(),
    "divided by data": lambda: (parameter(2) / (X + 3)).square().mean(),
    "where": lambda: torch.where(X > 0, parameter(2), 0.0).sum(),
    "function of the script": lambda: Doubled.apply(parameter(2)).sum(),
    "checkpointed": lambda: checkpoint(lambda p: (p * X).tanh(), parameter(2), use_reentrant=False).sum(),
    "recurrent": lambda: nn.LSTM(2, 2)(X)[0].sum(),
}


@pytest.mark.parametrize("name", REGULARISERS)
def test_a_regulariser_touches_no_data(name: str) -> None:
    assert not Evidence()(edge_of(REGULARISERS[name]())[0])


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_touches_data(name: str) -> None:
    assert Evidence()(edge_of(LOSSES[name]())[0])


def test_the_script_goes_on_after_a_look() -> None:
    for make in (*REGULARISERS.values(), *LOSSES.values()):
        loss = make()
        Evidence()(edge_of(loss)[0])
        loss.sum().backward()


# Nodes and leaves


def test_leaves_and_children() -> None:
    p, q, r = (torch.ones(2, requires_grad=True) for _ in range(3))
    loss = (p * q).sum() + (2 * p).sum()
    found = leaves([edge_of(loss)[0]])
    assert {id(x) for x in found} == {id(p), id(q)}
    assert len(found) == 2, "each once"
    assert [id(x) for x in leaves([edge_of(r)[0]])] == [id(r)]
    node = (2 * p).grad_fn
    assert children(node) == [edge_of(p)], "the number 2 needs no gradient"
    assert len(list(walk([node, node]))) == 2


def test_deep_graphs() -> None:
    x = torch.ones(1, requires_grad=True)
    y = x
    for _ in range(5000):
        y = y + 1
    assert len(list(walk([y.grad_fn]))) == 5001
    assert [term.edge for term in split(y.sum())]


def test_output_size() -> None:
    p = torch.ones(3, 4, requires_grad=True)
    assert output_size(edge_of(p * 2)) == 12
    assert output_size(edge_of(p.sum())) == 1
    assert [output_size(edge_of(part)) for part in p.split([1, 2])] == [4, 8]
    assert output_size(edge_of(p)) == 12


def test_saved_tensors() -> None:
    p = torch.ones(2, requires_grad=True)
    changed, freed, kept = p * 1, p * 1, p * 3
    squares = [t**2 for t in (changed, freed, kept)]
    with torch.no_grad():
        changed.add_(1)
    squares[1].sum().backward()
    found = [saved_tensor(square.grad_fn, "self") for square in squares]
    assert found[:2] == [None, None]
    assert found[2].tolist() == [3, 3]
    assert saved_tensor(squares[2].grad_fn, "exponent") is None, "no tensor"
    assert saved_tensor(squares[2].grad_fn, "target") is None


def test_parameters_of_a_term_of_its_own() -> None:
    """Two heads on one trunk; a head that two terms share belongs to neither."""
    trunk, a, b, both = (torch.ones(2, requires_grad=True) for _ in range(4))
    z = (trunk * X).tanh()
    shared = (z * both).tanh()
    terms = [(z * a * X).mean(), (z * b * X).mean() + shared.mean(), shared.square().mean()]
    private = private_parameters([edge_of(t)[0] for t in terms])
    assert private == [{id(a)}, {id(b)}, set()]


def test_the_same_parameters_eaten_again_are_private_to_each() -> None:
    """One net run on two samples: each term has nodes of its own."""
    w = torch.ones(2, requires_grad=True)
    terms = [edge_of((w * x).square().mean())[0] for x in X[:2]]
    assert private_parameters(terms) == [{id(w)}, {id(w)}]


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_scripted_network_is_made_from_data_also_once_it_is_one_node() -> None:
    """The same node from its second run on: nothing of what it multiplies shows any more."""
    net = torch.jit.script(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh()))
    for _ in range(3):
        assert Evidence()(net(torch.ones(4, 2)).abs().sum().grad_fn)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_the_head_below_a_scripted_trunk_is_the_same_in_every_run() -> None:
    trunk, own = torch.jit.script(nn.Sequential(nn.Linear(3, 4), nn.Tanh())), nn.Linear(4, 1)
    parameters = {id(p) for module in (trunk, own) for p in module.parameters()}
    for _ in range(3):
        loss = own(trunk(torch.randn(5, 3))).mean()
        assert head(loss.grad_fn, parameters) == {id(own.weight)}
        loss.backward()


def test_a_structure_tells_graphs_apart_by_their_kinds_their_edges_and_their_leaves() -> None:
    p, q = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)

    def told(loss: Tensor) -> list[object]:
        found = structure([loss.grad_fn], type)
        assert found is not None
        assert found.nodes[0] is loss.grad_fn
        assert found.places == {node: place for place, node in enumerate(found.nodes)}
        assert set(found.nodes) == set(walk([loss.grad_fn]))
        return found.told

    first = told((p * X).sum() + (q * X).mean())
    assert told((p * X).sum() + (q * X).mean()) == first
    other = [
        (q * X).sum() + (p * X).mean(),  # the leaves change places
        (p * X).sum() + (p * X).mean(),
        (p * X).mean() + (q * X).sum(),
        (p * X).sum() + (q + X).mean(),
        (p * X).sum(),
    ]
    assert all(told(each) != first for each in other)
    halves = p.split(1)
    assert told(halves[0].sum() + halves[0].sum()) != told(halves[0].sum() + halves[1].sum())


def test_a_node_without_a_mark_leaves_no_structure() -> None:
    loss = (torch.ones(2, requires_grad=True) * X).sum()
    assert structure([loss.grad_fn], lambda node: None if "Mul" in node.name() else node.name()) is None
