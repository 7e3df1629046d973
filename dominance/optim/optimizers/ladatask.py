"""LAdaTask: the accumulated gradients are kept once, and split over the tasks by one number a task and layer.

    C^k_l <- γ C^k_l + (1 - γ) h({(g^k_i)², i in l})        (Eq. 8; summed for Adagrad)
    G_i   <- γ G_i + (1 - γ) (Σ_k g^k_i)²                    G^k_i = C^k_l(i) / Σ_k' C^k'_l(i) · G_i        (Eq. 9)

Eq. 9 writes (g^k)² where G has no k, and Eq. 4 a sum of squares; Algorithm 1, line 13, squares the sum, which is what
a joint optimizer does, and what is done here. G takes N numbers and C takes LK, where AdaTask's G^k take NK.

Left open by the text, and chosen so:

- h "mean" is over the coordinates of the layer that the task reaches. Where every task reaches the whole layer it
  makes no difference, since only the ratio of the C counts.
- Adam: momentum stays with each task (NK numbers), since Eq. 7 separates it to the same end, and "layer" is said of
  the accumulated squares alone. G is bias-corrected by how often it was fed, and so is C, which cancels unless a task
  was absent.
- A task that is absent keeps its C, and it counts in the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dominance.optim.engine.taskwise import Aggregate, Granularity, Group, Part, coupled, fed

Shares = Callable[[Tensor, str], float]
"""C^k_l / sum_k' C^k'_l for a parameter in layer l and a task k."""


class SharedLayers:
    """Which parameters share C, over all parameter groups. C lies in the state of a layer's first parameter.

    Args:
        groups: parameter groups.
        granularity: "layer": the module that holds the parameter, by its name up to the last dot. "module": the
            outermost one, up to the first dot. Or a function of name ("" if there is none) and parameter.
        aggregate: h, "mean" or "sum".
        corrected: C is corrected for its bias.

    Raises:
        ValueError: no such granularity, or it needs names and there are none.
    """

    def __init__(
        self, groups: Sequence[Group], granularity: Granularity, aggregate: Aggregate, *, corrected: bool
    ) -> None:
        self._aggregate, self._corrected = aggregate, corrected
        self._first: dict[int, Tensor] = {}
        self._group: dict[int, Group] = {}
        firsts: dict[Hashable, Tensor] = {}
        for group in groups:
            names = group.get("param_names") or [""] * len(group["params"])
            for name, parameter in zip(names, group["params"], strict=True):
                first = firsts.setdefault(_key(granularity, name, parameter), parameter)
                self._first[id(parameter)] = first
                self._group[id(parameter)] = group

    def shares(
        self,
        state: Mapping[Tensor, dict[str, Any]],
        parts: Sequence[tuple[Group, Part]],
        decay: Callable[[Group], float | None],
    ) -> Shares:
        """Feed C with the squared gradients of this step (Eq. 8), and say what is whose (Eq. 9).

        Args:
            state: the optimizer's.
            parts: what the tasks reach in this step.
            decay: gamma of a parameter group; None: squares are summed.
        """
        squares = self._squares(parts)
        for (first, task), (total, size) in squares.items():
            gamma = decay(self._group[id(first)])
            new = total / size if self._aggregate == "mean" else total
            kept = state[first].setdefault("layer", {}).setdefault(task, {"step": 0, "square": 0.0})
            kept["step"] += 1
            kept["square"] = kept["square"] + new if gamma is None else gamma * kept["square"] + (1 - gamma) * new
        found = {id(first): self._split(state[first]["layer"], decay(self._group[id(first)])) for first, _ in squares}
        return lambda parameter, task: found[id(self._first[id(parameter)])][task]

    def _split(self, kept: Mapping[str, dict[str, Any]], gamma: float | None) -> dict[str, float]:
        """Each task's part of the layer; all the same where no task ever had a gradient."""
        squares = {
            task: float(one["square"]) / (1.0 if gamma is None or not self._corrected else 1 - gamma ** one["step"])
            for task, one in kept.items()
        }
        whole = sum(squares.values())
        return {task: square / whole if whole else 1 / len(squares) for task, square in squares.items()}

    def _squares(self, parts: Sequence[tuple[Group, Part]]) -> dict[tuple[Tensor, str], tuple[float, int]]:
        """For layer (its first parameter) and task: the sum of squared gradients, and of how many coordinates."""
        where: list[tuple[Tensor, str, int]] = []
        norms: list[Tensor] = []
        for group, part in parts:
            for k, task in enumerate(part.tasks):
                row = fed(part, k, part.parameters, coupled(group))
                if row[0].dtype in (torch.float16, torch.bfloat16):
                    row = [g.float() for g in row]
                norms += torch._foreach_norm(row)
                where += [(self._first[id(p)], task, p.numel()) for p in part.parameters]
        found: dict[tuple[Tensor, str], tuple[float, int]] = {}
        for (first, task, size), norm in zip(where, _values(norms), strict=True):
            total, sizes = found.get((first, task), (0.0, 0))
            found[first, task] = total + norm * norm, sizes + size
        return found


def _values(scalars: Sequence[Tensor]) -> list[float]:
    """Numbers of 0-dim tensors, waiting for each device once."""
    found = [0.0] * len(scalars)
    for device, dtype in {(scalar.device, scalar.dtype) for scalar in scalars}:
        where = [i for i, scalar in enumerate(scalars) if (scalar.device, scalar.dtype) == (device, dtype)]
        for i, value in zip(where, torch.stack([scalars[i] for i in where]).tolist(), strict=True):
            found[i] = value
    return found


def _key(granularity: Granularity, name: str, parameter: Tensor) -> Hashable:
    if callable(granularity):
        return granularity(name, parameter)
    if granularity not in ("layer", "module"):
        raise ValueError(
            f"granularity is {granularity!r}; give 'parameter', 'layer', 'module' or a function of name and parameter"
        )
    if not name:
        raise ValueError(f"granularity={granularity!r} goes by names; give model.named_parameters() to the optimizer")
    parts = [part for part in name.split(".") if part != "_orig_mod"]  # of torch.compile
    name = ".".join(parts).removeprefix("module.")  # of DistributedDataParallel
    return (name.rpartition(".")[0] if granularity == "layer" else name.partition(".")[0]) or name
