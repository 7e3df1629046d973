"""Weight, scale, frequency and noise as factors, against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from runs import make_run

from dominance.analyse.verdict.causes import Cause, causes, own_weights
from dominance.analyse.verdict.loudness import Loudness, loudness
from dominance.analyse.verdict.words import why


def heard(signal: list[float], noise: list[float], present: list[float] | None = None, **options: object) -> Loudness:
    """Ten windows of ten steps, the same numbers in each but for a ripple of one in a thousand."""
    k = len(signal)
    ripple = 1 + 1e-3 * (-1.0) ** np.arange(10)
    present = present or [1.0] * k
    values = {
        "tasks": list("abcde")[:k],
        "layers": ["low", "top"],
        "present": np.array(present),
        "signal": ripple[:, None, None] * np.array(signal)[None, None, :] / 2 * np.ones((10, 2, k)),
        "noise": ripple[:, None, None] * np.array(noise)[None, None, :] / 2 * np.ones((10, 2, k)),
        "steps": np.full((10, k), 10),
        "touched": np.ones((2, k)),
        "through": 1.0,
        "own_scale": False,
        "weight": np.ones(k),
        "constant": True,
    }
    return Loudness(**(values | options))  # type: ignore[arg-type]


def named(found: list[Cause]) -> dict[str, float]:
    return {cause.name: cause.factor for cause in found}


def test_scale_is_the_ratio_of_signals() -> None:
    found = causes(heard([36.0, 4.0], [18.0, 2.0]), 0, ["low", "top"])
    assert found[0].name == "scale"
    assert found[0].probability > 0.99
    assert named(found) == pytest.approx({"scale": 9, "noise": 1, "frequency": 1}, rel=1e-3)
    assert found[0].evidence["gradient_ratio"] == pytest.approx(3, rel=1e-3)


def test_noise_is_what_the_signal_does_not_explain() -> None:
    # (4 + 76) / (4 + 1) = 16, all of it beyond equal signals
    found = causes(heard([4.0, 4.0], [76.0, 1.0]), 0, ["low", "top"])
    assert named(found) == pytest.approx({"noise": 16, "scale": 1, "frequency": 1}, rel=1e-3)
    assert found[0].evidence == pytest.approx({"noise_share": 0.95, "others": 0.2}, rel=1e-3)
    # Momentum lets a nineteenth through: (4 + 4) / (4 + 1 / 19).
    found = causes(heard([4.0, 4.0], [76.0, 1.0], through=1 / 19), 0, ["low", "top"])
    assert named(found)["noise"] == pytest.approx(8 / (4 + 1 / 19), rel=1e-3)


def test_both_multiply() -> None:
    found = named(causes(heard([8.0, 2.0], [92.0, 2.0]), 0, ["low", "top"]))
    assert found["scale"] * found["noise"] == pytest.approx(25, rel=1e-3)
    assert found["scale"] == pytest.approx(4, rel=1e-3)


def test_a_signal_that_cannot_be_told_from_none_is_noise() -> None:
    loud = heard([0.0, 4.0], [100.0, 1.0])
    wild = loud.signal.copy()
    wild[:, :, 0] = 10.0 * (-1.0) ** np.arange(10)[:, None]  # mean 0, and far apart from window to window
    found = named(causes(replace(loud, signal=wild), 0, ["low", "top"]))
    assert found["scale"] == pytest.approx(1)
    assert found["noise"] == pytest.approx(20, rel=0.05)


def test_scale_is_compared_where_the_softer_ones_have_yet_to_learn() -> None:
    """Equal signals in the first windows; later noise keeps one going to and fro, and the other has learned."""
    loud = heard([4.0, 4.0], [76.0, 1.0])
    signal = loud.signal.copy()
    signal[3:, :, 0], signal[3:, :, 1] = 8.0, 1e-3
    found = named(causes(replace(loud, signal=signal), 0, ["low", "top"]))
    assert found["scale"] == pytest.approx(1, rel=0.02)
    assert found["noise"] > 4


def test_a_signal_counts_as_far_as_it_is_seen() -> None:
    """s = 2 with an error of 0.663, three of them: 2 (1 - (2 / 3.02)²) of it is sure."""
    loud = heard([2.0, 1.0], [100.0, 1.0])
    wavering = loud.signal.copy()
    wavering[:, :, 0] = (2 + (-1.0) ** np.arange(10)[:, None]) / 2
    quiet = loud.noise.copy()
    quiet[:, :, 0] = 50.0
    error = 2 / 0.954 / 10**0.5
    found = named(causes(replace(loud, signal=wavering, noise=quiet), 0, ["low", "top"]))
    assert found["scale"] == pytest.approx(2 * (1 - (2 * error / 2) ** 2), rel=1e-2)


def test_what_was_not_seen_for_want_of_gradients_is_no_noise() -> None:
    """One window of two gradients: 7 and 6 % of noise, of which the errors would make a cause."""
    few = heard([372.0, 94.0], [28.0, 6.0])
    few = replace(few, signal=few.signal[:1], noise=few.noise[:1], steps=np.full((1, 2), 2))
    found = {cause.name: cause for cause in causes(few, 0, ["low", "top"])}
    assert found["noise"].factor == pytest.approx(0.94 / 0.93, rel=1e-2)
    assert found["noise"].evidence == pytest.approx({"noise_share": 0.07, "others": 0.06}, rel=1e-2)
    assert found["scale"].factor == pytest.approx(1)


def test_the_shares_of_noise_are_those_that_decide() -> None:
    """The signal of the softer one may be its error alone: what is said of the louder one follows from the factor."""
    for loud in (heard([4.0, 4.0], [76.0, 1.0]), heard([2.0, 0.1], [400.0, 30.0]), heard([8.0, 2.0], [92.0, 2.0])):
        (noisy,) = (cause for cause in causes(loud, 0, ["low", "top"]) if cause.name == "noise")
        mine, others = noisy.evidence["noise_share"], noisy.evidence["others"]
        assert noisy.factor == pytest.approx((1 - others) / (1 - mine))


def test_a_cause_that_may_be_chance_says_so() -> None:
    cause = Cause("scale", 9.0, 0.99, {"gradient_ratio": 3.0, "weight_ratio": 1.0})
    assert why([cause], "a") == "scale: noise aside, a's gradient is 3 times as long as the others'."
    assert why([replace(cause, probability=0.3)], "a").endswith("others' (this may be chance: probability 0.30).")
    assert "too few gradients" in why([replace(cause, probability=float("nan"))], "a")


def test_where_only_the_weights_are_known_no_length_is_said_to_be_measured() -> None:
    """A signal that cannot be told from none leaves the factor of the weights, 2 here, whatever the gradients are."""
    loud = heard([0.0, 4.0], [100.0, 1.0])
    wild = loud.signal.copy()
    wild[:, :, 0] = 10.0 * (-1.0) ** np.arange(10)[:, None]
    weighed = replace(loud, signal=wild, weight=np.array([2.0, 1.0]))
    found = [cause for cause in causes(weighed, 0, ["low", "top"]) if cause.name == "weight"]
    assert [found[0].factor, found[0].evidence["gradient_ratio"]] == pytest.approx([4, 2])
    assert why(found, "a") == "weight: by your own weights, 2 of a and 1 of b, a counts 2 times as much as the others."
    assert why(found, "b", quiet=True).endswith("2 of a and 1 of b, the others count 2 times as much as b.")


def test_weight_and_scale_are_told_apart() -> None:
    """Signals of 400 and 1, where 10 of the 20 are the weights', and 2 that the gradients differ by without."""
    loud = heard([400.0, 1.0], [20.0, 0.05], weight=np.array([1.0, 0.1]))
    found = causes(loud, 0, ["low", "top"])
    assert named(found) == pytest.approx({"weight": 100, "scale": 4, "noise": 1, "frequency": 1}, rel=1e-2)
    assert [cause.evidence["gradient_ratio"] for cause in found[:2]] == pytest.approx([20, 2], rel=1e-2)
    assert own_weights(found[0]) == {"a": 1.0, "b": 0.1}
    said = why(found[:2], "a")
    assert "by your own weights, 1 of a and 0.1 of b, a counts 10 times as much as the others; with them" in said
    assert said.endswith("scale: noise and weights aside, a's gradient is 2 times as long as the others'.")
    other_way = causes(loud, 1, ["low", "top"], quiet=True)
    assert named(other_way) == pytest.approx(named(found))


