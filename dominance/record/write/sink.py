"""Where rows go: lays the run out when the first one comes, and keeps it within its budget."""

from __future__ import annotations

import dataclasses
import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dominance.config import RecordOptions
from dominance.errors import BadOption, RecordingFailed
from dominance.record.group import Group
from dominance.record.parameters import Named, ParameterTable
from dominance.record.ranks.unwritten import Unwritten
from dominance.record.sharded_models import Piece, whole_shape, whole_size
from dominance.record.split.steppers import Splits, Steppers
from dominance.record.write.averages import Averages
from dominance.record.write.earlier_rows import earlier_rows
from dominance.record.write.follower import Follower
from dominance.record.write.found_tasks import found_tasks
from dominance.record.write.place import RunPlace
from dominance.record.write.provenance import describe, git_commit, processes, versions
from dominance.record.write.row_shape import RowShape
from dominance.record.write.rows import StepRow
from dominance.record.write.sampling import STEPS_IN_FIRST_HALF, Sample, Stratum, sample_coordinates
from dominance.record.write.schedule import Schedule
from dominance.record.write.sweeps import sweeps
from dominance.schema import AVERAGE, SWEEPS, TASK_STATISTICS, TOTAL_STATISTICS, UPDATE_PARTS, Layout, Parameter
from dominance.store.lock import RunLock
from dominance.store.writer import RunWriter
from dominance.streams import write_line
from dominance.visible import visible

NO_PROBE = "no noise probe will be made: no process has the whole of a sharded model"

_SAMPLING_SEED = 0
_MOST_FOR_AVERAGES = 0.5
"""Share of the budget that AU of every coordinate may take."""
_MOST_EARLY = 10_000
"""Metrics kept until a run is laid out: there may never be one."""


