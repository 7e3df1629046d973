"""The contract of a run: its groups, dims, attributes and version. Both banks of the store import this and only this.

A run directory holds ``data.zarr`` (Zarr v3). Arrays grow along ``step`` (or ``event``), one row per recorded step.
Names of tasks, layers and parameters live in the root attributes, as JSON; the arrays hold numbers only.

==================  ==============================  =======  ===========================================================
array               dims                            dtype    meaning
==================  ==============================  =======  ===========================================================
step                step                            int64    number of the training step, from 0 (optimizer steps taken)
epoch               step                            int64    as told by ``Recorder.epoch``; -1 where not told
time                step                            float64  seconds since 1970, UTC
skipped             step                            int8     1: gradients were made and no step followed (GradScaler);
                                                             2: a step was taken that could not be understood, all else
                                                             may be NaN and the reason is in the attribute "unrecorded"
closure             step                            float64  max over parameters of ``|sum of the parts - step taken|``
                                                             beyond the rounding of theta, relative to the largest entry
                                                             of the parameter's step
gradient/gradient   step, task, coord               float32  effective task gradient (what the optimizer is fed)
gradient/total      step, coord                     float32  gradient the optimizer was fed (p.grad at the step)
update/update       step, task, coord               float32  additive update of each task, as the change of theta
update/solo         step, task, coord               float32  solo update (only with attribution "solo" or "both")
update/total        step, coord                     float32  what theta did: from the start of this step to the start of
                                                             the next; the sum of the tasks' updates and of the parts
update/residual     step, coord                     float32  part of the step that belongs to no task
update/unattributed step, coord                     float32  part owed to momentum of gradients nobody saw
update/decay        step, coord                     float32  part owed to weight decay, coupled or decoupled
update/outside      step, coord                     float32  part that theta was moved by outside step(), until the next
                                                             step began: a pull by Lookahead, a clamp, swapped weights
layer/task          step, layer, task, statistic    float64  see TASK_STATISTICS; exact over all coordinates
layer/total         step, layer, total_statistic    float64  see TOTAL_STATISTICS; exact over all coordinates
layer/gram          step, layer, task, task_other   float64  inner products of the effective task gradients
loss/loss           step, task                      float64  the task's own loss, unweighted
loss/weight         step, task                      float64  weight: effective gradient = weight * gradient of the loss
loss/total          step                            float64  the scalar(s) that backward() was called on
learning_rate/value step, layer                     float64  nominal learning rate of the layer's parameter group
metric/*            event                           mixed    step, epoch, task, split, name (codes), value; losses
                                                             of unrecorded steps too, see UNRECORDED_LOSS
probe/*             as its result                   mixed    results of probes, after the fact (dominance.store.probes)
probe/average/au    task, every_coord               float64  AU of every shared coordinate at the last usable step, the
                                                             parameters one after the other, each flat (--averages)
==================  ==============================  =======  ===========================================================

NaN in a float array means "not recorded"; a task that took no part in a step has weight NaN there and update 0. A chunk
that is missing is none of that: to read it is an error, unless all of it would be from before its task was found.

The chunk of row block 3 and of the second task lies in ``gradient/gradient/c.3.1.0``; runs of before have a folder for
each of these numbers, ``c/3/1/0``, which its array's ``chunk_key_encoding`` says.

Every chunk ends with its CRC-32C. Every zarr.json has its own as its first attribute, ``metadata_checksum``: CRC-32C of
the file's bytes with eight zeros in place of the sum; runs of before have none there. What the metadata may say is laid
down by type and range in ``dominance.store.metadata``, and checked wherever a run is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dominance.errors import NotARun, SchemaTooNew

SCHEMA_VERSION = 2
"""Raised by one whenever a reader of the older version would misread a run.

2: ``update/outside``, and the last two of TOTAL_STATISTICS; ``update/total`` reaches to the start of the next step."""

DATA_NAME = "data.zarr"
"""Name of the Zarr group inside a run directory."""

LOSS_SUM = "loss_sum"
"""The attribute that says in which lines of the script the losses are added up: file, number of the first, the lines,
and for each task the byte of them where its loss begins. Of a sum over a dict also what takes a factor of each item:
``each``, the bytes from and to that give way, and what stands before and behind the factors there."""

TRAINING_LINES = "training_lines"
"""The attribute that says in which lines a plain training loop makes its optimizer and calls ``backward()``: see
``record.tasks.training_lines``."""

EVALUATED_LOSS = "eval-loss"
"""The metric that is a task's loss as the script computed it without gradients; no logger's name is read as that."""

TASK_STATISTICS = ("gradient_sq", "update_sq", "gradient_dot_update", "solo_sq")
"""Packed in layer/task, per (step, layer, task): squared norms of the task's effective gradient, additive update and
solo update, and the inner product of the task's gradient with the total update (negative: the step descends it)."""

