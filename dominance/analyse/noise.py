"""Do the parameters that a task owns matter to that task? Noise on them says (AdaTask, Fig. 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.exact_averages import has_averages
from dominance.analyse.kernels.perturbation import mean_interval, relative_change
from dominance.analyse.noise_specificity import add_specificity
from dominance.analyse.noise_stored import owners_of, save_noise, stored_noise
from dominance.analyse.perturbation import SELECTIONS, Question, Setting, by_parameter, questions, settings_of
from dominance.analyse.runs import Runs
from dominance.analyse.study.about import directions, labels
from dominance.analyse.updates import rau as shares
from dominance.deltas import Directions
from dominance.errors import BadOption, NothingRecorded
from dominance.schema import AVERAGE_DECAY

FRACTIONS = (0.01, 0.05, 0.1, 0.2)
VARIANCES = (0.01, 0.02, 0.03, 0.04, 0.05)
"""Those of the paper: variances with the top 1 %, fractions with variance 0.01."""

Scores = Mapping[str, Mapping[str, float]]


class Probe(Protocol):
    """What evaluates a live model with noise on it, such as ``dominance.probes.NoiseProbe``."""

    @property
    def higher_is_better(self) -> Mapping[str, bool]:
        """For each metric whose direction is known."""

    def baseline(self) -> Scores:
        """{task: {metric: value}} of the model as it is."""

    def change(self, chosen: Mapping[str, NDArray[np.int64]], deviation: float, seed: int) -> Scores:
        """The same with noise on these flat indices into parameters."""


def noise_importance(
    run: Runs,
    probe: Probe | None = None,
    *,
    fractions: Sequence[float] = FRACTIONS,
    variances: Sequence[float] = VARIANCES,
    deviations: Sequence[float] = (),
    full: bool = False,
    repeats: int = 5,
    seed: int = 0,
    by_layer: bool = False,
    tasks: str | Sequence[str] | None = None,
    higher_is_better: Directions | None = None,
    decay: float = AVERAGE_DECAY,
    attribution: str = "additive",
    exact: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
    save: bool = True,
) -> xr.Dataset:
    """Relative change of every task's metrics when the parameters that one task moves most get noise (AdaTask, Fig. 1).

    For each owner k, Gaussian noise is added to the top x % of the shared parameters by rAU(i, T, k) at the last step
    T, and the model is evaluated: if these parameters are k's, k suffers most. Two controls that the paper lacks: as
    many parameters drawn at random, and those with the lowest rAU of k. All three are chosen among the coordinates that
    some task has moved: of all shared ones where the run has their AU (``record --averages``, ``--probe noise``), else
    of those that it kept at each step; ties at random. In each repeat they get the same numbers for noise. The paper
    speaks of variances; ``deviations`` are standard deviations, and labelled so.

    The noise's randomness is all that the intervals speak of: one model, one set to evaluate it on.

    Args:
        run: a run, from ``open_run``; several only without ``probe``.
        probe: evaluates the model; None: what is stored in the run is returned, and only ``tasks``, ``by_layer`` and
            ``higher_is_better`` have a meaning.
        fractions: of the parameters among which is chosen.
        variances, deviations: of the noise, in squared units, and units, of the parameters.
        full: all combinations; otherwise the paper's two sweeps: all spreads with the first fraction, and all fractions
            with the first spread.
        repeats: draws of the noise (and of the random parameters). The evaluations are 2 + 3 K repeats settings at
            most, K the number of owners; fewer, as what is the same is asked once.
        seed: of all choices and all noise.
        by_layer: choose within each layer, and say it for each.
        tasks: owners; default all tasks.
        higher_is_better: direction of metrics that neither run nor probe declares: {metric: bool}, or {task: {metric:
            bool}}. Only ``specificity`` depends on it.
        decay, attribution: as in :func:`dominance.rau`.
        exact: choose among all shared coordinates; None: where the run has their AU, with these options.
        progress: is told (evaluations done, evaluations in all).
        save: put the result into the run, as /probe/noise (/probe/noise_layers with ``by_layer``). A run that is not on
            disk, or whose budget is used up, stays as it is, and ``attrs["stored"]`` is empty.

    Returns:
        Along ``owner`` (whose parameters), ``task`` (whose metric), ``metric``, ``setting`` (with coordinates
        ``fraction``, ``variance``, ``deviation`` and ``spread``: which of the two was given), ``selection`` (top,
        random, least), ``repeat``, and ``layer`` with ``by_layer``:

        - ``change`` (owner, task, metric, setting, selection, repeat[, layer]): (M_noisy - M) / |M|. NaN where the task
          has no such metric or M is 0.
        - ``mean_change``, ``lower``, ``upper``: its mean over repeats and 95 % limits (Student's t).
        - ``baseline`` (task, metric): M.
        - ``perturbed``, ``share_perturbed`` (setting[, layer]): number of parameters with noise, and their share of all
          shared ones: smaller than ``fraction`` where the run kept a sample, or where some were never moved.
        - ``specificity`` (owner, against[, layer]), with ``specificity_lower`` and ``_upper``: mean harm that noise on
          the owner's top parameters does to the owner, less the harm to it by "random" and "least" ones, and less the
          mean harm that the same noise does to the "other tasks". Positive: they are its own. Harm is the relative
          change for the worse of a task's main metric, the first that was given for it; mean over all settings. Missing
          when a direction is not known; see ``add_specificity``.

    Raises:
        NothingRecorded: without ``probe``, nothing is stored; or the run has no rAU (see :func:`dominance.rau`).
        BadOption: an option is out of range, a task is unknown, or the probe's tasks are not the run's.

    >>> import numpy as np
    >>> class Twice:  # task a is the sum of two parameters
    ...     higher_is_better = {"error": False}
    ...     def baseline(self):
    ...         return self.change({}, 0.0, 0)
    ...     def change(self, chosen, deviation, seed):
    ...         return {"a": {"error": 2.0 + deviation * sum(len(i) for i in chosen.values())}}
    >>> found = noise_importance(run, Twice(), variances=(0.01, 0.04), fractions=(1.0,), repeats=2)
    >>> found.mean_change.sel(owner="a", task="a", metric="error", selection="top").values.round(3)
    array([0.05, 0.1 ])
    """
    if probe is None:
        asked = (tuple(fractions), tuple(variances), tuple(deviations), full, repeats, seed, decay, attribution, exact)
        if asked != (FRACTIONS, VARIANCES, (), False, 5, 0, AVERAGE_DECAY, "additive", None):
            raise BadOption(
                "noise_importance has no probe to try other settings", fix="give one: NoiseProbe(model, fn)"
            )
        return stored_noise(run, by_layer=by_layer, tasks=tasks, higher_is_better=higher_is_better)
    if not isinstance(run, xr.DataTree) or "run" in run.dims:
        raise BadOption("a noise probe belongs to one run", fix="give that run, from open_run")
    if repeats < 1:
        raise BadOption(f"repeats={repeats} probes nothing", fix="give 1 or more")
    settings = settings_of(fractions, variances, deviations, full=full)
    owners = owners_of(run, tasks)
    declared: dict[str, Any] = {**probe.higher_is_better, **(higher_is_better or {})}
    ways = directions(run, declared)
    if exact is None:
        exact = has_averages(run) and (decay, attribution) == (AVERAGE_DECAY, "additive")
    kept = _Kept(run, shares(run, decay=decay, attribution=attribution, exact=exact), by_layer=by_layer)
    wanted = questions(kept.rau_of(owners), kept.members, settings, repeats, seed)

    def tell(done: int) -> None:
        if progress:
            progress(done, len(wanted.asked) + 2)

    answers = _Answers(run, probe, repeats, tell)
    shape = (len(owners), len(settings), len(SELECTIONS), repeats, len(kept.members))
    noisy = answers.to(wanted.asked, kept.found, shape)
    result = _result(owners, settings, kept.layers, answers, noisy, by_layer=by_layer).assign(
        kept.counts(wanted.number)
    )
    result.attrs = {
        **kept.attributes(),
        "seed": seed,
        "evaluations": answers.made + len(wanted.asked),
        "evaluation": "deterministic" if answers.deterministic else "varies: the baseline is a mean",
        **kept.numbers(),
        "values_not_finite": int((~np.isfinite(noisy[np.isfinite(answers.baseline)])).sum()),
        "tasks_not_of_the_run": answers.strangers,
        "main_metric": answers.main,
    }
    result = add_specificity(result, ways)
    return save_noise(run, "noise_layers" if by_layer else "noise", result) if save else result.assign_attrs(stored="")


class _Kept:
    """The shared coordinates that the run kept, and those that a task has moved: among them is chosen.

    Attributes:
        found: a result of ``rau``.
        layers: names, with ``by_layer``.
        members: of each layer, or one for all: coordinates that were moved.

    Raises:
        NothingRecorded: none was moved.
    """

    def __init__(self, run: xr.DataTree, found: xr.Dataset, *, by_layer: bool) -> None:
        self.found, self._by_layer = found, by_layer
        self._moved = np.isfinite(found["rau"].to_numpy()).all(axis=0)
        if not self._moved.any():
            where = run.attrs.get("path", "run")
            raise NothingRecorded(f"{where}: no task has moved a shared parameter", fix="train for more steps")
        self._weight, layer_of = found["coord_weight"].to_numpy(), found["coord_layer"].to_numpy()
        inside = {name: layer_of == name for name in run.attrs["layers"]} if by_layer else {}
        inside = {name: each for name, each in inside.items() if (self._moved & each).any()}
        self.layers = list(inside)
        self._groups = list(inside.values()) if by_layer else [np.ones(len(layer_of), dtype=bool)]
        self.members = [np.flatnonzero(self._moved & each) for each in self._groups]

    def rau_of(self, owners: list[str]) -> NDArray[np.float64]:
        """(owner, coord)."""
        return np.asarray(self.found["rau"].sel(task=owners).to_numpy())

    def counts(self, number: NDArray[np.int64]) -> dict[str, Any]:
        """How many coordinates get noise, (setting, layer), and their share of those that they stand for."""
        population = np.array([self._weight[inside].sum() for inside in self._groups])
        values = {"perturbed": number, "share_perturbed": number / population}
        if self._by_layer:
            return {name: (("setting", "layer"), each) for name, each in values.items()}
        return {name: ("setting", each[:, 0]) for name, each in values.items()}

    def attributes(self) -> dict[str, Any]:
        """Of the rAU, and the step that it is of."""
        plain = {key: value for key, value in self.found.attrs.items() if isinstance(value, str | int | float)}
        return {**plain, "step": int(self.found["step"])}

    def numbers(self) -> dict[str, int]:
        return {
            "coords_shared": round(float(self._weight.sum())),
            "coords_kept": len(self._weight),
            "coords_never_moved": int((~self._moved).sum()),
        }


class _Answers:
    """Scores as arrays (task, metric), and the baseline: evaluated twice, and again for each repeat if it varies.

    Raises:
        BadOption: none of the evaluated tasks is one of the run.
    """

    def __init__(self, run: xr.DataTree, probe: Probe, repeats: int, tell: Callable[[int], None]) -> None:
        first = probe.baseline()
        self.tasks = [str(task) for task in run.attrs["tasks"]]
        self.strangers = [task for task in first if task not in self.tasks]
        known = {task: metrics for task, metrics in first.items() if task in self.tasks}
        if not known:
            raise BadOption(
                f"the evaluation speaks of {', '.join(first)}, the run of {', '.join(self.tasks)}",
                fix="let evaluate return the names of the run's tasks, or name them with dominance.observe({...})",
            )
        self.metrics = list(dict.fromkeys(metric for metrics in known.values() for metric in metrics))
        self.main = {task: next(iter(metrics)) for task, metrics in known.items()}
        tell(1)
        values = [self.read(first), self.read(probe.baseline())]
        tell(2)
        self.deterministic = bool(np.array_equal(values[0], values[1], equal_nan=True))
        if not self.deterministic:
            values += [self.read(probe.baseline()) for _ in range(repeats)]
        self.made = len(values)
        self.baseline = values[0] if self.deterministic else np.mean(values, axis=0)
        self._probe, self._tell = probe, tell

    def to(self, asked: Sequence[Question], found: xr.Dataset, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """(task, metric, *shape): the scores under noise, each in all places that ask for it."""
        noisy = np.full((*self.baseline.shape, *shape), np.nan)
        for done, question in enumerate(asked, start=3):
            coords = by_parameter(found, question.coords)
            scores = self.read(self._probe.change(coords, question.deviation, question.seed))
            for place in question.places:
                noisy[(..., *place)] = scores
            self._tell(done)
        return noisy

    def read(self, scores: Scores) -> NDArray[np.float64]:
        return np.array([[scores.get(task, {}).get(metric, np.nan) for metric in self.metrics] for task in self.tasks])


def _result(
    owners: list[str],
    settings: list[Setting],
    layers: list[str],
    answers: _Answers,
    noisy: NDArray[np.float64],
    *,
    by_layer: bool,
) -> xr.Dataset:
    """``noisy`` is (task, metric, owner, setting, selection, repeat, layer)."""
    change = relative_change(noisy, answers.baseline[..., *[None] * 5])
    change = np.moveaxis(change, 2, 0)  # (owner, task, metric, setting, selection, repeat, layer)
    change = change if by_layer else change[..., 0]
    over = np.moveaxis(change, 5, -1)
    mean, lower, upper = mean_interval(over)
    dims = ("owner", "task", "metric", "setting", "selection")
    last = ("layer",) if by_layer else ()
    return xr.Dataset(
        {
            "change": ((*dims, "repeat", *last), change),
            "mean_change": ((*dims, *last), mean),
            "lower": ((*dims, *last), lower),
            "upper": ((*dims, *last), upper),
            "baseline": (("task", "metric"), answers.baseline),
        },
        coords={
            "owner": labels(owners),
            "task": labels(answers.tasks),
            "metric": labels(answers.metrics),
            "setting": labels([setting.label for setting in settings]),
            "fraction": ("setting", [setting.fraction for setting in settings]),
            "variance": ("setting", [setting.deviation**2 for setting in settings]),
            "deviation": ("setting", [setting.deviation for setting in settings]),
            "spread": ("setting", labels([setting.given for setting in settings])),
            "selection": labels(SELECTIONS),
            "repeat": np.arange(change.shape[5]),
            **({"layer": labels(layers)} if by_layer else {}),
        },
    )
