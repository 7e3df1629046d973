"""Any weighting of TorchJD that needs the Gram matrix alone, as a combiner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from dominance.errors import MissingData
from dominance.optim.engine.combiner import Weighting
from dominance.optim.engine.task_gradients import Matrix


class TorchJDWeighting(Weighting):
    """The weights that a weighting of TorchJD gives to the Gram matrix. See ``from_torchjd``."""

    def __init__(self, weighting: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.weighting = weighting

    def weights(self, gram: Matrix, losses: Matrix, tasks: Sequence[str]) -> Matrix:
        """What TorchJD returns, as float64."""
        found = self.weighting(torch.from_numpy(np.array(gram, dtype=np.float64)))
        return found.detach().to(torch.float64).cpu().numpy()

    def __repr__(self) -> str:
        return f"from_torchjd({self.weighting!r})"


def from_torchjd(weighting: Any) -> TorchJDWeighting:
    """A combiner out of a weighting or an aggregator of TorchJD, if it needs the Gram matrix G Gᵀ alone.

    TorchJD is asked for its weights with the Gram matrix in float64 on the CPU. Parameters of one task alone are fed
    their plain gradients. What a weighting of TorchJD remembers, or draws from torch's global generator, is its own
    affair: it is not in ``state_dict``.

    Args:
        weighting: such as ``torchjd.aggregation.UPGradWeighting()``, or ``UPGrad()``, whose weighting is taken.

    Raises:
        MissingData: TorchJD is not installed.
        TypeError: it is neither, or it needs the gradients themselves (NashMTL, GradDrop, ConFIG, TrimmedMean).

    Source: TorchJD, Quinton and Rey 2024, "Jacobian Descent for Multi-Objective Optimization".
    """
    try:
        from torchjd.aggregation import Aggregator, GramianWeightedAggregator
        from torchjd.aggregation import Weighting as TheirWeighting
        from torchjd.linalg import PSDMatrix
    except ImportError as error:
        raise MissingData("TorchJD is not installed", fix='pip install "torchjd[full]"') from error
    name = type(weighting).__name__
    if isinstance(weighting, type):
        raise TypeError(f"{weighting.__name__} is a class; give an instance of it, {weighting.__name__}()")
    if isinstance(weighting, GramianWeightedAggregator):
        return TorchJDWeighting(weighting.gramian_weighting)
    if isinstance(weighting, Aggregator):
        raise TypeError(f"{name} of TorchJD needs the gradients themselves, not their Gram matrix alone")
    if not isinstance(weighting, TheirWeighting):
        raise TypeError(f"{name} is no weighting or aggregator of TorchJD")
    if not _takes(weighting, PSDMatrix):
        raise TypeError(f"{name} of TorchJD needs the gradients themselves, not their Gram matrix alone")
    return TorchJDWeighting(weighting)


def _takes(weighting: Any, kind: type) -> bool:
    """Whether a weighting is declared for this kind of matrix: ``Weighting[kind]`` is among its bases."""
    bases = [base for each in type(weighting).__mro__ for base in getattr(each, "__orig_bases__", ())]
    return any(kind in getattr(base, "__args__", ()) for base in bases)
