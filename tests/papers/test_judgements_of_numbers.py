"""Claims of single figures and tables that are judged from numbers: given here on both sides of each criterion."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from papers.made import timed
from papers.test_judgements import OTHERS, judged, synthetic

from dominance.papers.adatask import buckets as adatask_buckets
from dominance.papers.adatask import learning as adatask_learning
from dominance.papers.adatask import real_data as adatask_real_data
from dominance.papers.adatask import tables as adatask_tables
from dominance.papers.material import Material
from dominance.papers.mocograd import methods as mocograd_methods
from dominance.papers.mocograd import tables as mocograd_tables
from dominance.papers.pub import scores as pub_scores
from dominance.papers.pub import statistics as pub_statistics


def deltas(name: str, **found: tuple[float, float]) -> Material:
    """A table's Δ: label -> mean and half of its interval."""
    material = Material([])
    each = {
        label: xr.Dataset({"delta": mean, "low": mean - half, "high": mean + half})
        for label, (mean, half) in found.items()
    }
    material.once((name, "deltas"), lambda: each)
    return material


@pytest.mark.parametrize(
    ("gradnorm", "outcome"),
    [((0.4, 0.1), "reproduced"), ((0.4, 0.3), "partly"), ((0.6, 0.2), "not reproduced")],
)
def test_gradnorm_is_the_best_of_the_others(monkeypatch, gradnorm, outcome):
    errors = {**OTHERS, "gradnorm": gradnorm, "adatask": (0.1, 0.1)}
    found = judged(adatask_tables.ITEMS, "adatask-gradnorm-next", synthetic(monkeypatch, **errors))
    assert found.outcome == outcome


@pytest.mark.parametrize(
    ("even", "outcome"),
    [((0.99, 0.98), "reproduced"), ((0.97, 0.99), "partly"), ((0.7, 0.99), "not reproduced")],
)
def test_adatask_evens_out_every_layer(monkeypatch, even, outcome):
    shares = np.zeros((3, 2, 5))
    shares[..., 2] = even
    monkeypatch.setattr(
        adatask_buckets, "last_shares", lambda *_: xr.DataArray(shares, dims=("run", "layer", "bucket"))
    )
    assert judged(adatask_buckets.ITEMS, "adatask-even-layers", Material([])).outcome == outcome


@pytest.mark.parametrize(("tasks", "bucket"), [(("finish", "like"), 2), (("weeks", "a", "b"), 1)])
@pytest.mark.parametrize(
    ("embedding", "mlp", "outcome"),
    [(0.5, 0.95, "reproduced"), (0.92, 0.95, "partly"), (0.5, 0.4, "partly"), (0.97, 0.95, "not reproduced")],
)
def test_adatask_leaves_embeddings_uneven(monkeypatch, embedding, mlp, outcome, tasks, bucket):
    share = np.zeros((1, 1, 2, 5))
    share[..., bucket] = embedding, mlp
    data = xr.Dataset(
        {"share": (("step", "task", "layer", "bucket"), share)},
        {
            "task": [tasks[0]],
            "layer": ["embedding", "mlp"],
            "lower": ("bucket", np.linspace(0, 0.8, 5)),
            "upper": ("bucket", np.linspace(0.2, 1, 5)),
        },
    )
    benchmark = {"finish": "tiktok", "weeks": "census"}[tasks[0]]
    run = xr.DataTree(xr.Dataset(attrs={"benchmark": benchmark, "tasks": list(tasks)}))
    material = Material([])
    monkeypatch.setattr(material, "select", lambda **_: [run])
    monkeypatch.setattr(adatask_real_data, "rau_buckets", lambda *_, **__: data)
    assert judged(adatask_real_data.ITEMS, "adatask-embeddings", material).outcome == outcome


@pytest.mark.parametrize(("adatask_ratio", "outcome"), [(1.1, "reproduced"), (1.35, "partly"), (1.6, "not reproduced")])
def test_adatask_takes_the_least_time(tmp_path, adatask_ratio, outcome):
    ratios = {"equal_weight": 1.0, "pcgrad": 1.2, "gradnorm": 1.3, "cagrad": 1.4, "mgda": 1.5}
    material = Material([timed(tmp_path / "t", "cityscapes", "mtan", **ratios, adatask=adatask_ratio)])
    assert judged(adatask_learning.ITEMS, "adatask-time-least", material).outcome == outcome


@pytest.mark.parametrize(
    ("dwa", "outcome"),
    [((0.1, 0.05), "reproduced"), ((0.1, 0.2), "partly"), ((-0.1, 0.05), "not reproduced")],
)
def test_all_methods_improve_on_qm9(dwa, outcome):
    material = deltas("mocograd-table2-qm9", DWA=dwa, MoCoGrad=(0.2, 0.1))
    assert judged(mocograd_tables.ITEMS, "mocograd-qm9-joint", material).outcome == outcome


@pytest.mark.parametrize(
    ("mgda", "outcome"), [((-0.1, 0.05), "reproduced"), ((-0.1, 0.2), "partly"), ((0.1, 0.05), "partly")]
)
def test_mgda_and_cagrad_are_below_single_tasks(mgda, outcome):
    material = deltas("mocograd-fig5", MGDA=mgda, CAGrad=(-0.1, 0.05))
    assert judged(mocograd_methods.ITEMS, "mocograd-below-stl", material).outcome == outcome
    above = deltas("mocograd-fig5", MGDA=(0.1, 0.0), CAGrad=(0.0, 0.0))
    assert judged(mocograd_methods.ITEMS, "mocograd-below-stl", above).outcome == "not reproduced"


