"""One recorded step becomes one row: exact statistics per layer, and the kept coordinates."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dominance.record import answers
from dominance.record.answers import Arrays
from dominance.record.split.packs import Packed
from dominance.record.split.products import inner_products, products_and_squares, products_on_device
from dominance.record.split.sampled import whole_products
from dominance.record.split.splits import GradientSplit, Sizes, StepSplit
from dominance.record.write.averages import Averages
from dominance.record.write.later import Later
from dominance.record.write.row_shape import KeptPlace, PackPlace, RowShape
from dominance.schema import TASK_STATISTICS, TOTAL_STATISTICS, UPDATE_PARTS
from dominance.unattributed import MOST_UNATTRIBUTED, unattributed_share

Array = npt.NDArray[np.generic]
Float64s = npt.NDArray[np.float64]
Gram = Float64s | None

_OF_TOTAL = {name: position for position, name in enumerate(TOTAL_STATISTICS)}
_OF_TASK = {name: position for position, name in enumerate(TASK_STATISTICS)}


@dataclass(frozen=True)
class GradientNorms:
    """Of one step, by layer; NaN where the gradients were thrown away."""

    tasks: dict[str, Float64s]
    total: Float64s
    unexplained: Float64s
    """Of what is no task's, and nothing else's that is known."""


def _cut(total: Tensor, gradient: GradientSplit, place: slice) -> tuple[Tensor, GradientSplit]:
    """The same of some coordinates."""
    residual, unexplained = (
        None if each is None else each.reshape(-1)[place] for each in (gradient.residual, gradient.unexplained)
    )
    tasks = {name: each.reshape(-1)[place] for name, each in gradient.tasks.items()}
    return total.reshape(-1)[place], GradientSplit(tasks, residual, unexplained)


class StepRow:
    """The row of one training step, filled one parameter at a time; what it has taken in can be let go."""

    @property
    def solo(self) -> bool:
        """Whether it has a place for solo updates."""
        return self._shape.layout.attribution != "additive"

    def __init__(
        self, shape: RowShape, tasks: Sequence[str], *, step: int, epoch: int, averages: Averages | None = None
    ) -> None:
        self._shape = shape
        self._averages = averages
        self._later = Later()
        self._tasks = {name: position for position, name in enumerate(tasks)}
        k, n, m = len(tasks), shape.coords, len(shape.layout.layers)
        solo = shape.layout.attribution != "additive"
        self._per_task = ["gradient/gradient", "update/update", *(["update/solo"] if solo else [])]
        self._per_coord = ["gradient/total", "update/total", *(f"update/{part}" for part in UPDATE_PARTS)]
        self.values: dict[str, Array] = {
            **{path: np.zeros((k, n), np.float32) for path in self._per_task},
            **{path: np.zeros(n, np.float32) for path in self._per_coord},
            "layer/task": np.zeros((m, k, len(TASK_STATISTICS))),
            "layer/total": np.zeros((m, len(TOTAL_STATISTICS))),
            "layer/gram": np.zeros((m, k, k)),
            "learning_rate/value": np.full(m, np.nan),
            "loss/loss": np.full(k, np.nan),
            "loss/weight": np.full(k, np.nan),
            "loss/total": np.array(np.nan),
            "closure": np.array(np.nan),
            "skipped": np.array(0, np.int8),
            "step": np.array(step, np.int64),
            "epoch": np.array(epoch, np.int64),
            "time": np.array(time.time()),
        }
        self._task_axes: dict[str, tuple[int, ...]] = {"layer/task": (1,), "layer/gram": (1, 2)}
        self._task_axes |= dict.fromkeys((*self._per_task, "loss/loss", "loss/weight"), (0,))
        if not solo:
            self.values["layer/task"][:, :, _OF_TASK["solo_sq"]] = np.nan

    def knows(self, task: str) -> bool:
        """Whether the run has a task of this name."""
        return task in self._tasks

    def unattributed(self, layers: Sequence[int] | slice = slice(None)) -> float:
        """The share of the step in these layers that is momentum of gradients that nobody saw; of all by default."""
        tasks, totals = (np.asarray(self.values[f"layer/{name}"][layers], np.float64) for name in ("task", "total"))
        unseen, residual = (totals[:, _OF_TOTAL[f"{part}_sq"]] for part in ("unattributed", "residual"))
        return float(unattributed_share(unseen, tasks[..., _OF_TASK["update_sq"]], residual))

    def tells(self, layers: Sequence[int]) -> bool:
        """Whether a reader of the tasks' updates in these layers uses the step: see ``analyse.prepared``."""
        tasks = self.values["layer/task"][layers][..., _OF_TASK["update_sq"]]
        sound = not self.values["skipped"] and bool(np.isfinite(tasks).all())
        return sound and self.unattributed(layers) <= MOST_UNATTRIBUTED

    def norms(self) -> GradientNorms:
        """The norms of the gradients that it has taken in."""
        tasks = np.sqrt(self.values["layer/task"][:, :, _OF_TASK["gradient_sq"]])
        wanted = [_OF_TOTAL[name] for name in ("gradient_sq", "unexplained_gradient_sq")]
        total, unexplained = np.sqrt(self.values["layer/total"][:, wanted]).T
        return GradientNorms({name: tasks[:, position] for name, position in self._tasks.items()}, total, unexplained)

    @property
    def parameters(self) -> Set[Tensor]:
        """Those that the run records."""
        return self._shape.places.keys()

    def holds(self, parameter: Tensor) -> bool:
        """Whether the run records this parameter."""
        return parameter in self._shape.places

    def losses(self, loss: Mapping[str, float], weight: Mapping[str, float], total: float) -> None:
        """Each task's unweighted loss and its weight, and the sum that backward() was called on."""
        for name, value in loss.items():
            self.values["loss/loss"][self._tasks[name]] = value
        for name, value in weight.items():
            self.values["loss/weight"][self._tasks[name]] = value
        self.values["loss/total"] = np.array(total)

    def widen(self, tasks: Sequence[str]) -> None:
        """Make room for tasks that came up after the row was begun."""
        more = len(tasks) - len(self._tasks)
        if more == 0:
            return
        self.settle()
        self._tasks = {name: position for position, name in enumerate(tasks)}
        if self._averages is not None:
            self._averages.widen(len(tasks))
        for path, axes in self._task_axes.items():
            old = self.values[path]
            fill = np.nan if path.startswith("loss/") else 0
            self.values[path] = np.pad(
                old, [(0, more if axis in axes else 0) for axis in range(old.ndim)], constant_values=fill
            )

    def outside(
        self,
        parameter: Tensor,
        moved: Tensor,
        taken: Tensor | None,
        gradients: Sequence[GradientSplit],
        rows: Tensor | None = None,
        index: Tensor | None = None,
    ) -> None:
        """Take in what else moved a parameter between the start of this step and the start of the next.

        Args:
            moved: by how much, beyond the steps of optimizers.
            taken: the steps; None: known at the kept coordinates alone, which the row has.
            gradients: what was fed to it, split.
            rows: those that all of this is of; None: all.
            index: the coordinates that ``gradients`` are of; None: all of these.
        """
        place = self._shape.places[parameter] if rows is None else self._shape.of_rows(parameter, rows)
        beside = np.asarray(self.values["update/outside"][place.columns], np.float32)  # a pull within the step
        self.values["update/outside"][place.columns] = beside + _kept(moved, place.index)
        of_step = np.array(self.values["update/total"][place.columns], np.float32)
        together = of_step + _kept(moved, place.index) if taken is None else _kept(taken + moved, place.index)
        self.values["update/total"][place.columns] = together
        tasks = [(name, g) for split in gradients for name, g in split.tasks.items()]
        totals = [split.total for split in gradients if split.total is not None]
        whole = [] if taken is None else [taken]
        if index is None:
            products = inner_products([moved, *whole, *totals, *(g for _, g in tasks)])[0]
        else:
            sampled = [*(() if whole else (torch.from_numpy(of_step).to(moved),)), *totals, *(g for _, g in tasks)]
            here = inner_products([moved.reshape(-1)[index], *sampled])[0]
            weight = moved.numel() / max(len(index), 1)
            products = np.concatenate([inner_products([moved, *whole])[0], weight * here[1:]])
        sums = self.values["layer/total"][place.layer]
        sums[_OF_TOTAL["outside_sq"]] += products[0]
        sums[_OF_TOTAL["update_sq"]] += products[0] + 2 * products[1]
        sums[_OF_TOTAL["gradient_dot_update"]] += products[2 : 2 + len(totals)].sum()
        for (name, _), product in zip(tasks, products[2 + len(totals) :], strict=True):
            self.values["layer/task"][place.layer, self._tasks[name], _OF_TASK["gradient_dot_update"]] += product

    def skip(self) -> None:
        """The gradients of this step were thrown away: nothing moved, and the gradients mean nothing."""
        self.settle()
        self.values["skipped"] = np.array(1, np.int8)
        for path in ("gradient/gradient", "gradient/total", "layer/task", "layer/total", "layer/gram"):
            self.values[path] = np.full_like(self.values[path], np.nan)

    def add(self, parameter: Tensor, rate: float, total: Tensor, gradient: GradientSplit, step: StepSplit) -> None:
        """Take in one parameter: its gradient, split, and its step, split.

        Args:
            parameter: a recorded parameter.
            rate: learning rate of its group.
            total: the gradient that the optimizer was fed, dense.
            gradient: the parts of all of it.
            step: of all coordinates, or of a tile of them; or of some rows, of which the gradients are then as well.
        """
        place = self._shape.places[parameter]
        if step.place is not None:
            place, total, gradient = self._shape.tile(parameter, step.place), *_cut(total, gradient, step.place)
        elif step.rows is not None:
            place = self._shape.of_rows(parameter, step.rows)
        additive = not np.isnan(step.closure) or step.place is not None or step.sizes is not None
        if self._averages is not None:
            for name, update in step.tasks.items():
                self._averages.take(parameter, self._tasks[name], update, step.place, step.rows)
        self.values["learning_rate/value"][place.layer] = rate
        if not additive:
            self.values["update/update"][:, place.columns] = np.nan
        self._statistics(place.layer, total, gradient, step, additive=additive)
        self._coordinates(parameter, place, total, gradient, step)
        if step.sizes is not None:
            eps = torch.finfo(parameter.dtype).eps
            self._later.add([step.sizes], lambda read: self._close(*Sizes(*read[0].tolist()).closure(eps)))
        elif additive:
            self._close(step.closure, step.rounding)

    def add_sampled(
        self, parameter: Tensor, rate: float, total: Tensor, gradient: GradientSplit, step: StepSplit, gram: Gram
    ) -> None:
        """``add``, of a parameter whose parts are of the kept coordinates alone.

        Inner products of parts are estimated from these: the kept ones are a random sample of the parameter's.

        Args:
            parameter: a recorded parameter.
            rate: learning rate of its group.
            total: the gradient that the optimizer was fed, dense, over all coordinates.
            gradient: at the kept ones, and so the step.
            step: the same.
            gram: inner products of the tasks' gradients over all coordinates, as they are in ``gradient``; None: they
                are not known, and estimated as well.
        """
        place = self._shape.places[parameter]
        assert gradient.total is not None
        assert step.whole is not None
        flat, squared, of = self._to_multiply(gradient.total, gradient, step)
        weight = parameter.numel() / max(len(place.index), 1)
        products, squares = products_and_squares(flat, squared)
        products, squares = weight * products, weight * squares
        products[:2, :2] = whole_products(total, step.whole, parameter)
        if gram is not None:
            products[2:, 2:] = gram
        tasks = [self._tasks[name] for name in gradient.tasks]
        self.values["learning_rate/value"][place.layer] = rate
        self._enter_statistics(place.layer, tasks, of, products, squares, additive=True)
        self._coordinates(parameter, place, gradient.total, gradient, step)
        if step.sizes is None:
            self._close(step.closure, step.rounding)
        else:
            eps = torch.finfo(parameter.dtype).eps
            self._later.add([step.sizes], lambda read: self._close(*Sizes(*read[0].tolist()).closure(eps)))

    def settle(self) -> None:
        """Take in what the row was given of devices, as far as it has not been read: they are waited for now, together.

        To be called before anything of the row is used.
        """
        self._later.settle()
        self._shape.products.trim()

    def _close(self, closure: float, rounding: float) -> None:
        # A step that is not far above the spacing of theta cannot be known better than that spacing.
        known_to = 0.0 if np.isnan(rounding) else rounding
        self.values["closure"] = np.fmax(self.values["closure"], max(closure - known_to, 0.0))

    def _coordinates(
        self, parameter: Tensor, place: KeptPlace, total: Tensor, gradient: GradientSplit, step: StepSplit
    ) -> None:
        """Keep the coordinates of the sample."""
        per_task = {"gradient/gradient": gradient.tasks, "update/update": step.tasks, "update/solo": step.solo}
        parts = [(path, self._tasks[name], each) for path in self._per_task for name, each in per_task[path].items()]
        per_coord = {
            "gradient/total": total, "update/total": step.total, "update/residual": step.residual,
            "update/unattributed": step.unattributed, "update/decay": step.decay, "update/outside": step.outside,
        }  # fmt: skip
        whole = [(path, part) for path in self._per_coord if (part := per_coord[path]) is not None]
        rows = [self.values[path][task] for path, task, _ in parts] + [self.values[path] for path, _ in whole]
        tensors = [tensor for _, _, tensor in parts] + [tensor for _, tensor in whole]
        if answers.waits(total):
            index = self._shape.index(parameter, place, total.device)

            def enter(read: Arrays) -> None:
                for row, numbers in zip(rows, read[0], strict=True):
                    row[place.columns] = numbers

            self._later.add([torch.stack([_chosen(tensor, index).float() for tensor in tensors])], enter)
        else:
            for row, tensor in zip(rows, tensors, strict=True):
                row[place.columns] = _kept(tensor, place.index)

    def add_packed(self, packed: Packed, rates: Mapping[Tensor, Any]) -> None:
        """``add``, of several parameters whose steps were split together."""
        if not answers.waits(packed.rows):
            self._enter_packed(packed, rates)
            return

        def enter(read: Arrays) -> None:
            packed.read(*read)
            self._enter_packed(packed, rates)

        self._later.add([packed.rows, packed.thetas], enter)

    def _enter_packed(self, packed: Packed, rates: Mapping[Tensor, Any]) -> None:
        place, values = self._shape.pack(packed.pack), self.values
        tasks = [self._tasks[name] for name in packed.pack.names]
        values["learning_rate/value"][place.layers] = [float(rates[p]) for p in place.first]
        columns, source = place.columns, place.source
        for path, rows in (("gradient/gradient", packed.gradients), ("update/update", packed.shares)):
            for task, row in zip(tasks, rows, strict=False):
                values[path][task, columns] = row[source]
        if self._averages is not None:
            self._averages.take_packed(packed, tasks)
        per_coord = ("gradient/total", "update/total", "update/residual", "update/unattributed", "update/decay")
        for path, row in zip(per_coord, (*packed.numbers[:2], *packed.shares[len(tasks) :]), strict=True):
            values[path][columns] = row[source]
        self._packed_statistics(place, packed, tasks)
        closure, rounding = packed.closures()
        known = ~np.isnan(closure)
        with np.errstate(invalid="ignore"):
            # A step that is not far above the spacing of theta cannot be known better than that spacing.
            excess = np.fmax(closure - rounding, 0.0)[known]
        if len(excess):
            values["closure"] = np.fmax(values["closure"], excess.max())
        for i in np.flatnonzero(~known):
            # Not finite: it has no parts.
            known_place = self._shape.places[packed.pack.members[i]]
            values["update/update"][:, known_place.columns] = np.nan
            values["layer/task"][known_place.layer, :, _OF_TASK["update_sq"]] = np.nan

    def _packed_statistics(self, place: PackPlace, packed: Packed, tasks: Sequence[int]) -> None:
        wide = packed.numbers.astype(np.float64)
        k, layers = len(tasks), place.layers
        ends = [*place.starts[1:].tolist(), wide.shape[1]]
        runs = [wide[: 2 + k, start:end] for start, end in zip(place.starts.tolist(), ends, strict=True)]
        with np.errstate(invalid="ignore"):  # of gradients that are not finite
            grams = np.stack([run @ run.T for run in runs])
        squares = np.add.reduceat(np.square(wide[2 + k :]), place.starts, axis=1)
        # Of what each part was fed, the tasks' are in the Gram matrix.
        residual, _, _, unexplained, *shares = squares
        of_total: dict[str, npt.NDArray[np.float64]] = {
            "gradient_sq": grams[:, 0, 0], "update_sq": grams[:, 1, 1], "gradient_dot_update": grams[:, 0, 1],
            "residual_gradient_sq": residual, "unexplained_gradient_sq": unexplained,
            "residual_sq": shares[k], "unattributed_sq": shares[k + 1], "decay_sq": shares[k + 2],
        }  # fmt: skip
        places = np.array([_OF_TOTAL[name] for name in of_total])
        place.add(self.values["layer/total"], (places,), np.stack(list(of_total.values()), axis=-1))
        products = {"gradient_sq": np.diagonal(grams, axis1=1, axis2=2)[:, 2:], "gradient_dot_update": grams[:, 1, 2:]}
        products["update_sq"] = np.transpose(shares[:k]) if k else np.zeros((len(layers), 0))
        here = np.array(tasks, dtype=np.int64)
        places = np.array([_OF_TASK[name] for name in products])
        place.add(self.values["layer/task"], (here, places), np.stack(list(products.values()), axis=-1))
        place.add(self.values["layer/gram"], (here, here), grams[:, 2:, 2:])

    def _statistics(
        self, layer: int, total: Tensor, gradient: GradientSplit, step: StepSplit, *, additive: bool
    ) -> None:
        """Add the inner products over all coordinates of the parameter to those of its layer."""
        flat, squared, of = self._to_multiply(total, gradient, step)
        tasks = [self._tasks[name] for name in gradient.tasks]
        if answers.waits(total):
            n = len(flat)

            def enter(read: Arrays) -> None:
                gram, squares = np.split(read[0], [n * n])
                self._enter_statistics(layer, tasks, of, gram.reshape(n, n), squares, additive=additive)

            self._later.add([products_on_device(flat, squared)], enter)
        else:
            self._enter_statistics(layer, tasks, of, *self._shape.products.of(flat, squared), additive=additive)

    @staticmethod
    def _to_multiply(
        total: Tensor, gradient: GradientSplit, step: StepSplit
    ) -> tuple[list[Tensor], list[Tensor], list[tuple[str, str]]]:
        """What all inner products are wanted of, what squares are wanted of, and what these are."""
        beside: list[tuple[str, str, Tensor | None]] = [("update", name, each) for name, each in step.tasks.items()]
        beside += [("solo", name, tensor) for name, tensor in step.solo.items()]
        beside += [("part", "residual_gradient_sq", gradient.residual), ("part", "residual_sq", step.residual)]
        beside += [("part", "unattributed_sq", step.unattributed), ("part", "decay_sq", step.decay)]
        beside += [("part", "outside_sq", step.outside), ("part", "unexplained_gradient_sq", gradient.unexplained)]
        present = [(kind, name, tensor) for kind, name, tensor in beside if tensor is not None]
        flat, squared = [total, step.total, *gradient.tasks.values()], [tensor for _, _, tensor in present]
        return flat, squared, [(kind, name) for kind, name, _ in present]

    def _enter_statistics(
        self,
        layer: int,
        tasks: Sequence[int],
        of: Sequence[tuple[str, str]],
        gram: npt.NDArray[np.float64],
        squares: npt.NDArray[np.float64],
        *,
        additive: bool,
    ) -> None:
        """Add inner products of the total, the step and these tasks' gradients, and squares of what is named so."""
        sums = self.values["layer/total"][layer]
        sums[_OF_TOTAL["gradient_sq"]] += gram[0, 0]
        sums[_OF_TOTAL["update_sq"]] += gram[1, 1]
        sums[_OF_TOTAL["gradient_dot_update"]] += gram[0, 1]
        of_tasks = self.values["layer/task"][layer]
        for (kind, name), square in zip(of, squares, strict=True):
            if kind == "part":
                sums[_OF_TOTAL[name]] += square
            else:
                of_tasks[self._tasks[name], _OF_TASK[f"{kind}_sq"]] += square
        of_tasks[tasks, _OF_TASK["gradient_sq"]] += gram.diagonal()[2:]
        of_tasks[tasks, _OF_TASK["gradient_dot_update"]] += gram[1, 2:]
        self.values["layer/gram"][layer][np.ix_(tasks, tasks)] += gram[2:, 2:]
        if not additive:
            self.values["layer/task"][layer, :, _OF_TASK["update_sq"]] = np.nan


def _kept(tensor: Tensor, index: Tensor) -> npt.NDArray[np.float32]:
    return np.asarray(_chosen(tensor, index.to(tensor.device)).float().cpu().numpy())


def _chosen(tensor: Tensor, index: Tensor) -> Tensor:
    flat = tensor.detach().reshape(-1)
    return flat if len(index) == flat.numel() else flat.index_select(0, index)
