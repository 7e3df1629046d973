"""Options of dominance, in one place. Precedence: flag > DOMINANCE_* environment > [tool.dominance] > default."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from fnmatch import translate
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dominance.errors import BadOption, DominanceError
from dominance.schema import ATTRIBUTIONS

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
MINIMUM_BUDGET = 10**6
PROBES = ("noise",)
"""What ``--probe`` can name."""

SINKS = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
"""What ``--to`` can name, each a module of ``dominance.sinks`` -> the package that it needs."""


def check_sink(name: str) -> None:
    """Loads nothing of the sink.

    Raises:
        BadOption: no sink has this name, or its package is not installed.
    """
    if name not in SINKS:
        raise BadOption(f"no sink is called {name!r}", fix=f"choose from {', '.join(SINKS)}")
    if find_spec(SINKS[name]) is None:
        raise BadOption(f"{SINKS[name]} is not installed", fix=f"pip install 'dominance[{name}]'")


def parse_size(text: str | int) -> int:
    """Bytes meant by "500MB", "1.5 GiB" or a plain number.

    Raises:
        BadOption: not a size, or not positive.

    >>> parse_size("500MB"), parse_size("1 KiB"), parse_size(10)
    (500000000, 1024, 10)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(text))
    if match is None or match[2].upper() not in _UNITS or float(match[1]) <= 0:
        raise BadOption(f"budget {str(text)!r} is no size", fix="write it like 500MB or 2GiB")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def parse_columns(text: str) -> tuple[str, tuple[str, ...]]:
    """Path of a module and names of the columns of its output, of "module.path" or "module.path=name1,name2".

    Raises:
        BadOption: it is neither.

    >>> parse_columns("heads.logits=rain,wind"), parse_columns("heads.logits")
    (('heads.logits', ('rain', 'wind')), ('heads.logits', ()))
    """
    path, given, listed = text.partition("=")
    names = tuple(name.strip() for name in listed.split(",")) if given else ()
    if not path.strip() or not all(names) or len(set(names)) < len(names):
        raise BadOption(
            f"--columns {text!r} cannot be read",
            fix="write the path of a module, like heads.logits, or heads.logits=rain,wind with a name for each column",
        )
    return path.strip(), names


MOST_GROUPS = 64
"""Groups of examples that are told apart where nothing else is said."""


def parse_groups(text: str) -> tuple[str, int]:
    """Key of the groups in a batch, and how many are told apart at most, of "domain" or "domain:20".

    Raises:
        BadOption: it is neither.

    >>> parse_groups("domain:20"), parse_groups("meta.lang")
    (('domain', 20), ('meta.lang', 64))
    """
    key, given, most = text.strip().partition(":")
    if not key or (given and not (most.isdigit() and int(most) > 0)):
        raise BadOption(
            f"--groups {text!r} cannot be read",
            fix="write a key of the batch, a position in it, or target; domain:20 for the first 20 and all others",
        )
    return key, int(most) if given else MOST_GROUPS


