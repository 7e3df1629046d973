"""Do a method's updates follow its gradients otherwise than those of equal weighting? (PUB, Table I)"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

from dominance.analyse.kernels.holm import holm
from dominance.analyse.kernels.t_test import mean, student, welch
from dominance.analyse.runs import Runs
from dominance.analyse.study.about import labels
from dominance.analyse.study.experiments import aligned, experiments
from dominance.errors import BadOption

TESTS = ("student", "welch", "paired")


def similarity_t_tests(
    study: Runs,
    *,
    reference: str = "equal-weight",
    within: Sequence[str] = ("benchmark", "architecture"),
    alignments: xr.Dataset | None = None,
) -> xr.Dataset:
    """t-tests of the mean Sim_task and Sim_share of each method against a reference method (PUB, Table I).

    The paper's is Student's test of independent samples, over all trainings of a method, whatever their benchmark and
    architecture. Beside it: Welch's, which does not take the variances for equal; and the paired one, over trainings of
    the same benchmark, architecture and seed, whose differences are free of what these have in common. Holm's
    correction is over the methods, for each test and similarity.

    Args:
        study: runs of several methods.
        reference: the method that the others are compared with.
        within: facts in which a pair of the paired test agrees, besides the seed.
        alignments: ``alignment(study)``, if it is there already.

    Returns:
        - ``mean``, ``n`` (method_name, similarity): the reference first; similarities are "sim_task" and "sim_shared"
        - ``t``, ``p``, ``p_holm`` (test, method_name, similarity): "student", "welch", "paired"; positive t: higher
          than the reference. NaN for the reference, and with too few runs.
        - ``n_pairs`` (method_name)

    Raises:
        BadOption: there is no run of the reference, or of another method.
    """
    runs, table = experiments(study, within)
    table = table.join(aligned(runs, alignments, ["sim_task", "sim_shared"]))
    methods = list(dict.fromkeys(table["method"]))
    if reference not in methods or len(methods) < 2:
        raise BadOption(
            f"there are runs of {', '.join(methods)}, to be compared with {reference}", fix="say reference=..."
        )
    methods = [reference, *(method for method in methods if method != reference)]
    names = ["sim_task", "sim_shared"]
    shape = (len(TESTS), len(methods), len(names))
    t, p = np.full(shape, np.nan), np.full(shape, np.nan)
    pairs = np.zeros(len(methods), dtype=np.int64)
    base = table[table["method"] == reference]
    for i, method in enumerate(methods[1:], start=1):
        own = table[table["method"] == method]
        both = _paired(own, base)
        pairs[i] = len(both)
        for j, name in enumerate(names):
            x, y = own[name].dropna().to_numpy(float), base[name].dropna().to_numpy(float)
            difference = (both[f"{name}_own"] - both[f"{name}_base"]).dropna().to_numpy(float)
            for k, found in enumerate((student(x, y), welch(x, y), mean(difference))):
                t[k, i, j], p[k, i, j] = found.t, found.p
    corrected = np.stack([np.stack([holm(of) for of in test.T], axis=1) for test in p])
    grouped = table.groupby("method")[names]
    dims = ("method_name", "similarity")
    return xr.Dataset(
        {
            "mean": (dims, grouped.mean().loc[methods].to_numpy(float)),
            "n": (dims, grouped.count().loc[methods].to_numpy(np.int64)),
            "t": (("test", *dims), t),
            "p": (("test", *dims), p),
            "p_holm": (("test", *dims), corrected),
            "n_pairs": ("method_name", pairs),
        },
        coords={"test": labels(TESTS), "method_name": labels(methods), "similarity": labels(names)},
        attrs={"reference": reference, "within": list(within)},
    )


def _paired(own: pd.DataFrame, base: pd.DataFrame) -> pd.DataFrame:
    """Rows of both with the same stratum and seed, where each has one; suffixes _own and _base."""
    keys = ["stratum", "seed"]
    sides = [side.dropna(subset=["seed"]).drop_duplicates(keys, keep=False) for side in (own, base)]
    return sides[0].merge(sides[1], on=keys, suffixes=("_own", "_base"))
