from __future__ import annotations

import itertools
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pytest
from runs import make_run

from dominance import gcd
from dominance.analyse.grams import grams, groups_of
from dominance.analyse.prepared import PreparedRun
from dominance.errors import BadOption

LAYERS = {"stem": 3, "enc.0": 4, "head": 2, "enc.1": 5}


def run_of(steps: int = 5) -> Any:
    g = np.random.default_rng(0).standard_normal((steps, 2, 14)).astype(np.float32)
    return make_run(g, g, layers=LAYERS, private={"head": "a"}), g.astype(float)


@pytest.mark.parametrize("by", ["layer", "all", ["stem", "enc.*"], {"x": ["stem", "enc.1"]}, {"x": "stem"}])
def test_are_the_inner_products_of_the_coordinates_of_a_group(by: Any) -> None:
    run, g = run_of()
    found = grams(PreparedRun(run), by)
    coords = {"stem": range(3), "enc.0": range(3, 7), "enc.1": range(9, 14)}
    groups: dict[str, list[str]] = {
        "layer": {layer: [layer] for layer in coords},
        "all": {"all shared": list(coords)},
        "['stem', 'enc.*']": {"stem": ["stem"], "enc.*": ["enc.0", "enc.1"]},
        "{'x': ['stem', 'enc.1']}": {"x": ["stem", "enc.1"]},
        "{'x': 'stem'}": {"x": ["stem"]},
    }[str(by)]
    assert found.layers == list(groups)
    for i, layers in enumerate(groups.values()):
        part = g[..., np.concatenate([coords[layer] for layer in layers])]
        np.testing.assert_allclose(found.values[:, i], part @ part.transpose(0, 2, 1))
    assert found.attrs["layers_in_no_group"] == 3 - sum(map(len, groups.values()))


def test_long_runs_are_read_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = run_of(9)
    run["skipped"][7] = 1
    usual = [gcd(run, by=by) for by in ("layer", "all")]
    monkeypatch.setattr("dominance.analyse.steps._ROWS", 2)
    for found, by in zip(usual, ("layer", "all"), strict=True):
        assert found.identical(gcd(run, by=by))
        assert found.attrs["skipped"] == 1


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("module", "unknown"),
        ({}, "names no layers"),
        (lambda name: name, "names no layers"),
        ({"x": "head"}, "'x' fits none.*there are stem, enc.0, enc.1"),
        ({"x": "enc.*", "y": ["stem", "enc.1"]}, "enc.1 is in two groups, 'x' and 'y'"),
    ],
)
def test_bad_groups(by: Any, message: str) -> None:
    with pytest.raises(BadOption, match=message):
        grams(PreparedRun(run_of()[0]), by)


def test_layer_by_layer() -> None:
    labels, inside = groups_of("layer", ["a", "b"])
    assert labels == ["a", "b"]
    np.testing.assert_array_equal(inside, np.eye(2))


def test_globs_and_plain_names_fit_as_fnmatch_says() -> None:
    layers = ["conv1", "conv[1]", "Conv1", "a.b", "a.b.c", "ax b", "a\nb"]
    globs = ["conv1", "conv[1]", "conv[[]1]", "a.?", "a?b", "CONV1", "a.b", "*"]
    for size in (1, 2):
        for chosen in itertools.combinations(globs, size):
            expected = [any(fnmatchcase(layer, glob) for glob in chosen) for layer in layers]
            if any(expected):
                _, inside = groups_of({"label": chosen}, layers)
                assert inside.tolist() == [expected], chosen
            else:
                with pytest.raises(BadOption, match="fits none"):
                    groups_of({"label": chosen}, layers)
