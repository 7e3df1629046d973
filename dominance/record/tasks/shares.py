"""Tasks as shares of the gradient through one tensor: its columns, groups of examples or tokens, classes, parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

Shares = Mapping[str, Tensor]
"""Task name -> its share of each entry of the tensor, of a shape that broadcasts to the tensor's."""
TaskNames = Sequence[str] | Mapping[Any, str]

_OFF = 1e-4
"""How far the shares of an entry may add up to something else than 1, relative to the largest of them: rounding."""


class Counted(dict[str, Tensor]):
    """Shares of groups, which also know how many each group has.

    Attributes:
        counts: group -> how many.
        unit: of what: "examples", or "tokens" where ids are finer than the batch.
    """

    def __init__(self, shares: Mapping[str, Tensor], counts: Mapping[str, int], unit: str) -> None:
        super().__init__(shares)
        self.counts = dict(counts)
        self.unit = unit


MakesShares = Callable[[Tensor], Shares]


@dataclass(frozen=True)
class Groups:
    """Which group each example, or each token, belongs to.

    Attributes:
        codes: the number of its group, from 0 on; -1 for none.
        names: of the groups.
    """

    codes: Tensor
    names: list[str]
    counts: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        held = self.codes[self.codes >= 0].flatten()
        found = torch.bincount(held, minlength=len(self.names)).tolist()
        object.__setattr__(self, "counts", dict(zip(self.names, map(int, found), strict=True)))

    @property
    def unit(self) -> str:
        """What is counted."""
        return "examples" if self.codes.dim() < 2 or self.codes.numel() == len(self.codes) else "tokens"

    def shares(self, tensor: Tensor, *, classes: bool = False) -> Counted:
        """Each group's entries of a tensor.

        Args:
            tensor: whose first dimensions are those of the ids, or the ids' in a row.
            classes: its second dimension may be one of classes, which the ids lack.

        Raises:
            ValueError: it fits the ids in none of these ways.
        """
        placed = self.placed(tuple(tensor.shape), classes=classes)
        if placed is None:
            raise ValueError(
                f"ids of shape {tuple(self.codes.shape)} do not fit a tensor of shape {tuple(tensor.shape)}; "
                "give one id for each entry of its first dimension, or of its first dimensions"
            )
        placed = placed.to(tensor.device)
        masks = {name: (placed == code).to(tensor.dtype) for code, name in enumerate(self.names)}
        return Counted(masks, self.counts, self.unit)

    def placed(self, shape: tuple[int, ...], *, classes: bool = False) -> Tensor | None:
        """The codes in a form that broadcasts to a tensor of this shape; None where they do not fit it."""
        codes, own = self.codes, tuple(self.codes.shape)
        ones = (1,) * (len(shape) - len(own))
        if not shape:
            return None
        if classes and len(shape) > 1 and own == (shape[0], *shape[2:]):
            return codes.unsqueeze(1)
        if own == shape[: len(own)]:
            return codes.reshape(*own, *ones)
        if codes.numel() == shape[0]:
            return codes.reshape(-1, *(1,) * (len(shape) - 1))
        return None


def codes_of(ids: Any) -> tuple[Tensor, list[Any]]:
    """Which of the values each id is, and the values: those of tensors in order, others as they first come.

    Args:
        ids: a tensor or array of whole numbers, or (nested) sequences of strings or whole numbers.

    Raises:
        ValueError: they are no ids: broken numbers, nothing at all, or rows of different lengths.
    """
    if not isinstance(ids, Tensor) and hasattr(ids, "dtype") and ids.dtype.kind in "iub":
        ids = torch.as_tensor(ids)
    if isinstance(ids, Tensor):
        if ids.is_floating_point() or ids.is_complex():
            raise ValueError(f"ids of groups are whole numbers or strings, not {str(ids.dtype).removeprefix('torch.')}")
        known, codes = torch.unique(ids.detach().cpu(), return_inverse=True)
        return codes.reshape(ids.shape), known.tolist()
    flat, shape = _flat(ids)
    place = {value: code for code, value in enumerate(dict.fromkeys(flat))}
    return torch.tensor([place[value] for value in flat], dtype=torch.long).reshape(shape), list(place)