def test_weights_are_a_cause_as_far_as_they_are_felt() -> None:
    """Weights that make up for a scale are none, and those that do so too well are what is left."""
    made_up = causes(heard([9.0, 1.0], [0.0, 0.0], weight=np.array([0.1, 1.0])), 0, ["low", "top"])
    assert named(made_up) == pytest.approx({"scale": 9, "noise": 1, "frequency": 1}, rel=1e-2)
    too_well = causes(heard([9.0, 1.0], [0.0, 0.0], weight=np.array([10.0, 1.0])), 0, ["low", "top"])
    assert named(too_well) == pytest.approx({"weight": 9, "scale": 1, "noise": 1, "frequency": 1}, rel=1e-2)
    assert too_well[0].evidence["weight_ratio"] == pytest.approx(10)
    noisy = causes(heard([1.0, 1.0], [99.0, 1.0], weight=np.array([10.0, 1.0])), 0, ["low", "top"])
    assert [cause.factor for cause in noisy if cause.name == "weight"] == pytest.approx([50], rel=1e-2)


def test_weights_that_change_are_not_said_to_be_ones_own() -> None:
    loud = heard([400.0, 4.0], [0.0, 0.0], weight=np.array([1.0, 0.1]), constant=False)
    first = causes(loud, 0, ["low", "top"])[0]
    assert own_weights(first) == {}
    assert why([first], "a").startswith(
        "weight: by the weights of the losses, on average 1 of a and 0.1 of b, a counts"
    )