def parse_share(text: str | float) -> float:
    """The share meant by "5%", "0.05" or 0.05.

    Raises:
        BadOption: not a share, or none that anything could be recorded in.

    >>> parse_share("5%"), parse_share(0.5)
    (0.05, 0.5)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(%?)\s*", str(text))
    share = 0.0 if match is None else float(match[1]) / (100 if match[2] else 1)
    if not 0 < share <= 100:
        raise BadOption(f"overhead {str(text)!r} is no share of the training's time", fix="write it like 5% or 0.05")
    return share


@dataclass(frozen=True)
class RecordOptions:
    """How a run is recorded. Every field can be set by a flag, DOMINANCE_<FIELD>, or [tool.dominance] <field>."""

    tasks: tuple[str, ...] | None = None
    """Names of the tasks that must be found; None: take what the loss is made of."""
    every: int | None = None
    """One training step in this many is recorded; 1 records all and is exact; None: one in ten at first, then fewer."""
    burst: int | None = None
    """Consecutive steps recorded in a row; None: 1 for optimizers without momentum, 20 with."""
    overhead: float | None = None
    """Of the training's own time, what recording may take; None: as much as ``every`` asks for."""
    params: str = "*"
    """Glob over parameter names: which parameters are recorded."""
    budget: int = 10**9
    """Bytes that the run may take on disk, whatever its length."""
    exact: bool = False
    """Keep all 23 mantissa bits; otherwise 10, which halves the size at a relative error of 4.9e-4."""
    attribution: str = "additive"
    """"additive", "solo" or "both"."""
    strict: bool = False
    """Stop before the first step, with exit code 2, when the tasks are not found as asked."""
    quiet: bool = False
    probe: tuple[str, ...] = ()
    """Probes of the live model that are made when the training is over: "noise"."""
    columns: tuple[str, ...] = ()
    """Modules of whose outputs each column is a task: "heads.logits", or with names "heads.logits=rain,wind"."""

    to: str | None = None
    """A logger that is sent the run's numbers while it is recorded: "tensorboard", "wandb" or "mlflow"."""

    groups: str | None = None
    """Key of a batch that says which group each example is of: "domain", "domain:20", a position, or "target"."""
    averages: bool = False
    """Keep AU of every shared coordinate in the end, not only of the sample that each step keeps."""
    light: bool = False
    """Work out the tasks' momenta and steps at the kept coordinates alone, and estimate their norms from these."""
    training_only: bool = False
    """Take no metrics from the losses that a script computes without gradients."""

    def __post_init__(self) -> None:
        if self.groups is not None:
            parse_groups(self.groups)
        if self.every is not None and self.every < 1:
            raise BadOption(f"every={self.every} records nothing", fix="give 1 (all steps) or more")
        if self.burst is not None and self.burst < 1:
            raise BadOption(f"burst={self.burst} records nothing", fix="give 1 or more")
        if self.overhead is not None:
            parse_share(self.overhead)
        if self.budget < MINIMUM_BUDGET:
            raise BadOption(f"a budget of {self.budget} bytes is too small for any run", fix="give 1MB or more")
        if not self.params:
            raise BadOption("an empty params records nothing", fix='give a glob over parameter names, like "encoder.*"')
        if self.attribution not in ATTRIBUTIONS:
            raise BadOption(
                f"attribution {self.attribution!r} is unknown", fix=f"choose from {', '.join(ATTRIBUTIONS)}"
            )
        if self.tasks is not None and len(set(self.tasks)) != len(self.tasks):
            raise BadOption(f"a task is named twice in {','.join(self.tasks)}", fix="name each task once")
        if self.light and self.attribution != "additive":
            raise BadOption(f"attribution {self.attribution} needs every coordinate", fix="leave light out")
        if self.light and self.keeps_averages:
            wanted = "averages" if self.averages else "probe noise"
            raise BadOption(f"{wanted} needs the updates of every coordinate", fix=f"leave out light, or {wanted}")
        for text in self.columns:
            parse_columns(text)
        if self.to is not None:
            check_sink(self.to)
        for name in self.probe:
            if name not in PROBES:
                raise BadOption(f"probe {name!r} is unknown", fix=f"choose from {', '.join(PROBES)}")

    @property
    def keeps_averages(self) -> bool:
        """Whether AU of every shared coordinate is kept: noise is put on the highest of all of them."""
        return self.averages or "noise" in self.probe

    def records(self, parameter: str) -> bool:
        """Whether the glob ``params`` admits this parameter name."""
        return re.match(translate(self.params), parameter) is not None


_REPEATED = ("columns",)
"""Fields whose flag is given once for each of their values."""