class Sink:
    """Owner of the run directory while it is recorded.

    Args:
        path: the run directory; made with the first row.
        options: budget, rounding, glob over parameters.
        attrs: what the caller knows of the run: script, argv.
        overwrite, resume: as in ``RunWriter``.
        first_step: number of the training step that comes first; None: 0, or the one after the last recorded.
        lock: of the run directory, where the caller holds it; None: it is taken with the first row.
    """

    def __init__(
        self,
        path: Path,
        options: RecordOptions,
        attrs: Mapping[str, Any],
        *,
        overwrite: bool,
        resume: bool,
        first_step: int | None = None,
        lock: RunLock | None = None,
    ) -> None:
        self.path = path
        self.lock = lock
        there = earlier_rows(path) if resume else None
        self.first_step = first_step if first_step is not None else 0 if there is None else there.next_step
        self._keep = None if there is None or first_step is None else there.before(first_step)
        self._resumed_after = None if there is None else there.last(self._keep)
        self._options = options
        self._attrs = dict(attrs)
        self._overwrite = overwrite
        self._resume = resume
        self._writer: RunWriter | Unwritten | None = None
        self._silent = False
        """Whether another process writes the run."""
        self._shape: RowShape | None = None
        self._tasks: list[str] = []
        self._named: list[Named] = []
        self._reach: dict[Tensor, list[str]] = {}
        self._optimizers = 0
        self._averages: Averages | None = None
        self._reserve = 0
        """Bytes of the budget that are left for them."""
        self._notes: list[str] = []
        self._follower: Follower | None = None
        self.place: Callable[[], RunPlace] | None = None
        """Says where the run goes, whether over or on to one that is there, where others may have come first."""
        self._early: list[dict[str, Any]] = []
        """Metrics that came before the run was laid out."""

    @property
    def laid_out(self) -> bool:
        """Whether the run's shape is fixed."""
        return self._writer is not None

    @property
    def spent(self) -> float:
        """The share of the budget that rows have used."""
        return 0.0 if self._writer is None else self._writer.spent

    @property
    def busy(self) -> float:
        """Seconds that the thread which writes has worked."""
        return 0.0 if self._writer is None else self._writer.busy

    @property
    def writer(self) -> RunWriter | Unwritten | None:
        """The writer, once the run is laid out."""
        return self._writer

    @property
    def silent(self) -> bool:
        """Whether another process writes the run."""
        return self._silent

    def of_several(self, ranks: int, *, writes: bool) -> None:
        """The run is that of several processes; all but one write nothing more.

        Args:
            ranks: how many they are.
            writes: whether it is this one that writes.
        """
        self._attrs["ranks"] = ranks
        self._silent = not writes
        if self._writer is not None and writes:
            self._writer.set_attrs(ranks=ranks)
        elif self._writer is not None:
            # Steps that this process has taken alone, before.
            self._writer.close(complete=True)
            self._writer = Unwritten()
            self._writer.grow_tasks(self._tasks)
        if self._silent and self.lock is not None:
            self.lock.release()

    def log(self, metrics: Mapping[str, float], *, step: int, epoch: int | None, task: str | None, split: str) -> None:
        """Keep metrics of a task, or of all (None), at a step: in the run, or until it is laid out."""
        for name, value in metrics.items():
            event = {"step": step, "epoch": epoch, "task": task, "split": split, "name": name, "value": value}
            if self._writer is not None:
                self._writer.append_event(event)
            elif len(self._early) < _MOST_EARLY:
                self._early.append(event)

    def know(self, **attrs: Any) -> None:
        """Keep what else the run is to say of itself."""
        self._attrs |= attrs
        if self._writer is not None:
            self._writer.set_attrs(**attrs)

    def announce(
        self,
        tasks: Sequence[str],
        weights: Mapping[str, float],
        residual: Sequence[str],
        separate: Sequence[str],
        columns: tuple[int, str | None] | None = None,
    ) -> list[str]:
        """What to tell the user of the tasks that were found; kept for the run's attributes.

        Args:
            columns: how many columns the one output has that the only loss is computed of, and the path of the module
                that puts it out, where that is known.
        """
        weight_of = {name: weights.get(name) for name in tasks}
        self.know(task_weights=weight_of, residual_terms=list(residual), separate_terms=list(separate))
        return found_tasks(tasks, weight_of, residual, separate, columns, self._options.tasks, self._attrs)

    def lay_out(
        self,
        table: ParameterTable,
        tasks: Sequence[str],
        reach: Mapping[Tensor, Sequence[str]],
        steppers: Steppers,
        schedule: Schedule,
    ) -> None:
        """Fix the parameters, layers and coordinates of the run.

        Where the step of one optimizer is not linear, only solo updates exist for all, and the run is one of those.

        Args:
            tasks: names of the tasks that the first step is made of; more may be taken in later.
            reach: tasks whose gradients lie in each parameter's ``.grad``, whether it is stepped by them or not.

        Raises:
            BadOption: no parameter matches the glob.
        """
        if self.place is not None and not self._silent:
            self._take(self.place())
        self._tasks = list(dict.fromkeys((*tasks, *(name for names in reach.values() for name in names))))
        self._named = self._recorded(table)
        self._reach = {entry.tensor: [] for entry in self._named}
        strata = [Stratum(e.layer, whole_size(e.tensor), len(reach.get(e.tensor, ())) >= 2) for e in self._named]
        count = self._affordable(len(self._tasks), solo=not steppers.linear)
        sample = sample_coordinates(strata, count, seed=_SAMPLING_SEED)
        layout = Layout(
            tasks=self._tasks,
            parameters=self._parameters(),
            layers=list(dict.fromkeys(entry.layer for entry in self._named)),
            coord_parameter=sample.parameter,
            coord_index=sample.index,
            coord_weight=sample.weight,
            attribution=self._options.attribution if steppers.linear else "solo",
            attrs={**self._attrs, **self._facts(sample, steppers.attributors, schedule)},
        )
        held = [e for e in self._named if not self._silent or isinstance(e.tensor, Piece)]
        self._shape = RowShape(layout, self._named, sample, {e.tensor for e in held})
        self._optimizers = len(steppers.attributors)
        if self._options.keeps_averages and held:
            self._keep_averages(layout, held)
        if self._options.probe and any(isinstance(e.tensor, Piece) for e in held):
            self._notes.append(NO_PROBE)
        self._writer = Unwritten() if self._silent else self._written(layout)
        if self._options.to is not None and not self._silent:
            self._follower = Follower(self.path, self._options.to)
        self._go_on(self._writer)

    def _recorded(self, table: ParameterTable) -> list[Named]:
        """What the run is of."""
        mine = [e for e in table.named.values() if e.tensor not in table.copied and not e.tensor.is_complex()]
        found = [entry for entry in mine if self._options.records(entry.name)]
        if not found:
            raise BadOption(f"no parameter matches --params {self._options.params!r}", fix="give a glob like 'trunk.*'")
        return found

    def _go_on(self, writer: RunWriter | Unwritten) -> None:
        """Take up what came before the run was laid out, and what a run that goes on has already."""
        known = list(writer.tasks)
        writer.grow_tasks([name for name in self._tasks if name not in known])
        self._tasks = list(writer.tasks)
        for event in self._early:
            writer.append_event(event)
        self._early = []
        if self._averages is not None and self._resume:
            self._averages.widen(len(self._tasks))
            last = self._resumed_after
            if last is not None and not self._averages.resume(self.path, self._tasks, last):
                self._notes.append("AU of every coordinate is of the steps from here on: there is none of those before")

    def _take(self, place: RunPlace) -> None:
        self.path, self._overwrite, self._resume = place.path, place.overwrite, place.resume
        self._keep = self._keep if self._resume else None
        self._attrs |= place.attrs

    def _written(self, layout: Layout) -> RunWriter:
        return RunWriter(
            self.path,
            layout,
            budget=self._options.budget,
            exact=self._options.exact,
            overwrite=self._overwrite,
            resume=self._resume,
            keep=self._keep,
            reserve=self._reserve,
            lock=self.lock,
        )

    def _keep_averages(self, layout: Layout, held: Sequence[Named]) -> None:
        """Begin to keep AU of every coordinate, where there is room for it; else the run says why not.

        Args:
            held: what this process works out the rows of.
        """
        size = Averages.size(self._named, len(self._tasks))
        why = ""
        if layout.attribution == "solo":
            why = "the updates of this optimizer have no parts that add up"
        elif size > self._options.budget * _MOST_FOR_AVERAGES:
            why = f"it may take {size} bytes, more than {_MOST_FOR_AVERAGES:.0%} of the budget"
        if why:
            self._notes.append(f"AU is known of the kept coordinates only: {why}")
            return
        self._averages, self._reserve = Averages(held, len(self._tasks)), size

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks of the run, in the order of its rows."""
        return list(self._tasks)

    @property
    def optimizers(self) -> int:
        """How many optimizers the run's attributes describe."""
        return self._optimizers

    def holds(self, parameter: Tensor) -> bool:
        """Whether the run records this parameter."""
        return parameter in self._reach

    def kept(self, parameter: Tensor) -> Tensor | None:
        """The coordinates of a parameter that each row keeps; None where it is not recorded here."""
        return None if self._shape is None else self._shape.kept(parameter)

    def put(self, old: Tensor, new: Tensor) -> None:
        """``new`` is in the place of ``old``, under the same name and in the same columns."""
        if old in self._reach:
            self._reach[new] = self._reach.pop(old)
            self._named = [dataclasses.replace(e, tensor=new) if e.tensor is old else e for e in self._named]
            if self._shape is not None:
                self._shape.put(old, new)
            if self._averages is not None:
                self._averages.replace(old, new)

    def row(self, step: int, epoch: int) -> StepRow:
        """An empty row of the run's shape."""
        assert self._shape is not None
        if self._averages is not None:
            self._averages.widen(len(self._tasks))
            self._averages.begin()
        return StepRow(self._shape, self._tasks, step=step, epoch=epoch, averages=self._averages)

    def append(self, row: StepRow) -> bool:
        """Write the row, in the background; False when it might not fit into the budget, and is left out."""
        assert self._writer is not None
        if self._averages is not None:
            self._averages.end(int(row.values["step"]), used=row.tells(self._shared_layers()))
        return self._writer.append(row.values)

    @property
    def in_parts(self) -> bool:
        """Whether other processes have a part of the AU that is kept."""
        return self._averages is not None and self._averages.in_pieces

    def put_together(self, group: Group) -> None:
        """Have AU of every coordinate where the run is written; every process of the group calls this.

        Raises:
            Lost: another process is gone.
        """
        if self._averages is not None:
            self._averages.put_together(group, keep=not self._silent)

    def told(self) -> list[str]:
        """What the user is to be told, and has not been."""
        notes, self._notes = self._notes, []
        return notes

    def let_go(self) -> None:
        """Hold no parameter any more; the run is over."""
        self._shape, self._named, self._reach, self._averages = None, [], {}, None

    def close(self, *, complete: bool, **attrs: Any) -> None:
        """Write what is left and end the run.

        Raises:
            RecordingFailed: the disk is full, or gone, and nobody has been told yet.
        """
        writer = self._writer
        if writer is None:
            return
        try:
            if not writer.failed:  # else it was said when it happened
                writer.set_attrs(**attrs)
                writer.close(complete=complete)
                self._put_averages()
        except OSError as error:
            raise RecordingFailed(
                f"{self.path}: could not be written to its end ({error.strerror})", fix="see whether the disk is full"
            ) from error
        finally:
            writer.close(complete=False)

    def _put_averages(self) -> None:
        """Keep AU of every shared coordinate in the run, which is over."""
        if self._averages is None or self._silent:
            return
        from dominance.store.probes import write_probe

        shared = [entry.name for entry in self._named if len(self._reach[entry.tensor]) >= 2]
        try:
            found = self._averages.dataset(self._tasks, shared)
            if found is not None:
                write_probe(self.path, AVERAGE, found)
        except RecordingFailed as error:
            self._notes.append(f"AU is known of the kept coordinates only: {error.message}")

    def _shared_layers(self) -> list[int]:
        """Places of the layers with a parameter that two tasks reach."""
        assert self._shape is not None
        layers = {entry.layer for entry in self._named if len(self._reach[entry.tensor]) >= 2}
        return [place for place, layer in enumerate(self._shape.layout.layers) if layer in layers]

    def sent(self) -> list[str]:
        """What the logger has to say that the run is sent to, once it has all of a run that is over."""
        follower, self._follower = self._follower, None
        return [] if follower is None else follower.wait()

    def take_in(self, tasks: Sequence[str], reach: Mapping[Tensor, Sequence[str]]) -> list[str]:
        """Keep what a step shows: tasks that are new, which are returned, and which tasks reach each parameter."""
        assert self._writer is not None
        new = [name for name in tasks if name not in self._tasks]
        if new:
            self._writer.grow_tasks(new)
            self._tasks += new
        changed = False
        for tensor, names in reach.items():
            held = self._reach.get(tensor)
            if held is not None and not set(names) <= set(held):
                held += [name for name in names if name not in held]
                changed = True
        if changed:
            self._writer.set_attrs(parameters=[parameter.to_json() for parameter in self._parameters()])
        return new

    def _parameters(self) -> list[Parameter]:
        return [
            Parameter(
                e.name, e.layer, whole_shape(e.tensor), tuple(self._reach[e.tensor]), e.module, e.heads, e.head_dim
            )
            for e in self._named
        ]

    def _affordable(self, tasks: int, *, solo: bool) -> int:
        """Coordinates that each step can keep, so that half of the budget lasts for many steps."""
        layers = len({entry.layer for entry in self._named})
        exact = 8 * layers * (tasks * (len(TASK_STATISTICS) + tasks) + len(TOTAL_STATISTICS) + 1)
        per_task = 3 if solo or self._options.attribution != "additive" else 2
        per_coordinate = 4 * (per_task * tasks + 2 + len(UPDATE_PARTS))
        room = self._options.budget / 2 / STEPS_IN_FIRST_HALF - exact
        return max(int(room / per_coordinate), 4 * len(self._named))

    def _facts(self, sample: Sample, attributors: Iterable[Splits], schedule: Schedule) -> dict[str, Any]:
        """Attributes that say how the run was made."""
        total = sum(whole_size(entry.tensor) for entry in self._named)
        trial = sweeps()
        return {
            **({SWEEPS: trial} if trial else {}),
            "schedule": schedule.facts,
            "sampling": {"kept": len(sample.parameter), "of": total, "seed": _SAMPLING_SEED},
            "options": {k: v for k, v in dataclasses.asdict(self._options).items() if k not in ("quiet", "to")},
            "optimizers": [describe(attributor) for attributor in attributors],
            "versions": versions(),
            "seed": torch.initial_seed(),
            "host": platform.node(),
            **processes(),
            "git_commit": git_commit(self._attrs.get("script_path")),
        }


def note(text: str) -> None:
    """One line of ours on stderr."""
    write_line(f"dominance: {visible(text)}", sys.stderr)