@pytest.mark.parametrize(("outer", "outcome"), [(0.1, "reproduced"), (0.3, "partly"), (0.4, "not reproduced")])
def test_lambdas_outside_are_worse(outer, outcome):
    found = {f"{lam:g}": (0.2 + lam if 0.06 <= lam <= 0.13 else outer, 0.1) for lam in mocograd_methods.LAMBDAS}
    found["0.02"] = (0.1, 0.1)
    assert judged(mocograd_methods.ITEMS, "mocograd-lambda-range", deltas("mocograd-fig9", **found)).outcome == outcome


@pytest.mark.parametrize(
    ("b", "outcome"),
    [((1.0, 0.9, 0.8), "reproduced"), ((1.0, 0.8, 0.85), "partly"), ((1.0, 0.8, 1.8), "not reproduced")],
)
def test_the_loss_falls_in_every_epoch(b, outcome):
    loss = xr.Dataset(
        {"loss": (("method", "task", "epoch"), [[(1.0, 0.9, 0.7), b]])},
        {"method": ["MoCoGrad"], "task": ["A", "B"], "epoch": [0, 1, 2]},
    )
    material = Material([])
    material.once("losses", lambda: loss)
    assert judged(mocograd_methods.ITEMS, "mocograd-loss-falls", material).outcome == outcome


def aucs(**found: float) -> Material:
    """Average AUC of each row of PUB's Table III; five seeds, 0.001 apart, but for PUB's."""
    each = {label: found.get(label, 0.5) for label in ("MMOE", "MMOE + PUB", *pub_scores.BASELINES)}
    material = Material([])
    values = {label: mean + 0.001 * np.arange(5) for label, mean in each.items()}
    values["MMOE + PUB"] = each["MMOE + PUB"] + found.get("wide", 0.0) * np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    material.once(
        ("pub-table3", "averages", "auc"),
        lambda: {label: xr.DataArray(one, {"seed": range(5)}, "seed") for label, one in values.items()},
    )
    return material


@pytest.mark.parametrize(
    ("pub", "wide", "outcome"),
    [(0.6, 0.001, "reproduced"), (0.6, 0.3, "partly"), (0.4, 0.001, "not reproduced")],
)
def test_pub_is_above_the_backbone(pub, wide, outcome):
    material = aucs(**{"MMOE + PUB": pub, "wide": wide})
    assert judged(pub_scores.ITEMS, "pub-table3-backbone", material).outcome == outcome


@pytest.mark.parametrize(("above", "outcome"), [(1, "reproduced"), (5, "partly"), (6, "not reproduced")])
def test_few_of_the_others_are_above_the_backbone(above, outcome):
    assert len(pub_scores.BASELINES) == 10
    material = aucs(**dict.fromkeys(pub_scores.BASELINES[:above], 0.6))
    found = judged(pub_scores.ITEMS, "pub-table3-baselines", material)
    assert (found.outcome, found.evidence[:7]) == (outcome, f"{above} of 10"[:7])


@pytest.mark.parametrize(
    ("better", "outcome"),
    [(("PUB + AdaTask",), "reproduced"), (("PUB + AdaTask", "FAMO"), "partly"), (("FAMO",), "not reproduced"),
     (("PUB + AdaTask", "PUB"), "reproduced")],
)  # fmt: skip
def test_pub_with_adatask_is_the_first_above_single_tasks_in_everything(better, outcome):
    rows = [row.label for row in pub_scores.TABLE7.rows]
    scores = {
        label: {("A", "auc"): 0.6, ("B", "auc"): 0.6 if label in better else 0.5} for label in rows if label != "STL"
    }
    material = Material([])
    material.once(("pub-table7", "means"), lambda: {"STL": {("A", "auc"): 0.5, ("B", "auc"): 0.5}, **scores})
    assert judged(pub_scores.ITEMS, "pub-rooms-all-metrics", material).outcome == outcome


@pytest.mark.parametrize(
    ("t", "p", "outcome"),
    [((-3, -3, 3), 0.01, "reproduced"), ((-3, -3, 3), 0.2, "partly"), ((-3, -3, -3), 0.01, "partly"),
     ((3, 3, 3), 0.01, "not reproduced")],
)  # fmt: skip
def test_similarities_on_shared_parameters_have_the_papers_signs(t, p, outcome):
    dims = ("test", "similarity", "method_name")
    data = xr.Dataset(
        {"t": (dims, [[list(t)]]), "p": (dims, [[[p] * 3]])},
        {"test": ["student"], "similarity": ["sim_shared"], "method_name": ["mgda", "imtl-g", "nash-mtl"]},
    )
    material = Material([])
    material.once("tests", lambda: data)
    assert judged(pub_statistics.ITEMS, "pub-similarity-signs", material).outcome == outcome


@pytest.mark.parametrize(
    ("nash", "spread", "outcome"),
    [(0.9, 0.01, "reproduced"), (0.9, 1.0, "partly"), (0.1, 0.01, "partly")],
)
def test_diff_is_higher_than_with_equal_weights(monkeypatch, nash, spread, outcome):
    means = {"equal-weight": 0.5, "mgda": 0.9, "imtl-g": 0.9, "nash-mtl": nash}
    methods = [method for method in means for _ in range(3)]
    values = [means[method] + spread * offset for method in means for offset in (-1, 0, 1)]
    runs = {str(i): xr.DataTree(xr.Dataset(attrs={"method": method})) for i, method in enumerate(methods)}
    monkeypatch.setattr(pub_statistics, "study", lambda _: runs)
    material = Material([])
    material.once("alignment", lambda: xr.Dataset({"diff_of_means": ("run", values)}))
    assert judged(pub_statistics.ITEMS, "pub-diff-higher", material).outcome == outcome
