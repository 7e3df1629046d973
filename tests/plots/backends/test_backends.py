"""Every backend has the same functions under the same signatures."""

from __future__ import annotations

import inspect

import pytest

from dominance.errors import BadOption
from dominance.plots import backends
from dominance.plots.backends import matplotlib_, none, seaborn_

NAMES = matplotlib_.__all__


@pytest.mark.parametrize("name", NAMES)
def test_signatures_are_the_same(name):
    if name == "theme":
        return
    ours, other = (inspect.signature(getattr(backend, name)) for backend in (matplotlib_, none))
    assert [(p.name, p.kind, p.default) for p in ours.parameters.values()] == [
        (p.name, p.kind, p.default) for p in other.parameters.values()
    ]


def test_seaborn_draws_with_the_functions_of_matplotlib():
    assert seaborn_.__all__ == NAMES
    assert [name for name in NAMES if getattr(seaborn_, name) is not getattr(matplotlib_, name)] == ["theme"]


def test_none_has_no_other_functions():
    own = {
        name
        for name, value in vars(none).items()
        if inspect.isfunction(value) and value.__module__ == none.__name__ and not name.startswith("_")
    }
    assert own == set(NAMES)


def test_a_backend_is_found_by_name_or_is_itself():
    assert backends.get("none") is none
    assert backends.get(none) is none
    with pytest.raises(BadOption, match="choose from matplotlib, seaborn, none"):
        backends.get("plotly")