TOTAL_STATISTICS = (
    "gradient_sq",
    "update_sq",
    "gradient_dot_update",
    "residual_gradient_sq",
    "residual_sq",
    "unattributed_sq",
    "decay_sq",
    "outside_sq",
    "unexplained_gradient_sq",
)
"""Packed in layer/total, per (step, layer): squared norms of the total gradient and total update, their inner product,
squared norms of the residual gradient and of the residual, unattributed and decay parts of the update; of what theta
did between the end of step() and the start of the next step; and of the part of the residual gradient that is no
regulariser with a name either. Runs of schema 1 lack the last two."""

_FIRST_TOTAL_STATISTICS = 7
"""How many of TOTAL_STATISTICS schema 1 had."""

UPDATE_PARTS = ("residual", "unattributed", "decay", "outside")
"""Parts of ``update/total`` beside the tasks' updates: arrays of the group update, dims (step, coord)."""

ATTRIBUTIONS = ("additive", "solo", "both")

AVERAGE = "average"
"""Name of the group below ``probe/`` that holds AU of every shared coordinate, where a run keeps it."""
AVERAGE_DECAY = 0.99
"""Its decay: that of the analysers, where nothing else is asked."""

# Chunk lengths along step and coord that were measured best (8-16 MB a chunk of a large run).
STEP_CHUNK = 64
COORD_CHUNK = 50_000


@dataclass(frozen=True)
class ArraySpec:
    """One array of a run: where it lies, its dims, its dtype, and its size along every dim but the growing one.

    ``path`` is "group/name" or "name" at the root; ``dims[0]`` is the growing dim, "step" or "event";
    ``shape`` leaves that dim out. Float arrays are filled with NaN, integers with -1.
    """

    path: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    round_mantissa: bool = False


@dataclass(frozen=True)
class Parameter:
    """One parameter tensor of the recorded model, as written to the run's attributes."""

    name: str
    layer: str
    shape: tuple[int, ...]
    tasks: tuple[str, ...] = ()
    """Names of the tasks whose loss reaches it, as far as seen; two or more make it shared."""
    module: str = ""
    """Class of torch.nn that the module which owns it is or inherits from: "Linear", "Embedding"; "Module" for one of
    the user's own, "Tensor" where no module owns it, "" where it was not recorded."""
    heads: int = 0
    """How many attention heads the module that owns it, or one around it, says it has; 0: it does not say."""
    head_dim: int = 0
    """How wide it says that one of them is; 0: it does not say."""

    @property
    def shared(self) -> bool:
        return len(self.tasks) >= 2

    def to_json(self) -> dict[str, Any]:
        names = {"name": self.name, "layer": self.layer, "module": self.module}
        attention = {"heads": self.heads, "head_dim": self.head_dim}
        said = {key: value for key, value in attention.items() if value}
        return {**names, "shape": list(self.shape), "tasks": list(self.tasks), **said}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Parameter:
        reach = tuple(data["tasks"])
        heads = data.get("heads", 0), data.get("head_dim", 0)
        return cls(data["name"], data["layer"], tuple(data["shape"]), reach, data.get("module", ""), *heads)