def test_noise_of_two_sizes_is_scale() -> None:
    loud = heard([0.0, 0.0], [90.0, 10.0])
    assert named(causes(loud, 0, ["low", "top"])) == pytest.approx({"scale": 9, "noise": 1, "frequency": 1}, rel=1e-3)


def test_what_noise_gives_a_small_signal_takes_back() -> None:
    """A task that has learned has noise left; one that is rare has all to learn: neither is louder for that."""
    found = named(causes(heard([1.0, 90.0], [99.0, 10.0], [1.0, 0.05]), 0, ["low", "top"]))
    assert found["frequency"] == pytest.approx(20)
    assert found["noise"] <= 1 + 1e-9


def test_the_weights_of_the_losses_are_known() -> None:
    # All signal is drowned: what is beyond the square of the weights is noise, not what is within.
    found = causes(heard([0.0, 4.0], [3200.0, 4.0], weight=np.array([10.0, 1.0])), 0, ["low", "top"])
    assert named(found)["weight"] == pytest.approx(100, rel=1e-2)
    assert named(found)["scale"] == pytest.approx(1, rel=1e-2)
    assert named(found)["noise"] == pytest.approx(4, rel=1e-2)
    assert found[0].evidence["weight_ratio"] == pytest.approx(10)


def test_rows_that_others_seldom_see_count_twice() -> None:
    """A mean over a batch in which a tenth has the label: the signal shrinks by 10, its square by 100."""
    loud = heard([100.0, 1.0], [10.0, 1.0], touched=np.array([[0.5, 0.05], [1.0, 1.0]]))
    found = named(causes(loud, 0, ["low", "top"]))
    assert found["frequency"] == pytest.approx(100)
    assert found["scale"] <= 1 + 1e-9
    noisy = heard([100.0, 1.0], [1000.0, 1.0], touched=np.array([[0.5, 0.05], [1.0, 1.0]]))
    assert named(causes(noisy, 0, ["low", "top"])) == pytest.approx(
        {"frequency": 100, "noise": 5.5, "scale": 1}, rel=1e-2
    )  # (100 + 1000) / (1 + 1) / 100


def test_a_denominator_of_its_own_takes_the_scale_out() -> None:
    assert max(named(causes(heard([400.0, 4.0], [100.0, 1.0], own_scale=True), 0, ["low"])).values()) < 1.01


