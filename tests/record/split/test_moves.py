"""What moved a parameter, told apart by when its gradient was touched."""

from __future__ import annotations

import torch
from torch import Tensor

from dominance.record.split.moves import Moves

torch.set_num_threads(1)


def leaf(*values: float) -> Tensor:
    p = torch.tensor(values, dtype=torch.float32, requires_grad=True)
    p.grad = torch.ones(len(values))
    return p


def watching(*tensors: Tensor) -> Moves:
    moves = Moves()
    moves.begin((p, p.detach().clone()) for p in tensors)
    return moves


def told(moves: Moves, p: Tensor) -> list[tuple[list[float], list[float] | None]]:
    """By how much each move went, and the gradient then."""
    each = moves.watched[p].moves
    return [((m.after - m.before).tolist(), None if m.fed is None else m.fed.tolist()) for m in each]


def test_a_move_ends_where_the_next_parameter_is_touched() -> None:
    p, q = leaf(1, 2), leaf(5)
    moves = watching(p, q)
    moves.touched(p)
    p.data -= 0.5
    moves.touched(q)
    p.data += 2
    assert moves.look()
    assert told(moves, p) == [([-0.5, -0.5], [1, 1]), ([2, 2], [1, 1])]
    assert told(moves, q) == []


def test_a_gradient_that_was_changed_before_the_move() -> None:
    p = leaf(1, 2)
    moves = watching(p)
    moves.touched(p)
    p.grad = p.grad * 4  # type: ignore[operator]
    moves.touched(p)
    p.data -= 1
    moves.touched(p)
    p.grad = None
    assert told(moves, p) == [([-1, -1], [4, 4])]


def test_moved_when_the_gradient_was_gone() -> None:
    p = leaf(1, 2)
    moves = watching(p)
    moves.touched(p)
    p.grad = None
    p.data -= 1
    assert moves.look()
    assert told(moves, p) == [([-1, -1], None)]


def test_moved_and_put_back() -> None:
    p = leaf(1, 2)
    moves = watching(p)
    p.data += 1
    moves.touched(p)
    p.data -= 1
    assert not moves.look()


def test_the_gradient_of_a_parameter_that_stays() -> None:
    p, q = leaf(1, 2), leaf(*range(5000))
    moves = watching(p, q)
    for each in (p, q):
        moves.touched(each)
        each.grad.zero_()  # type: ignore[union-attr]
    assert not moves.look()
    assert moves.watched[p].unused is not None, "a small one is copied"
    assert moves.watched[p].unused.tolist() == [1, 1]
    assert moves.watched[q].unused is None, "of a large one nobody knows any more"


def test_many_moves_are_added_up_and_none_is_lost() -> None:
    p = leaf(0)
    moves = watching(p)
    for _ in range(20):
        p.data += 1
        moves.touched(p)
    found = told(moves, p)
    assert len(found) < 10
    assert sum(by for (by,), _ in found) == 20