def typed(options: RecordOptions, names: tuple[str, ...] | None = None) -> list[str]:
    """The flags of ``dominance record`` by which a command would ask for the same.

    Args:
        options: how to record; of what is None, or False, nothing is said.
        names: of these fields only.

    >>> typed(RecordOptions(every=5, overhead=0.05, exact=True), ("every", "overhead", "exact"))
    ['--every', '5', '--overhead', '0.05', '--exact']
    """
    words: list[str] = []
    for field in fields(RecordOptions):
        value = getattr(options, field.name)
        if (names is not None and field.name not in names) or value is None or value is False:
            continue
        for each in value if field.name in _REPEATED or value == () else (value,):
            words += [f"--{field.name.replace('_', '-')}", *([] if each is True else [_word(each)])]
    return words


def _word(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _convert(name: str, value: Any, where: str) -> Any:
    convert: Callable[[Any], Any] = _CONVERT.get(name, _text)
    try:
        return convert(value)
    except DominanceError:
        raise
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise BadOption(f"{where}: {name} cannot be {value!r}", fix="see `dominance record --help`") from None


def _names(value: Any) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else list(value)
    chosen = tuple(part.strip() for part in names if part.strip())
    if not chosen:
        raise ValueError
    return chosen


def _columns(value: Any) -> tuple[str, ...]:
    return tuple(each.strip() for each in (value.split(";") if isinstance(value, str) else value))


def _count(value: Any) -> int:
    if isinstance(value, bool) or int(value) != float(value):
        raise ValueError
    return int(value)


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("1", "true", "yes", "on"):
        return True
    if str(value).lower() in ("0", "false", "no", "off", ""):
        return False
    raise ValueError


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


_CONVERT: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("tasks", "probe"), _names),
    "columns": _columns,
    **dict.fromkeys(("every", "burst"), _count),
    "budget": parse_size,
    "overhead": parse_share,
    **dict.fromkeys(("averages", "exact", "light", "training_only", "strict", "quiet"), _flag),
}
"""What each option's value may be written as, in a file or in the environment; all others are texts."""


def from_pyproject(folder: Path) -> dict[str, Any]:
    """[tool.dominance] of the nearest pyproject.toml in ``folder`` or above it; empty when there is none."""
    for parent in (folder, *folder.parents):
        path = parent / "pyproject.toml"
        if path.is_file():
            try:
                table = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("dominance", {})
            except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
                raise BadOption(f"{path}: cannot be read ({error})", fix="mend the file") from None
            except AttributeError:
                raise BadOption(f"{path}: tool is no table", fix="write [tool.dominance]") from None
            if not isinstance(table, dict):
                raise BadOption(f"{path}: tool.dominance is no table", fix="write [tool.dominance]")
            return table
    return {}


def record_options(
    flags: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> RecordOptions:
    """Options by precedence. ``flags`` holds what the user gave; None in it means "not given".

    ``defaults`` take the place of those of ``RecordOptions``, where nothing else is said.

    Raises:
        BadOption: an unknown name in [tool.dominance] or DOMINANCE_*, or a value that cannot be used.
    """
    known = {field.name for field in fields(RecordOptions)}
    chosen: dict[str, Any] = dict(defaults or {})
    for name, value in from_pyproject(folder or Path.cwd()).items():
        if name not in known:
            raise BadOption(f"[tool.dominance] knows no {name!r}", fix=f"use one of {', '.join(sorted(known))}")
        chosen[name] = _convert(name, value, "[tool.dominance]")
    for key, value in (os.environ if environ is None else environ).items():
        if key.startswith("DOMINANCE_"):
            name = key.removeprefix("DOMINANCE_").lower()
            if name not in known:
                names = ", ".join(f"DOMINANCE_{field.upper()}" for field in sorted(known))
                raise BadOption(f"environment variable {key} means nothing here", fix=f"known are {names}")
            chosen[name] = _convert(name, value, key)
    for name, value in (flags or {}).items():
        if value is not None:
            chosen[name] = _convert(name, value, f"--{name}")
    return replace(RecordOptions(), **chosen)
