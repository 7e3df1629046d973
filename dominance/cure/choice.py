"""Which method is to be used on a script, as a person typed it; nothing here needs torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dominance.benchmarks.arguments import pairs
from dominance.benchmarks.train.method_names import METHODS, Method, method
from dominance.errors import BadOption

FLAG = "--method-option"
WEIGHTS = "weights"
"""What fixed weights of the losses are called beside their name among the methods, "grid-search"."""
AS_IT_IS = "equal-weight"
ALONE = "alone"
"""One task trained by itself, with ``task=NAME``."""

_NOT_HERE = {
    "stl": "it trains a model for each task: use `dominance try --alone`",
    "mgda-ub": "it needs the representation by name: use mgda",
}


@dataclass(frozen=True)
class Choice:
    """A method and its options.

    Attributes:
        method: what it is.
        options: arguments of its classes, as texts; the weights of fixed ones as a mapping.
        epoch: steps after which an epoch is over, for methods that average over epochs; None: when the script's
            DataLoader begins again.
        typed: the options as they were typed.
    """

    method: Method
    options: Mapping[str, Any] = field(default_factory=dict)
    epoch: int | None = None
    typed: tuple[str, ...] = ()
    alone: str | None = None
    """The one task whose gradient is taken; the others' losses keep their values."""

    @property
    def name(self) -> str:
        """Of the method, as it is typed."""
        if self.alone is not None:
            return ALONE
        return WEIGHTS if self.method.name == "grid-search" else self.method.name

    @property
    def as_it_is(self) -> bool:
        """Whether the script is left as it is."""
        return self.method.name == AS_IT_IS and self.alone is None

    def attributes(self) -> dict[str, Any]:
        """What a run says of it."""
        return {"method": self.name, "method_options": list(self.typed)}

    def words(self) -> list[str]:
        """The flags that give it."""
        return ["--method", self.name, *(word for text in self.typed for word in (FLAG, text))]


def choose(name: str, options: Sequence[str] = ()) -> Choice:
    """The method of this name with these ``key=value`` options.

    Raises:
        BadOption: there is none, it cannot be used on a script, or an option cannot be read.

    >>> choose("weights", ["lb=0.0256"]).options
    {'weights': {'lb': 0.0256}, 'others': 1.0}
    """
    if name.lower() == WEIGHTS:
        return Choice(METHODS["grid-search"], {"weights": _weights(options), "others": 1.0}, typed=tuple(options))
    if name.lower() == ALONE:
        task = pairs(options, FLAG).get("task")
        if not task:
            raise BadOption("alone needs the one task that is trained", fix=f"give it, like {FLAG} task=a")
        return Choice(METHODS[AS_IT_IS], typed=tuple(options), alone=task)
    found = method(name)
    if found.name in _NOT_HERE:
        raise BadOption(f"{found.name} cannot be used on a script as it is", fix=_NOT_HERE[found.name])
    given = pairs(options, FLAG)
    epoch = given.pop("epoch", None)
    if epoch is not None and (not epoch.isdigit() or int(epoch) < 1):
        raise BadOption(f"{FLAG} epoch={epoch} is no number of steps", fix="give 1 or more")
    if found.name == AS_IT_IS and given:
        raise BadOption(f"{FLAG}: {AS_IT_IS} has no {next(iter(given))}", fix="it has none")
    return Choice(found, given, None if epoch is None else int(epoch), tuple(options))


def usable() -> list[str]:
    """The names of all methods that can be used on a script."""
    return [WEIGHTS if name == "grid-search" else name for name in METHODS if name not in _NOT_HERE]


def _weights(texts: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for part in (part for text in texts for part in text.split(",") if part.strip()):
        task, equals, number = part.rpartition("=")
        try:
            found[task.strip()] = float(number)
        except ValueError:
            equals = ""
        if not equals or not task.strip():
            raise BadOption(f"{FLAG} {part.strip()!r} is no weight of a task", fix=f"write it like {FLAG} a=1,b=0.5")
    if not found:
        raise BadOption("weights needs a weight of a task", fix=f"give some, like {FLAG} a=1,b=0.5; others are 1")
    return found