@dataclass
class Layout:
    """Sizes and names that fix the shape of a run: what a writer needs before the first row.

    ``coord_parameter`` (codes into ``parameters``), ``coord_index`` (flat index inside that parameter) and
    ``coord_weight`` (how many coordinates of the parameter each sampled one stands for) have one entry per kept
    coordinate, sorted by parameter, then by index.
    """

    tasks: list[str]
    parameters: list[Parameter]
    layers: list[str]
    coord_parameter: Any
    coord_index: Any
    coord_weight: Any
    attribution: str = "additive"
    attrs: dict[str, Any] = field(default_factory=dict)
    version: int = SCHEMA_VERSION
    """The schema of the run: SCHEMA_VERSION, or that of an older run which is read."""

    @property
    def total_statistics(self) -> tuple[str, ...]:
        """TOTAL_STATISTICS, as far as the run has them."""
        return TOTAL_STATISTICS if self.version > 1 else TOTAL_STATISTICS[:_FIRST_TOTAL_STATISTICS]

    @property
    def update_parts(self) -> tuple[str, ...]:
        """UPDATE_PARTS, as far as the run has them."""
        return UPDATE_PARTS if self.version > 1 else UPDATE_PARTS[:-1]

    def arrays(self, *, exact: bool = False) -> list[ArraySpec]:
        """Every array that grows along ``step``. ``exact`` keeps all 23 mantissa bits of the per-coordinate arrays."""
        k, n, m = len(self.tasks), len(self.coord_parameter), len(self.layers)
        lossy = not exact
        per_task = ["gradient/gradient", "update/update"]
        if self.attribution in ("solo", "both"):
            per_task.append("update/solo")
        per_coord = ["gradient/total", "update/total", *(f"update/{part}" for part in self.update_parts)]
        return [
            ArraySpec("step", ("step",), (), "int64"),
            ArraySpec("epoch", ("step",), (), "int64"),
            ArraySpec("time", ("step",), (), "float64"),
            ArraySpec("skipped", ("step",), (), "int8"),
            ArraySpec("closure", ("step",), (), "float64"),
            *(ArraySpec(path, ("step", "task", "coord"), (k, n), "float32", lossy) for path in per_task),
            *(ArraySpec(path, ("step", "coord"), (n,), "float32", lossy) for path in per_coord),
            ArraySpec("layer/task", ("step", "layer", "task", "statistic"), (m, k, len(TASK_STATISTICS)), "float64"),
            ArraySpec("layer/total", ("step", "layer", "total_statistic"), (m, len(self.total_statistics)), "float64"),
            ArraySpec("layer/gram", ("step", "layer", "task", "task_other"), (m, k, k), "float64"),
            ArraySpec("loss/loss", ("step", "task"), (k,), "float64"),
            ArraySpec("loss/weight", ("step", "task"), (k,), "float64"),
            ArraySpec("loss/total", ("step",), (), "float64"),
            ArraySpec("learning_rate/value", ("step", "layer"), (m,), "float64"),
        ]


METRIC_ARRAYS = [
    ArraySpec("metric/step", ("event",), (), "int64"),
    ArraySpec("metric/epoch", ("event",), (), "int64"),
    ArraySpec("metric/task", ("event",), (), "int32"),
    ArraySpec("metric/split", ("event",), (), "int32"),
    ArraySpec("metric/name", ("event",), (), "int32"),
    ArraySpec("metric/value", ("event",), (), "float64"),
]
"""The long table behind ``Recorder.log_metrics``; task, split, name are codes into the attribute ``metric_names``."""

GROUPS = "groups"
"""The split in metric/* of how many ``examples`` (or ``tokens``) of a recorded step are the event's task's, where tasks
are groups of examples."""

UNRECORDED_LOSS = "unrecorded"
"""The split in metric/* of a task's loss in a step that is not recorded, as far as it was read. Readers give it apart
from what was logged, as the group ``unrecorded_loss`` of a tree."""

AFFINITY = "affinity"
"""The split of lookahead affinities in metric/*: of the event's task on the task that the metric is named after."""

SKIPPED, NOT_UNDERSTOOD = 1, 2
"""Values of ``skipped``; 0 is a step like any other."""

UNRECORDED = "unrecorded"
"""Root attribute, where there is something to say: a list of ``{"reason": str, "steps": int, "first": int}``, one entry
for each reason why steps that the schedule wanted are not in the run, or are in it without having been understood."""

REMARKS = "remarks"
"""Root attribute, where there is something to say: sentences about this run's books, each said once."""

MODEL_NUMBER, MODEL_OF = "model_number", "model_of"
"""Root attributes of a run whose process trained several models, one after the other: the model's number, from 1, and
the names of the run folders of all models up to this one. The first lies at PATH, the others beside it at PATH-2,
PATH-3...; the first may lack both, since nobody knew of others when it was made."""

SWEEPS = "sweeps"
"""Root attribute of a run that is a trial of a sweep: a list of ``{"by": str, "trial": str or number, "name": str,
"parameters": {name: value}}``, one for each tool at work, such as Hydra, and Optuna inside of it; all but ``by`` may be
missing."""

STATE_DOMINATED = "state_dominated"
"""Key of an entry of the root attribute ``optimizers``: true where the state decides the update and the gradient hardly
does, so that the solo updates of tasks are alike whatever their gradients."""

REQUIRED_ATTRIBUTES = ("schema_version", "tasks", "layers", "parameters", "attribution", "committed_steps")


def validate(attrs: dict[str, Any], where: str) -> None:
    """Check the root attributes of a run.

    Raises:
        SchemaTooNew: the run was written by a newer version of dominance.
        NotARun: an attribute that every run has is missing.
    """
    version = attrs.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise SchemaTooNew(
            f"{where}: written with schema {version}, this dominance reads up to {SCHEMA_VERSION}",
            fix="upgrade: pip install -U dominance",
        )
    missing: Sequence[str] = [name for name in REQUIRED_ATTRIBUTES if name not in attrs]
    if missing:
        raise NotARun(
            f"{where}: no dominance run (its attributes lack {', '.join(missing)})",
            fix="name a directory that `dominance record` made",
        )
