"""Gradients that the script mixed itself from those of the tasks: which mixture they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dominance.record.compare import nonzero
from dominance.record.split.changes import View, views, whole
from dominance.record.split.closing import closed
from dominance.record.split.products import inner_products
from dominance.record.split.splits import GradientSplit

_EXACT = 1e-5
"""Largest residual, relative to the gradient, of a mixture that a parameter is taken to have of its own."""

_NEAR = 1e-2
"""Largest residual, relative to the gradient, of a mixture whose weights are told."""

_BLURRED = 2e-2
"""Largest standard error of the weights of a plain sum with noise on it that are told: relative, roughly."""

_PLAIN = 1.5
"""How much larger the square of what a plain sum leaves may be than what the nearest mixture leaves."""

TaskGradients = Mapping[str, Tensor]
Plain = Callable[[int], float]
"""The weight of each of so many tasks."""


def unmixed(
    totals: Mapping[Tensor, Tensor], parts: Mapping[Tensor, TaskGradients]
) -> tuple[dict[Tensor, GradientSplit], list[tuple[list[Tensor], dict[str, float]]]]:
    """The mixture w with sum_k w_k g_k nearest to what was fed, least squares; the distance that remains is residual.

    Gradient manipulation acts on the shared parameters together and leaves task-specific ones alone: the weights are
    fitted for each set of parameters that the same tasks reach. Of all mixtures that fit, the smallest is taken. Where
    no such mixture explains a parameter's gradient and one of its own does, it has that; the weights are then NaN. They
    are NaN as well where no mixture comes near. What was done to the mixture after that (changes.py) is residual.

    Args:
        totals: the gradient that each parameter was fed.
        parts: gradient of each task, by parameter.

    Returns:
        The splits, and for each set of parameters the weights, the set of most tasks last.
    """
    groups: dict[tuple[str, ...], list[Tensor]] = {}
    for p in totals:
        # Gradients of several losses taken in one batch are zero where one of them does not reach.
        groups.setdefault(tuple(name for name, g in parts[p].items() if nonzero(g)), []).append(p)
    fed = _Fed(totals, parts)
    largest = max(groups, key=lambda names: sum(p.numel() for p in groups[names]), default=())
    plain: Plain | None = None
    common: dict[str, float] = {}
    if largest:
        of_largest = fed.look(largest, groups[largest])
        fed.alone = not _exact(of_largest) and bool(fed.own(largest, groups[largest], {}))
        plain = None if fed.alone else _plain(of_largest)
        common = dict(zip(largest, _nearest(of_largest).tolist(), strict=True))
    splits: dict[Tensor, GradientSplit] = {}
    weights: list[tuple[list[Tensor], dict[str, float]]] = []
    for names, members in sorted(groups.items(), key=lambda group: len(group[0])):
        if not names:
            splits.update({p: GradientSplit({}, totals[p].clone(), totals[p]) for p in members})
            continue
        products = of_largest if names == largest else fed.products(names, members)
        if plain is not None:
            fitted = dict.fromkeys(names, plain(len(names)))
        elif float(products[-1, -1]) or not common.keys() >= set(names):
            fitted = dict(zip(names, _nearest(products).tolist(), strict=True))
        else:
            # All of it was cut off: it was made as the others were.
            fitted = {name: common[name] for name in names}
        mine = {} if plain is not None else fed.own(names, members, fitted)
        for p in members:
            tasks, residual = fed.closed(p, mine.get(p, fitted))
            splits[p] = GradientSplit(tasks, residual, residual)
        near = _off(products, torch.tensor(list(fitted.values()), dtype=products.dtype))
        # Noise blurs the weights of a sum less where there are more numbers.
        limit = _NEAR**2 if plain is None else _BLURRED**2 * sum(p.numel() for p in members)
        known = not mine and near <= limit * float(products[-1, -1])
        weights.append((members, fitted if known else dict.fromkeys(names, math.nan)))
    return splits, weights


@dataclass
class _Fed:
    """Gradients that are mixtures, and what they may be mixtures of."""

    totals: Mapping[Tensor, Tensor]
    parts: Mapping[Tensor, TaskGradients]
    view: View = whole
    """What of them is the mixture still."""
    alone: bool = False
    """Whether parameters were seen to have mixtures of their own."""

    def look(self, names: Sequence[str], members: Sequence[Tensor]) -> Tensor:
        """Choose the view in which some mixture is what was fed, all of it where there is none; the products in it."""
        whole_products = self.products(names, members)
        for view in views(self.totals) if not _exact(whole_products) else ():
            self.view = view
            products = self.products(names, members)
            several = sum(int((view(self.totals[p], self.totals[p]) != 0).sum()) for p in members)
            if several > 2 * len(products) and _exact(products):
                return products
        self.view = whole
        return whole_products

    def products(self, names: Sequence[str], members: Iterable[Tensor]) -> Tensor:
        """(task + 1, task + 1) inner products of the tasks' gradients and, last, of what was fed, over all members."""
        sums = torch.zeros(len(names) + 1, len(names) + 1, dtype=torch.float64)
        for p in members:
            gradients = [*(self.parts[p][name] for name in names), self.totals[p]]
            sums += torch.as_tensor(inner_products([self.view(self.totals[p], each) for each in gradients]))
        return sums

    def own(
        self, names: Sequence[str], members: Sequence[Tensor], fitted: Mapping[str, float]
    ) -> dict[Tensor, dict[str, float]]:
        """The script may have mixed each parameter's gradients on their own: the weights of those that it has.

        A parameter of few entries is any mixture: it has a multiple of another one's, where others have their own.
        """
        found: dict[Tensor, dict[str, float]] = {}
        few: list[Tensor] = []
        for p in members:
            if fitted and self._explains(p, fitted):
                continue
            if p.numel() <= len(names):
                few.append(p)
                continue
            alone = dict(zip(names, _nearest(self.products(names, [p])).tolist(), strict=True))
            if self._explains(p, alone):
                found[p] = alone
        for p in few:
            known = [*found.values(), *([fitted] if fitted and self.alone else [])]
            multiples = (self._multiple(p, weights) for weights in known)
            one = next((weights for weights in multiples if weights and self._explains(p, weights)), None)
            if one is not None:
                found[p] = one
        return found

    def closed(self, parameter: Tensor, weights: Mapping[str, float]) -> tuple[dict[str, Tensor], Tensor | None]:
        """The tasks' gradients with these weights, and what they leave."""
        tasks = {name: g * weights[name] if name in weights else g for name, g in self.parts[parameter].items()}
        return closed(parameter, self.totals[parameter], tasks)

    def _explains(self, parameter: Tensor, weights: Mapping[str, float]) -> bool:
        """Whether what these weights leave of a gradient is the rounding of a few operations."""
        total, residual = self.totals[parameter], self.closed(parameter, weights)[1]
        if residual is None:
            return True
        left = float(torch.linalg.vector_norm(self.view(total, residual)))
        return left <= _EXACT * float(torch.linalg.vector_norm(self.view(total, total)))

    def _multiple(self, parameter: Tensor, weights: Mapping[str, float]) -> dict[str, float]:
        mixture = torch.stack([self.parts[parameter][name] * w for name, w in weights.items()]).sum(0)
        _, inner, _, square = inner_products([self.totals[parameter], mixture]).ravel().tolist()
        return {name: w * inner / square for name, w in weights.items()} if square else {}


