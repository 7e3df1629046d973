from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from optim.problems import Problem

from dominance.errors import MissingData
from dominance.optim import from_torchjd

GRAM = np.array([[1.0, -0.8], [-0.8, 4.0]])


@pytest.mark.filterwarnings("ignore")
def test_weighting_and_its_aggregator_give_what_torchjd_gives() -> None:
    torchjd = pytest.importorskip("torchjd.aggregation")
    pytest.importorskip("quadprog")
    expected = torchjd.UPGradWeighting()(torch.from_numpy(GRAM)).numpy()
    for source in (torchjd.UPGradWeighting(), torchjd.UPGrad()):
        combiner = from_torchjd(source)
        assert combiner.weights(GRAM, np.ones(2), ("a", "b")).tolist() == expected.tolist()
        assert "UPGrad" in repr(combiner)


@pytest.mark.filterwarnings("ignore")
def test_trains_a_network() -> None:
    torch.set_num_threads(1)
    torchjd = pytest.importorskip("torchjd.aggregation")
    problem = Problem()
    from_torchjd(torchjd.AlignedMTL()).backward(problem.losses(), problem.parameters)
    assert all(p.grad is not None for p in problem.parameters)


@pytest.mark.parametrize("name", ["GradDrop", "ConFIG", "TrimmedMean", "NashMTL"])
def test_what_needs_the_gradients_is_refused(name: str) -> None:
    torchjd = pytest.importorskip("torchjd.aggregation")
    arguments = {"TrimmedMean": {"trim_number": 1}, "NashMTL": {"n_tasks": 2}}.get(name, {})
    aggregator = getattr(torchjd, name)(**arguments)
    with pytest.raises(TypeError, match=f"{name} of TorchJD needs the gradients themselves"):
        from_torchjd(aggregator)


def test_a_matrix_weighting_is_refused() -> None:
    torchjd = pytest.importorskip("torchjd.aggregation")
    with pytest.raises(TypeError, match="needs the gradients themselves"):
        from_torchjd(torchjd.UPGrad().weighting)
    with pytest.raises(TypeError, match="needs the gradients themselves"):
        from_torchjd(torchjd.NashMTL(n_tasks=2).weighting)


def test_what_is_none_of_torchjd_is_refused() -> None:
    torchjd = pytest.importorskip("torchjd.aggregation")
    with pytest.raises(TypeError, match="int is no weighting"):
        from_torchjd(3)
    with pytest.raises(TypeError, match=r"give an instance of it, UPGrad\(\)"):
        from_torchjd(torchjd.UPGrad)


def test_without_torchjd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchjd.aggregation", None)
    with pytest.raises(MissingData, match="pip install"):
        from_torchjd(object())
