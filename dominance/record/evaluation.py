"""``dominance.evaluate``: the user says how the model is evaluated, for the probes that need it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, overload

Evaluate = Callable[[Any], Mapping[str, Mapping[str, float]]]
"""From the model to {task: {metric: value}}."""

F = TypeVar("F", bound=Evaluate)


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluate`` was given."""

    fn: Evaluate
    higher_is_better: Mapping[str, bool] = field(default_factory=dict)

    def attributes(self, tasks: Sequence[str]) -> dict[str, Any]:
        """What the run should say of it: ``metrics``, task -> metric -> "higher" or "lower", if any was given."""
        words = {name: "higher" if higher else "lower" for name, higher in self.higher_is_better.items()}
        return {"metrics": {task: dict(words) for task in tasks}} if words else {}


class EvaluationListener(Protocol):
    """A recording in progress that wants to know how the model is evaluated."""

    def evaluation(self, registered: Evaluation) -> None: ...


_listening: list[EvaluationListener] = []


@overload
def evaluate(fn: F, *, higher_is_better: Mapping[str, bool] | None = None) -> F: ...


@overload
def evaluate(fn: None = None, *, higher_is_better: Mapping[str, bool] | None = None) -> Callable[[F], F]: ...


def evaluate(fn: F | None = None, *, higher_is_better: Mapping[str, bool] | None = None) -> F | Callable[[F], F]:
    """Say how the model is evaluated: ``fn(model)`` returns {task: {metric: value}}.

    ``dominance record --probe noise`` calls it after the script has ended, many times and on changed parameters; it
    should use a fixed set of samples, and call no optimizer. Of several calls the last one counts. Nothing happens when
    no recording is in progress, so it can stay in a script for good. Also a decorator.

    Args:
        fn: takes the model that the script trains, or a dict of its models by name where there are several; returns
            numbers by the names of the tasks of the run and of the metrics, the main metric of a task first.
        higher_is_better: for each metric, which direction is better; kept in the run's attributes as ``metrics``. Only
            needed where a conclusion depends on it: it is never guessed.

    Returns:
        ``fn`` itself.

    Raises:
        TypeError: ``fn`` cannot be called, or ``higher_is_better`` is no mapping of names to True and False.

    >>> @evaluate(higher_is_better={"auc": True})
    ... def test_scores(model):
    ...     return {"click": {"auc": 0.7}, "buy": {"auc": 0.6}}
    >>> test_scores(None)["click"]
    {'auc': 0.7}
    """
    directions = dict(higher_is_better or {})
    if not all(isinstance(name, str) and isinstance(higher, bool) for name, higher in directions.items()):
        raise TypeError('higher_is_better maps names of metrics to True or False, like {"auc": True}')
    if fn is None:

        def decorator(decorated: F) -> F:
            return evaluate(decorated, higher_is_better=directions)

        return decorator
    if not callable(fn):
        raise TypeError("evaluate takes a function of the model that returns {task: {metric: value}}")
    for listener in _listening:
        listener.evaluation(Evaluation(fn, directions))
    return fn


def listen(listener: EvaluationListener) -> None:
    """Tell ``listener`` of every call from now on."""
    _listening.append(listener)


def hear_no_more(listener: EvaluationListener) -> None:
    """Stop telling ``listener``."""
    _listening.remove(listener)
