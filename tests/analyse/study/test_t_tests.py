from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from runs import make_run
from scipy import stats
from studies import scored

from dominance.analyse.alignment import alignment
from dominance.analyse.study.t_tests import similarity_t_tests
from dominance.errors import BadOption

METHODS = ("mgda", "equal-weight", "nash-mtl")


def made(seed: int = 0) -> tuple[dict[str, Any], xr.Dataset]:
    rng = np.random.default_rng(seed)
    runs = {
        f"{method}-{net}-{seed}": scored({"a": {"auc": 1.0}}, method=method, architecture=net, seed=seed)
        for method in METHODS
        for net in ("hps", "ple")
        for seed in (0, 1, 2)
    }
    data = {name: ("run", rng.normal(size=18)) for name in ("mean_sim_task", "mean_sim_shared", "diff_of_means")}
    return runs, xr.Dataset(data, coords={"run": list(runs)})


@pytest.mark.parametrize("seed", range(3))
def test_against_scipy(seed: int) -> None:
    runs, similar = made(seed)
    found = similarity_t_tests(runs, alignments=similar)
    assert found.method_name.values.tolist() == ["equal-weight", "mgda", "nash-mtl"]
    for name in ("sim_task", "sim_shared"):
        values = dict(zip(METHODS, similar[f"mean_{name}"].values.reshape(3, 6), strict=True))
        for method in ("mgda", "nash-mtl"):
            x, y = values[method], values["equal-weight"]
            for test, theirs in {
                "student": stats.ttest_ind(x, y),
                "welch": stats.ttest_ind(x, y, equal_var=False),
                "paired": stats.ttest_rel(x, y),
            }.items():
                one = found.sel(test=test, method_name=method, similarity=name)
                assert (one.t, one.p) == (pytest.approx(theirs.statistic), pytest.approx(theirs.pvalue))
    p = found.p.sel(test="student", similarity="sim_task").values[1:]
    assert found.p_holm.sel(test="student", similarity="sim_task").values[1:].min() == pytest.approx(
        min(2 * p.min(), 1)
    )
    assert np.isnan(found.p.sel(method_name="equal-weight")).all()
    assert found.n_pairs.values.tolist() == [0, 6, 6]
    assert (found.n == 6).all()


def test_pairs_need_a_seed_on_both_sides() -> None:
    runs, similar = made()
    kept = [name for name in runs if name not in ("mgda-hps-1", "equal-weight-ple-2")]
    found = similarity_t_tests({name: runs[name] for name in kept}, alignments=similar)
    assert found.n_pairs.sel(method_name="mgda") == 4
    assert found.n.sel(method_name="mgda", similarity="sim_task") == 5


def test_similarities_are_measured() -> None:
    rng = np.random.default_rng(0)
    runs = {}
    for i, method in enumerate(("equal-weight", "equal-weight", "mgda", "mgda")):
        updates = rng.normal(size=(3, 2, 6))
        updates[:, 1, 4:] = 0
        run = make_run(updates, rng.normal(size=(3, 2, 6)), layers={"trunk": 4, "head": 2}, private={"head": "a"})
        run.attrs |= {"method": method}
        runs[str(i)] = run
    found = similarity_t_tests(runs)
    means = [float(alignment(run).mean_sim_shared) for run in runs.values()]
    theirs = stats.ttest_ind(means[2:], means[:2])
    assert found.p.sel(test="student", method_name="mgda", similarity="sim_shared") == pytest.approx(theirs.pvalue)


def test_no_reference() -> None:
    runs, similar = made()
    with pytest.raises(BadOption, match="say reference="):
        similarity_t_tests(runs, reference="ls", alignments=similar)
