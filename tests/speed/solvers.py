"""Weights from a Gram matrix: ours against TorchJD's, medians of calls that take turns, on the same matrices.

Run it by itself: python tests/speed/solvers.py [matrices]. It prints medians and ratios, and asserts nothing.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from statistics import median

import numpy as np
import numpy.typing as npt
import torch
from torchjd.aggregation import CAGradWeighting, IMTLGWeighting, MGDAWeighting
from torchjd.aggregation import NashMTL as TheirNashMTL

from dominance.optim.combiners.cagrad import CAGrad
from dominance.optim.combiners.imtl_g import IMTLG
from dominance.optim.combiners.mgda import MGDA
from dominance.optim.combiners.nash_mtl import NashMTL
from dominance.optim.engine.combiner import Weighting
from dominance.optim.solvers.bargaining import solve
from dominance.optim.solvers.sequential import solve_sequential

AIMS = {"Nash-MTL": 50, "PUB": 50, "CAGrad": 10, "MGDA": 1}


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


class Peers:
    """Ours and theirs for K tasks. TorchJD's Nash-MTL keeps its compiled problem from call to call."""

    def __init__(self, k: int) -> None:
        self.tasks, self.losses = tuple("abcdefgh"[:k]), np.ones(k)
        self.nash = TheirNashMTL(n_tasks=k)
        self.cagrad, self.mgda, self.imtl = CAGradWeighting(c=0.4), MGDAWeighting(), IMTLGWeighting()

    def calls(self, g: npt.NDArray[np.float64]) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
        """Ours and theirs, by method, on the gradients G, shape (K, N)."""
        gram = g @ g.T
        matrix, gramian = torch.from_numpy(g), torch.from_numpy(gram)

        def ours(method: Weighting) -> Callable[[], object]:
            return lambda: method.weights(gram, self.losses, self.tasks)

        def nash() -> object:
            return self.nash.weighting(matrix)

        return {
            "Nash-MTL": (ours(NashMTL()), nash),
            "PUB": (lambda: solve(gram), nash),
            "PUB, sequential": (lambda: solve_sequential(gram), nash),
            "CAGrad": (ours(CAGrad()), lambda: self.cagrad(gramian)),
            "MGDA": (ours(MGDA()), lambda: self.mgda(gramian)),
            "IMTL-G": (ours(IMTLG()), lambda: self.imtl(gramian)),
        }


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    rng = np.random.default_rng(0)
    for k in (2, 3, 4, 8):
        peers = Peers(k)
        times: dict[str, list[tuple[float, float]]] = {}
        for turn in range(count + 2):
            calls = peers.calls(rng.standard_normal((k, 50)) * 10 ** rng.uniform(-1, 1, (k, 1)))
            for name, (ours, theirs) in calls.items():
                spent = (seconds(ours), seconds(theirs))
                if turn >= 2:
                    times.setdefault(name, []).append(spent)
        for name, pairs in times.items():
            mine, other = (median(column) for column in zip(*pairs, strict=True))
            ratio = median(b / a for a, b in pairs)
            aim = f"  (aim {AIMS[name]})" if name in AIMS else ""
            print(
                f"K={k} {name:16} {1e6 * mine:7.0f} us, TorchJD {1e6 * other:7.0f} us, {ratio:6.1f} times as fast{aim}"
            )


if __name__ == "__main__":
    main()
