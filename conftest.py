"""What the examples in docstrings may use without making it."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Generator, Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from forks import Forks

from dominance.config import SINKS

collect_ignore = ["tests/faults/script.py", "tests/record/spawned_training.py"]
"""Scripts that tests run, which are no modules; and below, modules for packages that are not here."""
collect_ignore += [
    f"dominance/integrations/{name}.py" for name in ("lightning", "transformers") if find_spec(name) is None
]
collect_ignore += [] if find_spec("IPython") else ["dominance/notebook/magic.py"]
collect_ignore += [f"dominance/sinks/{name}.py" for name, package in SINKS.items() if find_spec(package) is None]

LONGEST = ("test_notebooks.py", "test_harmless.py", "test_programs.py")
"""Begun first: with two workers the other one would wait for them at the end."""


def pytest_configure() -> None:
    # A job that a shell starts in the background inherits Ctrl-C as ignored, and so would every script that tests run.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Without garbage collections: a third of the time would go into looking through what stays to the end anyhow."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST)


MANY = 30
"""Modules imported by the tests of one file, after which it pays to set aside what came with them."""


@pytest.fixture(autouse=True)
def _nothing_to_look_through(request: pytest.FixtureRequest, set_aside: dict[str, Any]) -> None:
    """What is there already when a file's tests begin, above all modules, stays to the end: it is set aside.

    So is what a test has imported for those after it. Neither the garbage collector looks through it from then on, nor
    those of our tests that have it run, or that ask it for all objects, as finding a program's models does: a second
    each in a process that has imported much.
    """
    if set_aside.get("path") != request.path or len(sys.modules) > set_aside["modules"] + MANY:
        gc.collect()
        gc.freeze()
        set_aside.update(path=request.path, modules=len(sys.modules))


@pytest.fixture(scope="session")
def set_aside() -> Iterator[dict[str, Any]]:
    """``path``: the file whose tests run; ``modules``: how many there were when all was set aside.

    ``counted`` is ``gc.get_freeze_count``, which says meanwhile that nothing is: where a program has frozen objects, a
    recording looks for the model by way of all variables, and here these lead to every test that was collected.
    """
    made: dict[str, Any] = {"counted": gc.get_freeze_count}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "get_freeze_count", lambda: 0)
        yield made


@pytest.fixture
def frozen_is_looked_for(set_aside: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a program of its own: what ``gc.freeze()`` has set aside counts."""
    monkeypatch.setattr(gc, "get_freeze_count", set_aside["counted"])


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """An interpreter that has imported already what scripts need."""
    with Forks() as made:
        yield made


@pytest.fixture(autouse=True)
def _run_for_doctests(request: pytest.FixtureRequest) -> None:
    """``run``: two tasks, one coordinate, two steps: updates (1, 0), then (2, 1), gradients (-1, 0), then (-2, 1).

    ``joint``, ``single``, ``alone``: runs with scores; see ``small_study``.
    """
    if isinstance(request.node, pytest.DoctestItem):
        from runs import make_run  # here: the process that hands out tests needs neither, nor what they import
        from studies import small_study

        namespace: dict[str, Any] = request.getfixturevalue("doctest_namespace")
        namespace["run"] = make_run([[[1], [0]], [[2], [1]]], [[[-1], [0]], [[-2], [1]]])
        namespace.update(small_study())