def by_column(names: Sequence[str]) -> MakesShares:
    """Each column (entry of the last dimension) of a tensor is a task.

    Args:
        names: one for each column.

    >>> sorted(by_column(["rain", "wind"])(torch.zeros(8, 2)))
    ['rain', 'wind']
    """
    listed = [str(name) for name in names]

    def shares(tensor: Tensor) -> Shares:
        if tensor.dim() == 0 or tensor.shape[-1] != len(listed):
            raise ValueError(
                f"by_column was given {len(listed)} names for a tensor of shape {tuple(tensor.shape)}; "
                "give one for each entry of its last dimension"
            )
        if len(set(listed)) != len(listed):
            raise ValueError("by_column was given the same name twice; give each column one of its own")
        eye = torch.eye(len(listed), dtype=tensor.dtype, device=tensor.device)
        return dict(zip(listed, eye, strict=True))

    return shares


def by_group(ids: Sequence[object] | Tensor, names: TaskNames | None = None) -> MakesShares:
    """The examples of each group (a data set, a language, a user segment) are a task, named after its id.

    Args:
        ids: one for each example, of shape (batch,), or for each token, of shape (batch, length), as the document ids
            of packed sequences. They fit the tensor's first dimensions, or its first one when those are in a row.
        names: what the group of each id is called, a list or a mapping; None: as the id is written.

    >>> sorted(by_group(["news", "mail", "news"])(torch.zeros(3, 2)))
    ['mail', 'news']
    >>> by_group(torch.tensor([[0, 0, 1], [1, 1, 1]]), names=["de", "fr"])(torch.zeros(2, 3, 8)).counts
    {'de': 2, 'fr': 4}
    """
    codes, values = codes_of(ids)
    groups = Groups(codes, [_name(value, names) for value in values])
    return lambda tensor: groups.shares(tensor)


def by_class(target: Tensor, names: Sequence[str] | None = None, *, ignore_index: int | None = None) -> MakesShares:
    """What belongs to each class of a target is a task: its examples, its tokens, or its pixels.

    Args:
        target: the class of each entry of the tensor, whose dimension of classes (the second) it lacks; or of each
            example, or of each token. What is negative is of no class.
        names: of the classes, from 0 on; None for their numbers.
        ignore_index: one more number that is of no class.

    >>> sorted(by_class(torch.tensor([0, 2, 2]))(torch.zeros(3, 4)))
    ['0', '2']
    """
    codes, known = codes_of(target)
    if names is not None and known and known[-1] >= len(names):
        raise ValueError(f"by_class was given {len(names)} names, and a target of class {known[-1]}")
    kept = [code for code, number in enumerate(known) if number >= 0 and number != ignore_index]
    moved = torch.full((len(known),), -1)
    moved[kept] = torch.arange(len(kept))
    groups = Groups(moved[codes], [_name(known[code], names) for code in kept])
    return lambda tensor: groups.shares(tensor, classes=True)


def by_part(**parts: Tensor) -> MakesShares:
    """Parts of a coefficient are tasks: an advantage that is a sum of several rewards'; or parts of a tensor, by masks.

    Each task has the share that its part has in the sum of them all, entry by entry: exact for what is linear in that
    sum, like a policy gradient. A part may be negative, and larger than the sum; where the sum is zero, nobody has any.

    Args:
        parts: task name -> its part, of a shape that broadcasts to the tensor's; numbers, or a mask of True and False.

    >>> shares = by_part(speed=torch.tensor([3.0, 2.0]), safety=torch.tensor([1.0, -1.0]))(torch.zeros(2))
    >>> shares["speed"].tolist(), shares["safety"].tolist()
    ([0.75, 2.0], [0.25, -1.0])
    """

    def shares(tensor: Tensor) -> Shares:
        for name, part in parts.items():
            try:
                torch.broadcast_to(part, tensor.shape)
            except RuntimeError:
                raise ValueError(
                    f"by_part was given {name} of shape {tuple(part.shape)} for a tensor of shape"
                    f" {tuple(tensor.shape)}; give a shape that broadcasts to it"
                ) from None
        wide = {name: part.detach().to(tensor.device, torch.float64) for name, part in parts.items()}
        whole = torch.as_tensor(sum(wide.values()))
        return {
            name: torch.where(whole == 0, 0.0, part / torch.where(whole == 0, 1.0, whole))
            for name, part in wide.items()
        }

    return shares


