"""Which trial of a sweep a training is, and with which parameters, as far as the tools that run it have said here.

Only what is loaded and at hand is looked at: nothing is imported, asked of a server, or changed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import Path
from types import FrameType
from typing import Any

from dominance.record.frames import variables_of

_MOST = 200
"""Parameters that are kept of one tool."""
_LONGEST = 500
_DEEPEST = 4

Said = dict[str, Any]


def sweeps() -> list[Said]:
    """What each tool says of the training that is in progress, the outermost tool first; see ``schema.SWEEPS``.

    It is called where the training takes its first step: the functions that run a trial are then around it.
    """
    found = []
    for by, look in _TOOLS.items():
        try:
            said = look()
        except Exception:  # noqa: BLE001  what other people's objects raise can be anything, and is no harm here
            continue
        if said is not None:
            parameters = dict(list(_flat(said.pop("parameters", {})).items())[:_MOST])
            known = {name: _plain(value) for name, value in said.items() if value is not None}
            found.append({"by": by, **known, "parameters": parameters})
    return found


def _slurm() -> Said | None:
    task = os.environ.get("SLURM_ARRAY_TASK_ID", "")
    return {"trial": int(task), "name": os.environ.get("SLURM_ARRAY_JOB_ID")} if task.isdigit() else None


def _snakemake() -> Said | None:
    """The object that Snakemake puts into the scripts of its rules."""
    for module in ("__main__", "snakemake.script"):
        job: Any = getattr(sys.modules.get(module), "snakemake", None)
        if type(job).__module__.partition(".")[0] == "snakemake":
            named = {**dict(job.params.items()), **dict(job.wildcards.items())}
            return {"name": str(job.rule), "parameters": named}
    return None


def _hydra() -> Said | None:
    """The overrides of a job; of a process that a job has started, those in the files that Hydra leaves there."""
    if (module := sys.modules.get("hydra.core.hydra_config")) is None:
        file = Path(".hydra/overrides.yaml")
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        listed = [_unquoted(line[2:].strip()) for line in lines if line.startswith("- ")]
        return {"parameters": _assigned(listed)} if lines else None
    if not module.HydraConfig.initialized():
        return None
    found = module.HydraConfig.get()
    return {
        "name": found.job.get("name"),
        "trial": found.job.get("num"),
        "parameters": _assigned(map(str, found.overrides.task)),
    }


def _unquoted(text: str) -> str:
    """A scalar of YAML, which is in single quotes where it has to be."""
    return text[1:-1].replace("''", "'") if len(text) > 1 and text[0] == text[-1] == "'" else text


def _assigned(overrides: Iterable[str]) -> Said:
    pairs = (override.lstrip("+~").partition("=") for override in overrides)
    return {name: value for name, equals, value in pairs if equals}


def _wandb() -> Said | None:
    """The configuration of the run that is active."""
    run = getattr(sys.modules.get("wandb"), "run", None)
    if run is None:
        return None
    config = {name: value for name, value in run.config.as_dict().items() if name != "_wandb"}
    return {"name": run.sweep_id, "trial": run.id, "parameters": config}


def _optuna() -> Said | None:
    """The trial in the innermost function that has one, such as the study's own around an ``objective``."""
    if "optuna" not in sys.modules:
        return None
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        trials = [value for value in variables_of(frame).values() if _is_trial(type(value))]
        if trials:
            trial = max(trials, key=lambda value: type(value).__name__ == "Trial")
            study = getattr(getattr(trial, "study", None), "study_name", None)
            return {"name": study, "trial": trial.number, "parameters": trial.params}
        frame = frame.f_back
    return None


def _is_trial(kind: type) -> bool:
    """Whether it is one of Optuna's own, which answer without asking another process."""
    module = kind.__dict__.get("__module__")
    return isinstance(module, str) and f"{module}.".startswith("optuna.trial.") and hasattr(kind, "params")


_TOOLS: Mapping[str, Callable[[], Said | None]] = {
    "slurm": _slurm,
    "snakemake": _snakemake,
    "hydra": _hydra,
    "wandb": _wandb,
    "optuna": _optuna,
}


def _flat(value: Mapping[Any, Any], before: str = "", depth: int = 0) -> Said:
    """Objects within objects as names with dots."""
    found: Said = {}
    for key, part in value.items():
        name = f"{before}{key}"[:_LONGEST]
        if isinstance(part, Mapping) and depth < _DEEPEST:
            found |= _flat(part, f"{name}.", depth + 1)
        else:
            found[name] = _plain(part)
    return found


def _plain(value: Any) -> Any:
    """The value in the types that JSON has; of an object of another kind its kind."""
    if isinstance(value, Enum):
        return str(value.name)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return int(value)
    if isinstance(value, float):
        return float(value) if abs(value) < float("inf") else str(float(value))
    if isinstance(value, str | int | os.PathLike):
        return str(value)[:_LONGEST]
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(part) for part in list(value)[:_MOST]] if not _nested(value) else str(value)[:_LONGEST]
    if type(value).__module__ == "numpy" and hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return _plain(value.item())
    return type(value).__name__


def _nested(value: Iterable[Any]) -> bool:
    return any(isinstance(part, list | tuple | set | frozenset | Mapping) for part in value)
