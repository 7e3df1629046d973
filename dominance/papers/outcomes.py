"""From what holds to the word for it."""

from __future__ import annotations

from collections.abc import Iterable

from dominance.papers.item import Claim, Item, Kind, Outcome, Scale
from dominance.papers.material import Material


def three(all_of_it: bool, some: bool) -> Outcome:
    """
    >>> three(True, True), three(False, True), three(False, False)
    ('reproduced', 'partly', 'not reproduced')
    """
    return "reproduced" if all_of_it else "partly" if some else "not reproduced"


def of_parts(holds: Iterable[bool], least: float = 0.5) -> Outcome:
    """All of them: reproduced; at least this share: partly.

    >>> of_parts([True, True]), of_parts([True, False]), of_parts([True, False, False])
    ('reproduced', 'partly', 'not reproduced')
    """
    parts = list(holds)
    return three(all(parts), sum(parts) >= least * len(parts))


def kind(outcome: Outcome, item: Item, claim: Claim, material: Material, scale: Scale | None = None) -> Kind:
    """What an outcome says of the paper's claim: that it holds; that it does not; or why it may, all the same.

    - "scale": trained for less long, or on less, than in the paper;
    - "stand-in": on other data;
    - "unstated settings": on the paper's data, with settings that the text does not give;
    - "does not hold": on the paper's data, with the paper's settings.

    Args:
        scale: of the trainings; None: not known, the paper's.
    """
    if outcome == "cannot be tested":
        return ""
    own = item.own(material)
    if outcome == "reproduced":
        return "holds" if own else "holds on a stand-in"
    if not own:
        return "stand-in" if scale in (None, "full") else "scale, stand-in"
    if item.shorter and scale not in (None, "full"):
        return "scale"
    return "unstated settings" if item.unstated or claim.unstated else "does not hold"
