"""noise_importance against a probe whose answers are worked out from what it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import make_run, planted_rows, write_run

from dominance import noise_importance, open_run
from dominance.analyse.noise_specificity import add_specificity
from dominance.errors import BadOption, NothingRecorded
from dominance.schema import Parameter

# Two shared layers of 10 and a private one; task a moves the first half of each shared layer, b the second.
PARAMETERS = [
    Parameter("x.weight", "x", (2, 5), ("a", "b")),
    Parameter("y.weight", "y", (10,), ("a", "b")),
    Parameter("head.weight", "head", (3,), ("a",)),
]


def halves(**options: Any) -> Any:
    updates = np.full((4, 2, 23), 0.1)
    updates[:, 0, [*range(5), *range(10, 15)]] = 1.0
    updates[:, 1, [*range(5, 10), *range(15, 20)]] = 1.0
    updates *= 1 + 0.01 * np.arange(23)  # no two coordinates alike
    updates[:, 1] *= 1 + 0.001 * np.arange(23)
    return updates, {"parameters": PARAMETERS, **options}


class Sums:
    """Metric "error" of a task: 1 + the sum of the squared noise on the parameters that are its own."""

    def __init__(self, own: Mapping[str, Mapping[str, range]], *, drifts: float = 0.0) -> None:
        self.own, self.drifts = own, drifts
        self.higher_is_better: dict[str, bool] = {"error": False}
        self.asked: list[tuple[dict[str, list[int]], float, int]] = []

    def baseline(self) -> dict[str, dict[str, float]]:
        return self.change({}, 0.0, 0)

    def change(self, chosen: Mapping[str, Any], deviation: float, seed: int) -> dict[str, dict[str, float]]:
        self.asked.append(({name: list(map(int, i)) for name, i in chosen.items()}, deviation, seed))
        noise = iter(deviation * np.random.default_rng(seed).standard_normal(sum(map(len, chosen.values()))))
        values = [(name, int(i), next(noise)) for name, inside in chosen.items() for i in inside]
        drift = self.drifts * len(self.asked)
        return {
            task: {"error": 2 + drift + sum(z**2 for name, i, z in values if i in own.get(name, ()))}
            for task, own in self.own.items()
        }


OWN = {
    "a": {"x.weight": range(5), "y.weight": range(5)},
    "b": {"x.weight": range(5, 10), "y.weight": range(5, 10)},
}


def test_noise_on_a_task_s_own_parameters_changes_that_task_alone() -> None:
    updates, options = halves()
    probe = Sums(OWN)
    found = noise_importance(make_run(updates, **options), probe, fractions=(0.5,), variances=(0.04,), repeats=6)
    top = found.change.sel(selection="top", metric="error").isel(setting=0)
    for owner, other in (("a", "b"), ("b", "a")):
        assert (top.sel(owner=owner, task=other) == 0).all()
        for repeat in range(6):  # ten coordinates, and the noise that went to them
            (question,) = {
                seed for chosen, deviation, seed in probe.asked
                if chosen == {name: list(inside) for name, inside in OWN[owner].items()}
                and seed == _seeds(probe)[repeat]
            }  # fmt: skip
            expected = (0.2 * np.random.default_rng(question).standard_normal(10)) ** 2
            assert float(top.sel(owner=owner, task=owner, repeat=repeat)) == pytest.approx(expected.sum() / 2)
    least = found.change.sel(selection="least", metric="error").isel(setting=0)
    assert (least.sel(owner="a", task="a") == 0).all()
    np.testing.assert_array_equal(least.sel(owner="a", task="b"), top.sel(owner="b", task="b"))
    assert found.attrs["evaluations"] == len(probe.asked) == 2 + 6 * 3  # top of a is least of b; one random for both
    assert found.perturbed.values.tolist() == [10]
    assert found.share_perturbed.values.tolist() == [0.5]
    assert found.attrs["coords_shared"] == found.attrs["coords_kept"] == 20
    assert (found.specificity > 0).all()
    assert (found.specificity_lower.sel(against="other tasks") > 0).all()


def _seeds(probe: Sums) -> list[int]:
    return list(dict.fromkeys(seed for chosen, deviation, seed in probe.asked if chosen))


def test_specificity_by_hand() -> None:
    """H(o,o) - controls and - mean of the others, averaged over settings, from the changes of every repeat."""
    updates, options = halves()
    found = noise_importance(make_run(updates, **options), Sums(OWN), fractions=(0.2, 0.5), variances=(0.01, 0.04))
    harm = found.change.sel(metric="error").mean("setting")
    for owner, other in (("a", "b"), ("b", "a")):
        own = harm.sel(owner=owner, task=owner)
        for against, rest in {
            "random": own.sel(selection="random"),
            "least": own.sel(selection="least"),
            "other tasks": harm.sel(owner=owner, task=other, selection="top"),
        }.items():
            difference = (own.sel(selection="top") - rest).values
            assert float(found.specificity.sel(owner=owner, against=against)) == pytest.approx(difference.mean())
            half = 2.7764451051977987 * difference.std(ddof=1) / 5**0.5  # t of 4 degrees of freedom
            upper = float(found.specificity_upper.sel(owner=owner, against=against))
            assert upper == pytest.approx(difference.mean() + half)
    turned = add_specificity(found, {(task, "error"): True for task in ("a", "b")})
    np.testing.assert_allclose(turned.specificity, -found.specificity)
    unknown = add_specificity(found, {("a", "error"): True})
    assert "specificity" not in unknown
    assert unknown.attrs["directions_missing"] == ["error"]


def test_the_paper_s_grid() -> None:
    updates, options = halves()
    found = noise_importance(make_run(updates, **options), Sums(OWN), repeats=1)
    assert list(zip(found.fraction.values, found.variance.values.round(9), strict=True)) == [
        (0.01, 0.01), (0.01, 0.02), (0.01, 0.03), (0.01, 0.04), (0.01, 0.05), (0.05, 0.01), (0.1, 0.01), (0.2, 0.01),
    ]  # fmt: skip
    assert found.perturbed.values.tolist() == [1, 1, 1, 1, 1, 1, 2, 4]
    assert np.isnan(found.lower).all()
    full = noise_importance(make_run(updates, **options), Sums(OWN), repeats=1, full=True, deviations=(0.3,))
    assert full.sizes["setting"] == 24
    given = full.sel(setting="5 %, deviation 0.3")
    assert str(given.spread.values) == "deviation"
    assert float(given.variance) == pytest.approx(0.09)


def test_selections_are_paired_and_fractions_are_nested() -> None:
    updates, options = halves()
    probe = Sums(OWN)
    noise_importance(make_run(updates, **options), probe, fractions=(0.1, 0.3), variances=(0.01, 0.04), repeats=2)
    assert len(_seeds(probe)) == 2
    drawn: dict[tuple[int, int], set[tuple[tuple[str, int], ...]]] = {}
    for chosen, _, seed in probe.asked[2:]:
        coords = tuple((name, i) for name, inside in chosen.items() for i in inside)
        drawn.setdefault((seed, len(coords)), set()).add(coords)
    for seed in _seeds(probe):
        for small in drawn[seed, 2]:
            assert any(set(small) <= set(large) for large in drawn[seed, 6])


def test_the_same_seed_is_the_same_result_and_task_order_does_not_matter() -> None:
    updates, options = halves()
    one = noise_importance(make_run(updates, **options), Sums(OWN), seed=3)
    assert one.identical(noise_importance(make_run(updates, **options), Sums(OWN), seed=3))
    assert not one.equals(noise_importance(make_run(updates, **options), Sums(OWN), seed=4))
    turned = noise_importance(make_run(updates[:, ::-1], tasks=["b", "a"], **options), Sums(OWN), seed=3)
    np.testing.assert_array_equal(one.change, turned.change.sel(owner=["a", "b"], task=["a", "b"]))


def test_by_layer_chooses_within_each() -> None:
    updates, options = halves()
    own = {"a": {"x.weight": range(5)}, "b": {"x.weight": range(5, 10)}}  # the second layer matters to nobody
    probe = Sums(own)
    found = noise_importance(
        make_run(updates, **options), probe, fractions=(0.5,), variances=(0.04,), repeats=3, by_layer=True
    )
    assert found.layer.values.tolist() == ["x", "y"]
    assert found.perturbed.values.tolist() == [[5, 5]]
    top = found.mean_change.sel(selection="top", metric="error", owner="a").isel(setting=0)
    assert float(top.sel(layer="x", task="a")) > 0
    assert float(top.sel(layer="x", task="b")) == 0
    assert (top.sel(layer="y") == 0).all()
    assert found.specificity.dims == ("owner", "against", "layer")
    assert float(found.specificity.sel(owner="b", against="least", layer="x")) > 0
    assert all(len(chosen) == 1 for chosen, _, _ in probe.asked[2:])


def test_what_was_never_moved_is_not_chosen_and_a_sample_is_told() -> None:
    updates, _ = halves()
    updates = np.array(updates[:, :, :10])
    updates[:, :, 7:] = 0
    weight = np.full(10, 4.0)
    run = make_run(updates, parameters=[Parameter("x.weight", "x", (40,), ("a", "b"))], coord_weight=weight)
    probe = Sums({"a": {"x.weight": range(40)}, "b": {}})
    found = noise_importance(run, probe, fractions=(1.0,), variances=(0.01,), repeats=2)
    assert all(set(chosen["x.weight"]) == set(range(7)) for chosen, _, _ in probe.asked[2:])
    attrs = found.attrs
    assert (attrs["coords_never_moved"], attrs["coords_kept"], attrs["coords_shared"]) == (3, 10, 40)
    assert found.share_perturbed.values.tolist() == [7 / 40]


def test_an_evaluation_that_varies_is_told_and_averaged() -> None:
    updates, options = halves()
    found = noise_importance(
        make_run(updates, **options), Sums(OWN, drifts=0.5), fractions=(0.1,), variances=(0.01,), repeats=3
    )
    assert found.attrs["evaluation"].startswith("varies")
    assert float(found.baseline.sel(task="a", metric="error")) == pytest.approx(2 + 0.5 * (1 + 2 + 3 + 4 + 5) / 5)


def test_tasks_and_metrics_that_are_missing() -> None:
    class Partial(Sums):
        def change(self, chosen: Mapping[str, Any], deviation: float, seed: int) -> dict[str, dict[str, float]]:
            found = super().change(chosen, deviation, seed)
            return {"a": {"auc": 0.0, **found["a"]}, "stranger": {"error": 1.0}}

    updates, options = halves()
    found = noise_importance(make_run(updates, **options), Partial(OWN), repeats=2)
    assert found.attrs["tasks_not_of_the_run"] == ["stranger"]
    assert found.task.values.tolist() == ["a", "b"]
    assert np.isnan(found.change.sel(task="b")).all()
    assert np.isnan(found.change.sel(metric="auc")).all()  # its baseline is 0
    assert found.attrs["directions_missing"] == ["auc"]
    assert "specificity" not in found
    with pytest.raises(BadOption, match="speaks of c, the run of a, b"):
        noise_importance(make_run(updates, **options), Sums({"c": {}}))


def test_progress_counts_every_evaluation() -> None:
    updates, options = halves()
    told: list[tuple[int, int]] = []
    probe = Sums(OWN)
    noise_importance(make_run(updates, **options), probe, repeats=2, progress=lambda *now: told.append(now))
    assert told == [(i + 1, len(probe.asked)) for i in range(len(probe.asked))]


def test_it_is_kept_in_the_run(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", *planted_rows(steps=4, layers={"x": 10, "y": 10}))
    own = {"price": {"x.weight": range(5)}, "rating": {"y.weight": range(5)}}
    run = open_run(path)
    with pytest.raises(NothingRecorded, match=r"no noise probe was made; call dominance\.evaluate"):
        noise_importance(run)
    found = noise_importance(run, Sums(own), repeats=2)
    assert found.attrs["stored"] == "/probe/noise"
    for source in (run, open_run(path), open_run(path).copy(deep=True)):  # opened before and after
        kept = noise_importance(source)
        assert kept.drop_attrs().load().identical(found.drop_attrs())
        assert kept.attrs == found.attrs
    with pytest.raises(NothingRecorded, match="by layer"):
        noise_importance(run, by_layer=True)
    noise_importance(run, Sums(own), repeats=2, by_layer=True)
    assert noise_importance(run, by_layer=True).layer.values.tolist() == ["x", "y"]
    assert noise_importance(run, tasks="rating").owner.values.tolist() == ["rating"]
    both = noise_importance({"one": run, "two": run})
    assert both.change.dims[0] == "run"
    with pytest.raises(BadOption, match="no probe to try other settings"):
        noise_importance(run, repeats=7)
    again = noise_importance(run, Sums(own), repeats=3, save=False)
    assert again.attrs["stored"] == ""
    assert noise_importance(run).sizes["repeat"] == 2


def test_bad_options() -> None:
    updates, options = halves()
    run = make_run(updates, **options)
    for wrong, says in [
        ({"fractions": (0.0,)}, "fractions: 0.0 is no share"),
        ({"variances": (-1.0,)}, "no variance of -1.0"),
        ({"deviations": (np.inf,)}, "no deviation of inf"),
        ({"variances": ()}, "no setting to probe"),
        ({"repeats": 0}, "repeats=0"),
        ({"tasks": "c"}, "no task 'c'; choose from a, b"),
    ]:
        with pytest.raises(BadOption, match=says):
            noise_importance(run, Sums(OWN), **wrong)  # type: ignore[arg-type]
    with pytest.raises(BadOption, match="belongs to one run"):
        noise_importance({"one": run}, Sums(OWN))
    with pytest.raises(NothingRecorded, match="no task has moved"):
        noise_importance(make_run(np.zeros((2, 2, 3))), Sums(OWN))
