"""One figure or table of a paper: what it needs, how it is made, what the paper claims by it and how that is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from dominance.papers.jobs import Job
from dominance.papers.material import Material

Outcome = Literal["reproduced", "partly", "not reproduced", "cannot be tested"]
Scale = Literal["quick", "long", "full"]
Kind = Literal[
    "holds", "holds on a stand-in", "scale", "stand-in", "scale, stand-in", "unstated settings", "does not hold", ""
]
"""What an outcome says of the paper's claim; "": nothing."""
SCALES: tuple[Scale, ...] = ("quick", "long", "full")
"""quick: each within minutes on two cores; long: whole data sets, and at least 1,100 steps, all of it within some eight
hours on two cores; full: as many epochs as the paper, where it says so, also on what stands in."""


@dataclass(frozen=True)
class Wish:
    """What the user asked for.

    Attributes:
        scale: how long and how often to train.
        data: folders with the papers' own data, by benchmark; where one is given it takes the place of what stands in.
        settings_of: benchmark -> settings that take the place of ours.
    """

    scale: Scale = "quick"
    data: Mapping[str, Path] = field(default_factory=dict)
    settings_of: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def settings(self, benchmark: str, **others: Any) -> dict[str, Any]:
        """The settings of a training on this benchmark: where its data lies, if that was said, ``others``, and what the
        user set.

        >>> Wish(data={"census": Path("/data/census")}).settings("census", width=32)
        {'data': '/data/census', 'width': 32}
        """
        where = {"data": str(self.data[benchmark])} if benchmark in self.data else {}
        return {**where, **others, **self.settings_of.get(benchmark, {})}


class Result(Protocol):
    """A finished figure or table; ``plots.result.Plot`` is one, ``papers.table.Table`` another."""

    note: str

    def savefig(self, path: str | Path, *, overwrite: bool = True) -> list[Path]: ...


@dataclass(frozen=True)
class Judgement:
    """How a claim came out, and the numbers that decided."""

    outcome: Outcome
    evidence: str


@dataclass(frozen=True)
class Claim:
    """Something that a paper says and that runs can confirm or not.

    Attributes:
        name: unique, such as "adatask-fig2-equal-weight-dominated".
        says: what the paper says, in our words.
        criterion: what must hold, fixed before any run was looked at; what was changed after one is said in it.
        judge: decides; raises NothingRecorded when the runs that it needs are not there.
        ours: it is not the paper's, but a control of ours.
        unstated: what the text does not say of it; "" for nothing.
    """

    name: str
    says: str
    criterion: str
    judge: Callable[[Material], Judgement]
    ours: bool = False
    unstated: str = ""


@dataclass(frozen=True)
class Form:
    """The same in another form, where that of the paper is hard to read.

    Attributes:
        name: of its file, after that of the item: "lines".
        says: what is seen in it that is not in the other, in a sentence.
        make: draws it, on a plot backend.
    """

    name: str
    says: str
    make: Callable[[Material, Any], Result]


@dataclass(frozen=True)
class Item:
    """One figure or table.

    Attributes:
        name: as it is typed: "adatask-fig2", "pub-table1".
        paper: "AdaTask", "MoCoGrad" or "PUB".
        place: "Fig. 2", "Table I".
        title: what it shows, in a few words.
        needs: the jobs; none when it cannot be made from the data that there is, ``stands_for`` then says why.
        make: draws it, on a plot backend; None when nobody can make it again.
        stands_for: what the paper used and cannot be shipped, and what stands in its place; "" if it is the same.
        claims: in the order of the paper.
        own: whether runs are of the paper's own data, or of data that is not needed or generated.
        shorter: trained for less long than the paper's at scales below full, also on its own data.
        unstated: what the text does not say and its outcomes may hang on; "" for nothing.
        beside: a form that is read more easily than the paper's, which ``make`` draws.
    """

    name: str
    paper: str
    place: str
    title: str
    needs: Callable[[Wish], Sequence[Job]]
    make: Callable[[Material, Any], Result] | None
    stands_for: str = ""
    claims: tuple[Claim, ...] = ()
    own: Callable[[Material], bool] = lambda material: True
    shorter: bool = False
    unstated: str = ""
    beside: Form | None = None