def _exact(products: Tensor) -> bool:
    """Whether some mixture is what was fed, to rounding."""
    return _off(products, _nearest(products)) <= (10 * _EXACT) ** 2 * float(products[-1, -1])


def _nearest(products: Tensor) -> Tensor:
    """(task) The weights of the mixture that is nearest to what was fed."""
    found: Tensor = torch.linalg.lstsq(products[:-1, :-1], products[:-1, -1:], driver="gelsd").solution[:, 0]
    return found


def _plain(products: Tensor) -> Plain | None:
    """Whether what was fed is a plain sum or mean of the tasks' gradients with something else added, like noise.

    A fit takes of that as much as it can, and all of it where there are few numbers: ``products`` are of the most.
    """
    if _exact(products):
        return None
    left, count = _off(products, _nearest(products)), len(products) - 1
    ways: list[Plain] = [lambda _: 1.0, lambda several: 1 / several]
    plain = ((way, torch.full((count,), way(count), dtype=products.dtype)) for way in ways)
    return next((way for way, weights in plain if _off(products, weights) <= _PLAIN * left), None)


def _off(products: Tensor, weights: Tensor) -> float:
    """The square of what a mixture leaves of what was fed."""
    gram, target, square = products[:-1, :-1], products[:-1, -1], products[-1, -1]
    return float(square - 2 * weights @ target + weights @ gram @ weights)


def nearer_than_mixtures(gradients: Iterable[tuple[Tensor, Tensor, Sequence[Tensor]]]) -> bool:
    """Whether what was fed is what backward() left, with something like noise added, rather than a mixture.

    Args:
        gradients: of each parameter what it was fed, what backward() left, and all gradients that it may be mixed of.
    """
    off = left = square = 0.0
    for total, before, parts in gradients:
        products = torch.as_tensor(inner_products([*parts, total]))
        off += float((total - before).double().square().sum())
        left += max(_off(products, _nearest(products)), 0.0)
        square += float(products[-1, -1])
    return left > (10 * _EXACT) ** 2 * square and off <= _PLAIN * left
