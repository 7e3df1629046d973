"""What a training was set to, as far as its run says: options, a script's own arguments, the parameters of a sweep.

Nothing here loads xarray: the table of a thousand runs is made of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from dominance.schema import MODEL_NUMBER, SWEEPS

Value: TypeAlias = "bool | int | float | str | None"
Settings: TypeAlias = "dict[str, Value]"

OUTPUTS = frozenset(
    (
        *("o", "out", "output", "outdir", "out_dir", "output_dir", "output_folder", "save", "save_dir", "save_path"),
        *("log_dir", "logdir", "run_dir", "run_name", "run_id", "exp_name", "name", "checkpoint_dir", "ckpt_dir"),
        *("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.job.name", "hydra.job.num"),
    )
)
"""Arguments that say where a training goes, and not what it is."""

SEEDS = ("seed", "random_seed", "rng_seed", "manual_seed", "random_state")
"""What a seed is called, among arguments and parameters."""

_LARGEST_GIVEN = 2**32
"""A seed that a person gives is smaller; one that torch draws for itself is almost surely not."""

_NO_MATTER = ("seed", "device", "threads", "tasks", "settings", "options")
_ASSIGNED = re.compile(r"[+~]{0,2}[A-Za-z_][\w.@/-]*=")
_NUMBER = re.compile(r"-?(\d|\.\d)")


def settings_of(attrs: Mapping[str, Any]) -> Settings:
    """What a person or a sweep has set: of ``dominance train`` its options, of a script its method and arguments.

    Where two of them have one name, the parameters of a sweep count before the script's arguments, and these before
    the rest. A seed is not among them.

    >>> trial = {"by": "optuna", "parameters": {"depth": 3}}
    >>> settings_of({"argv": ["train.py", "--lr", "1e-3", "--amp"], "sweeps": [trial]})
    {'script': 'train.py', 'lr': 0.001, 'amp': True, 'depth': 3}
    """
    found: Settings = {}
    training = attrs.get("training")
    if isinstance(training, Mapping):
        found |= {str(name): _plain(value) for name, value in training.items() if name not in _NO_MATTER}
        for part in ("settings", "options"):
            for name, value in (training.get(part) or {}).items():
                found[name if name not in found else f"{part}.{name}"] = _plain(value)
        return {name: value for name, value in found.items() if value is not None}
    if attrs.get("method"):
        found["method"] = ":".join([str(attrs["method"]), *map(str, attrs.get("method_options") or ())])
    argv = list(attrs.get("argv") or ())
    if argv:
        module = argv[0] == "-m" and len(argv) > 1
        found["script"] = str(argv[module])
        found |= arguments(argv[1 + module :])
    for sweep in attrs.get(SWEEPS) or ():
        found |= {_name(str(name)): _plain(value) for name, value in (sweep.get("parameters") or {}).items()}
    return {name: value for name, value in found.items() if value is not None and name not in (*OUTPUTS, *SEEDS)}


def arguments(argv: Sequence[str]) -> Settings:
    """The arguments of a script by name: ``--name value``, ``--name=value``, ``--flag``, and Hydra's ``name=value``.

    Others are called "argument 1" and so on. Dashes inside of a name become underscores. What a flag is and what an
    option with a value cannot be told for sure: before ``name=value``, as in ``--multirun lr=0.1``, it is a flag.

    >>> arguments(["data.csv", "--weight-decay=0.1", "-n", "-3", "model=mlp", "--amp"])
    {'argument 1': 'data.csv', 'weight_decay': 0.1, 'n': -3, 'model': 'mlp', 'amp': True}
    """
    found: Settings = {}
    bare = 0
    words = list(argv)
    while words:
        word = words.pop(0)
        if _is_option(word):
            name, equals, value = word.lstrip("-").partition("=")
            if equals:
                found[_name(name)] = _read(value)
            elif words and not _is_option(words[0]) and not _ASSIGNED.match(words[0]):
                found[_name(name)] = _read(words.pop(0))
            else:
                found[_name(name)] = True
        elif _ASSIGNED.match(word):
            name, _, value = word.lstrip("+~").partition("=")
            found[_name(name)] = _read(value)
        else:
            bare += 1
            found[f"argument {bare}"] = _read(word)
    return found


def seed_of(attrs: Mapping[str, Any], *, moved: bool = False) -> int | None:
    """The seed of a training; None where nobody has set one, or it is not known.

    Args:
        moved: the study is one of ``dominance try``, which moves the seeds of a script by the number of the run.
    """
    training = attrs.get("training")
    if isinstance(training, Mapping):
        return training.get("seed")
    if moved and isinstance(attrs.get("seed_run"), int):
        return int(attrs["seed_run"])
    named: Settings = arguments(list(attrs.get("argv") or ())[1:])
    for sweep in attrs.get(SWEEPS) or ():
        named |= {_name(str(name)): _plain(value) for name, value in (sweep.get("parameters") or {}).items()}
    for name in SEEDS:
        value = named.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    seed = attrs.get("seed")
    return int(seed) if isinstance(seed, int) and 0 <= seed < _LARGEST_GIVEN else None


def found_by_itself(attrs: Mapping[str, Any]) -> Settings:
    """What the recorder has seen of a training, and nobody need have set: its tasks, optimizer and hyper-parameters.

    Then which trial it was of each tool, and which of the models that one process trained, one after the other.
    """
    found: Settings = {"tasks": ", ".join(map(str, attrs["tasks"]))}
    for place, optimizer in enumerate(attrs.get("optimizers") or ()):
        word = "" if place == 0 else f" {place + 1}"
        found[f"optimizer{word}"] = str(optimizer["class"])
        for name, value in (optimizer["groups"][0] if optimizer["groups"] else {}).items():
            found[f"{name}{word}"] = _plain(value)
    for sweep in attrs.get(SWEEPS) or ():
        found[f"{sweep['by']} trial"] = _plain(sweep.get("trial"))
    found["model"] = attrs.get(MODEL_NUMBER, 1)
    return found


def differing(each: Iterable[Settings]) -> list[str]:
    """The names that not all have with the same value, in the order in which they come up.

    >>> differing([{"lr": 0.1, "depth": 2}, {"lr": 0.1, "depth": 3, "amp": True}])
    ['depth', 'amp']
    """
    known = list(each)
    names = dict.fromkeys(name for one in known for name in one)
    return [name for name in names if len({_key(one.get(name)) for one in known}) > 1]


def telling(settings: Sequence[Settings], seeds: Sequence[int | None], more: Sequence[Settings]) -> list[str]:
    """Of what was found by itself, the names that tell runs apart which are the same in all else.

    Args:
        settings, seeds: of each run.
        more: what was found of it by itself; the first names that suffice are taken.
    """
    cells: dict[Any, list[int]] = {}
    for place, (one, seed) in enumerate(zip(settings, seeds, strict=True)):
        cells.setdefault((frozenset((name, _key(value)) for name, value in one.items()), seed), []).append(place)
    waiting = [places for places in cells.values() if len(places) > 1]
    found: list[str] = []
    for name in dict.fromkeys(name for one in more for name in one):
        split: list[list[int]] = []
        for places in waiting:
            parts: dict[Any, list[int]] = {}
            for place in places:
                parts.setdefault(_key(more[place].get(name)), []).append(place)
            split += parts.values()
        if len(split) > len(waiting):
            found.append(name)
        waiting = [places for places in split if len(places) > 1]
    return found


def _key(value: Value) -> tuple[str, Value]:
    """1, 1.0 and True are one value to Python; the first two are to a person, too."""
    return ("truth" if isinstance(value, bool) else "", value)


def _is_option(word: str) -> bool:
    return len(word) > 1 and word[0] == "-" and not _NUMBER.match(word) and word.lstrip("-") != ""


def _name(text: str) -> str:
    return text.lstrip("+~").replace("-", "_")


def _read(text: str) -> Value:
    """A number or a truth value where the text is one."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return number if number == number else text  # NaN is not the same as itself
    return text


def _plain(value: Any) -> Value:
    """A single value of what JSON has; a list and an object as text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _read(value)
    if isinstance(value, Mapping):
        return ",".join(f"{name}:{_plain(part)}" for name, part in value.items()) or None
    if isinstance(value, list | tuple):
        return ",".join(str(_plain(part)) for part in value) or None
    return str(value)
