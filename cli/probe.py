"""What ``--probe`` does when a training is over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dominance.errors import DominanceError
from dominance_cli import stderr

if TYPE_CHECKING:
    from dominance.analyse.noise import Probe


def noise(path: Path, make: Callable[[], Probe], *, quiet: bool) -> None:
    """Make the noise probe of a run and say so; what keeps it from being made is said in one line.

    Args:
        make: gives the probe of the model that the run is of.
    """
    from dominance.analyse.noise import noise_importance
    from dominance.store.reader import open_run
    from dominance_cli.progress import counting

    try:
        probe = make()
        with counting(quiet, "noise probe") as progress:
            found = noise_importance(open_run(path), probe, progress=progress)
    except DominanceError as error:
        stderr.error(f"no noise probe: {error}")
        return
    except KeyboardInterrupt:
        stderr.error("the noise probe was interrupted, and nothing of it is kept")
        return
    if found.attrs["stored"]:
        _tell(found.attrs, float(found["share_perturbed"].max()), quiet=quiet)
    else:
        stderr.error(f"the noise probe is not kept: {found.attrs['not_stored']}")


def _tell(attrs: dict[Any, Any], share: float, *, quiet: bool) -> None:
    if quiet:
        return
    kept, shared = attrs["coords_kept"], attrs["coords_shared"]
    among = "" if kept == shared else f", chosen among {kept:,} that were kept"
    noisy = f"noise on up to {100 * share:.2g} % of {shared:,} shared parameters{among}"
    stderr.note(f"noise probe: {attrs['evaluations']} evaluations; {noisy}")
    if attrs["tasks_not_of_the_run"]:
        stderr.note(f"the evaluation of {', '.join(attrs['tasks_not_of_the_run'])} is left out: no task of the run")
    if attrs["directions_missing"]:
        asked = ", ".join(f'"{metric}": True' for metric in attrs["directions_missing"])
        stderr.note(f"to tell harm from good: dominance.evaluate(fn, higher_is_better={{{asked}}}), or False")
