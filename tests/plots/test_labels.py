"""Names that fit."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from dominance.plots.labels import fit, relabel, shorten, wrap

MONO = SimpleNamespace(text_width=lambda text, size: float(len(text)))


def test_a_name_that_fits_stays():
    assert shorten("conv1", 5, len) == "conv1"


def test_a_long_name_loses_its_middle():
    assert shorten("encoder.layers.10.query", 12, len) == "encode…query"


def test_names_that_would_look_alike_are_cut_elsewhere():
    names = [f"backbone.layers.{i}.attention.output.weight" for i in range(12)]
    short = fit(names, 20, MONO, 7.0)
    assert len(set(short)) == 12
    assert all(len(name) <= 20 for name in short)


def test_names_that_cannot_be_told_apart_are_numbered():
    names = [f"{'a' * 20}{i:02}{'b' * 20}" for i in range(30)]
    short = fit(names, 8, MONO, 7.0)
    assert len(set(short)) == 30
    assert all(len(name) <= 8 for name in short)


def test_a_name_that_stands_twice_stays_twice():
    assert fit(["a", "a", "b"], 5, MONO, 7.0) == ["a", "a", "b"]


@given(st.lists(st.text(min_size=1, max_size=40), unique=True, max_size=12), st.integers(8, 30))
def test_nothing_is_wider_than_its_room(names, room):
    assert all(len(name) <= room for name in fit(names, room, MONO, 7.0))


@given(st.text(alphabet="ab c", max_size=80), st.integers(4, 20))
def test_wrapping_keeps_the_words_in_order(text, room):
    lines = wrap(text, room, MONO, 7.0)
    assert all(len(line) <= room for line in lines)
    if all(len(word) <= room for word in text.split(" ")):
        assert " ".join(lines).split() == text.split()


def test_relabel_by_mapping_by_function_or_not_at_all():
    assert relabel(["a", "b"], None) == ["a", "b"]
    assert relabel(["a", "b"], {"a": "alpha"}) == ["alpha", "b"]
    assert relabel(["a", "b"], str.upper) == ["A", "B"]