def test_quiet_is_the_other_way_round() -> None:
    loud = heard([4.0, 36.0, 36.0], [2.0, 18.0, 18.0], [0.1, 0.5, 0.5])
    assert named(causes(loud, 0, ["low"], quiet=True)) == pytest.approx(
        {"scale": 9, "frequency": 5, "noise": 1}, rel=1e-3
    )


def test_the_order_of_the_tasks_makes_no_difference() -> None:
    loud = heard([36.0, 4.0, 9.0], [18.0, 2.0, 40.0], [1.0, 0.2, 0.7])
    turned = heard([9.0, 36.0, 4.0], [40.0, 18.0, 2.0], [0.7, 1.0, 0.2])
    assert named(causes(loud, 0, ["low"])) == pytest.approx(named(causes(turned, 1, ["low"])))


def test_only_the_layers_asked_for_count() -> None:
    loud = heard([36.0, 4.0], [0.0, 0.0])
    signal = loud.signal.copy()
    signal[:, 1] = signal[:, 1, ::-1]
    assert named(causes(replace(loud, signal=signal), 0, ["low"]))["scale"] == pytest.approx(9, rel=1e-3)
    assert named(causes(replace(loud, signal=signal), 1, ["top"]))["scale"] == pytest.approx(9, rel=1e-3)


def test_one_window_proves_no_signal() -> None:
    one = heard([36.0, 4.0], [18.0, 2.0])
    one = replace(one, signal=one.signal[:1], noise=one.noise[:1], steps=one.steps[:1])
    found = causes(one, 0, ["low"])
    assert named(found)["scale"] == pytest.approx(9, rel=1e-3)
    assert np.isnan(found[0].probability)


def test_what_is_measured_on_a_run() -> None:
    """Task a's gradient is 2 at both coordinates; b takes part in every second step, and touches one of them."""
    g = np.zeros((40, 2, 2))
    g[:, 0] = 2.0
    g[::2, 1, 0] = 1.0
    weight = np.ones((40, 2))
    weight[1::2, 1] = np.nan
    run = make_run(-1e-3 * g, g, weight=weight)
    run.attrs["optimizers"] = [{"class": "Adam", "groups": [{"betas": [0.9, 0.999]}]}]
    found = loudness(run, np.arange(40))
    assert found is not None
    assert found.present.tolist() == [1.0, 0.5]
    assert found.touched.tolist() == [[1.0, 0.5]]
    assert found.through == pytest.approx(1 / 19)
    np.testing.assert_allclose(found.signal[:, 0], [[8.0, 1.0]] * len(found.signal))
    np.testing.assert_allclose(found.noise, 0, atol=1e-12)


def test_weights_are_no_scale_where_each_task_has_its_own() -> None:
    run = make_run(np.ones((40, 2, 2)), weight=np.tile([10.0, 1.0], (40, 1)))
    for optimizer, weight in (("Adam", [10.0, 1.0]), ("AdaTaskAdam", [1.0, 1.0])):
        run.attrs["optimizers"] = [{"class": optimizer, "groups": [{"lr": 0.1}]}]
        found = loudness(run, np.arange(40))
        assert found is not None
        assert found.weight.tolist() == weight
        assert found.constant


def test_a_constant_within_a_loss_is_a_weight_of_it() -> None:
    """What the loss is called by is 0.1 of a mean already: in the sum it weighs 2, of the mean 0.2."""
    run = make_run(np.ones((40, 2, 2)), weight=np.tile([1.0, 2.0], (40, 1)), attrs={"loss_constants": {"b": 0.1}})
    found = loudness(run, np.arange(40))
    assert found is not None
    assert found.weight.tolist() == pytest.approx([1.0, 0.2])
    assert found.constant


def test_weights_that_are_learned_change() -> None:
    run = make_run(np.ones((40, 2, 2)), weight=np.stack([np.linspace(1, 2, 40), np.ones(40)], axis=1))
    found = loudness(run, np.arange(40))
    assert found is not None
    assert found.weight.tolist() == pytest.approx([1.5, 1])
    assert not found.constant


def test_gradients_far_apart_tell_nothing() -> None:
    assert loudness(make_run(np.ones((3, 2, 2)), steps=[0, 5000, 10_000]), np.arange(3)) is None
