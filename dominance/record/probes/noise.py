"""NoiseProbe: how well a model does when noise is added to chosen parameters (AdaTask, Fig. 1)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dominance.errors import BadOption, ProbeFailed
from dominance.record.evaluation import Evaluate, Evaluation
from dominance.record.probes.checkpoints import StateDict, fitted
from dominance.record.probes.restore import LiveModel, restored

Scores = dict[str, dict[str, float]]
T = TypeVar("T", bound="NoiseProbe")


class NoiseProbe:
    """Evaluates a model as it is, and with noise on chosen parameters; the model is the same afterwards, to the bit.

    Every evaluation starts from the same random states of torch, Python and numpy, so that one that draws numbers from
    them gives the same result again. See ``restored`` for what is put back; what ``evaluate`` prints is dropped.

    Args:
        model: the module that was recorded, wrapped (DataParallel, torch.compile) or not.
        evaluate: from the model to {task: {metric: value}}, as in ``dominance.evaluate``.
        higher_is_better: for each metric, which direction is better.
        state_dict: evaluate these parameters and buffers in place of the model's own: a ``state_dict()``, or the path
            of a file that ``torch.save`` made of one.

    Raises:
        BadOption: ``state_dict`` does not fit the model (says which parameter first), or cannot be read.

    >>> import numpy as np, torch
    >>> model = torch.nn.Linear(2, 1, bias=False)
    >>> with torch.no_grad():
    ...     _ = model.weight.copy_(torch.tensor([[3.0, 4.0]]))
    >>> probe = NoiseProbe(model, lambda model: {"a": {"first": model.weight[0, 0].item()}})
    >>> probe.baseline()
    {'a': {'first': 3.0}}
    >>> changed = probe.change({"weight": np.array([0])}, deviation=0.1, seed=0)
    >>> round(changed["a"]["first"], 4), model.weight.tolist()
    (3.0126, [[3.0, 4.0]])
    """

    def __init__(
        self,
        model: nn.Module,
        evaluate: Evaluate,
        *,
        higher_is_better: Mapping[str, bool] | None = None,
        state_dict: StateDict | str | os.PathLike[str] | None = None,
    ) -> None:
        self._live = LiveModel.of(model)
        self._evaluate = evaluate
        self.higher_is_better = dict(higher_is_better or {})
        self._values = None if state_dict is None else fitted(model, state_dict)

    @classmethod
    def of(cls: type[T], live: LiveModel, evaluation: Evaluation) -> T:
        """A probe of what a recording saw: several modules, say, or tensors that no module owns."""
        probe = cls.__new__(cls)
        probe._live, probe._evaluate, probe._values = live, evaluation.fn, None
        probe.higher_is_better = dict(evaluation.higher_is_better)
        return probe

    def baseline(self) -> Scores:
        """The metrics of the model as it is.

        Raises:
            ProbeFailed: ``evaluate`` raised, or returned something else than numbers by task and metric.
        """
        return self.change({}, 0.0, 0)

    def change(self, chosen: Mapping[str, NDArray[np.integer[Any]]], deviation: float, seed: int) -> Scores:
        """The metrics when noise from N(0, deviation²) is added to these parameters.

        The noise has a generator of its own, and goes to the entries in the order in which they are given: another
        choice of as many entries gets the same numbers, and another deviation the same numbers to scale.

        Args:
            chosen: name of a parameter -> flat (row-major) indices into it, each once.
            deviation: standard deviation of the noise, in the units of the parameters.
            seed: of the noise.

        Raises:
            BadOption: no such parameter or entry, or a complex one.
            ProbeFailed: as :meth:`baseline`.
        """
        places = {name: self._places(name, np.asarray(indices)) for name, indices in chosen.items()}
        noise = deviation * np.random.default_rng(seed).standard_normal(sum(len(at[0]) for at in places.values()))
        with restored(self._live):
            if self._values is not None:
                self._values.load()
            start = 0
            with torch.no_grad():
                for name, at in places.items():
                    _add(self._live.parameters[name].data, at, noise[start : start + len(at[0])])
                    start += len(at[0])
            return self._scores()

    def _places(self, name: str, indices: NDArray[np.integer[Any]]) -> tuple[Tensor, ...]:
        """Entries of a parameter as an index for each of its dims."""
        parameter = self._live.parameters.get(name)
        if parameter is None:
            raise BadOption(f"the model has no parameter {name!r}", fix="probe the model that was recorded")
        if parameter.is_complex():
            raise BadOption(f"{name} is complex, and noise is real", fix="choose other parameters")
        size = parameter.numel()
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < size:
            raise BadOption(f"{name} has {size} entries, not {int(indices.max()) + 1}", fix="probe the recorded model")
        shape = tuple(parameter.shape) or (1,)
        return tuple(torch.from_numpy(at.astype(np.int64)) for at in np.unravel_index(indices.astype(np.int64), shape))

    def _scores(self) -> Scores:
        try:
            found = self._evaluate(self._live.argument)
        except (Exception, SystemExit) as error:
            # The user's own code: whatever it raises is said in our words, with its own behind them.
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            raise ProbeFailed(f"the function given to evaluate raised {text}", fix="mend that function") from error
        return _checked(found)


def _add(values: Tensor, at: tuple[Tensor, ...], noise: NDArray[np.float64]) -> None:
    """Add in float32 where the parameter is of half precision: each entry is rounded once."""
    whole = values.view(1) if values.dim() == 0 else values
    inside = tuple(part.to(values.device) for part in at)
    wide = torch.float32 if values.dtype in (torch.float16, torch.bfloat16) else values.dtype
    added = torch.from_numpy(noise).to(values.device, wide)
    whole[inside] = (whole[inside].to(wide) + added).to(values.dtype)


def _checked(found: Any) -> Scores:
    """Numbers by task and metric.

    Raises:
        ProbeFailed: something else.
    """
    if isinstance(found, Mapping) and found and all(isinstance(metrics, Mapping) for metrics in found.values()):
        try:
            scores = {
                str(task): {str(name): float(value) for name, value in metrics.items()}
                for task, metrics in found.items()
            }
        except (TypeError, ValueError, RuntimeError):
            scores = {}
        if any(scores.values()):
            return {task: metrics for task, metrics in scores.items() if metrics}
    got = repr(found)
    raise ProbeFailed(
        f"the function given to evaluate returned {got if len(got) < 80 else got[:77] + '...'}",
        fix='return numbers by task and metric, like {"click": {"auc": 0.7}}',
    )