def told(at: Tensor, shares: MakesShares | Shares) -> dict[str, Tensor]:
    """Remember the shares of ``at``; returned is what to observe: the same tensor under each task's name.

    Raises:
        TypeError: ``at`` is no tensor that needs gradient, or the shares are none.
        ValueError: the shares do not fit it, or those of an entry add up neither to 1 nor, where it is no task's, to 0.
    """
    if not isinstance(at, Tensor) or not at.requires_grad:
        raise TypeError("observe(at=...) takes a tensor that needs gradient, like the logits before the loss")
    made = shares(at) if callable(shares) else shares
    if not isinstance(made, Mapping) or not all(isinstance(share, Tensor) for share in made.values()):
        raise TypeError(
            "shares takes by_column(names), by_group(ids), by_class(target), by_part(name=tensor), or a mapping of"
            " task names to share tensors"
        )
    _add_up(at, made)
    _told[at] = AboutTensor(
        {str(name): share.detach().to(at.dtype).expand_as(at) for name, share in made.items()},
        made.counts if isinstance(made, Counted) else {},
        made.unit if isinstance(made, Counted) else "",
    )
    return dict.fromkeys(_told[at].shares, at)


@dataclass(frozen=True)
class AboutTensor:
    """What is known of one tensor."""

    shares: dict[str, Tensor]
    """Of the tensor's own shape."""
    counts: dict[str, int]
    """How many examples or tokens each task has, where tasks are groups of them."""
    unit: str = ""


_told: WeakIdKeyDictionary = WeakIdKeyDictionary()
"""Tensor -> what was told of it, for as long as the tensor lives."""


def shares_of(tensor: Tensor) -> AboutTensor | None:
    """The shares that the user told of this tensor."""
    found: AboutTensor | None = _told.get(tensor)  # type: ignore[no-untyped-call]
    return found


def _add_up(at: Tensor, shares: Shares) -> None:
    whole, largest = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for name, share in shares.items():
        try:
            torch.broadcast_to(share, at.shape)
        except RuntimeError:
            raise ValueError(
                f"the share of {name} has shape {tuple(share.shape)}, which does not broadcast to {tuple(at.shape)}"
            ) from None
        wide = share.detach().to(at.device, torch.float64)
        whole, largest = whole.to(at.device) + wide, torch.maximum(largest.to(at.device), wide.abs())
    room = _OFF * largest.clamp(min=1)
    # Not "larger than": NaN is not.
    off = ~((whole - 1).abs() <= room) & ~((whole == 0) & (largest == 0))
    if bool(off.any()):
        where = tuple(torch.nonzero(off)[0].tolist())
        raise ValueError(
            f"the shares of an entry add up to 1, or are all 0 where it is no task's; at {where} they add up to"
            f" {float(whole[where]):.6g}"
        )


def _name(value: Any, names: TaskNames | None) -> str:
    if names is None:
        return str(value)
    try:
        return str(names[value])
    except (LookupError, TypeError):
        raise ValueError(f"there is no name for the group {value!r}") from None


def _flat(ids: Any) -> tuple[list[Any], tuple[int, ...]]:
    """Nested ids in a row, and their shape."""
    if isinstance(ids, str) or not hasattr(ids, "__len__") or not hasattr(ids, "__iter__"):
        raise ValueError(f"ids of groups are a sequence or a tensor, not {type(ids).__name__}")
    each = [item.tolist() if isinstance(item, Tensor) else item for item in ids]
    each = [item.item() if hasattr(item, "item") and getattr(item, "ndim", 0) == 0 else item for item in each]
    if each and all(isinstance(item, str | int) for item in each):
        return each, (len(each),)
    wrong = next((item for item in each if item is None or isinstance(item, float)), None)
    if wrong is not None or any(item is None for item in each):
        raise ValueError(f"ids of groups are whole numbers or strings, not {wrong!r}")
    inner = [_flat(item) for item in each]
    if not inner or len({shape for _, shape in inner}) > 1:
        raise ValueError("ids of groups are missing, or in rows of different lengths")
    return [item for row, _ in inner for item in row], (len(each), *inner[0][1])
