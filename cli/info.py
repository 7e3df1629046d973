"""``dominance info``: what a run directory holds."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import PurePath
from textwrap import wrap
from typing import Annotated, Any

import typer

from dominance.train_command import command
from dominance.words import held, rates_said, scheduled
from dominance_cli import stderr
from dominance_cli.rundir import expanded, models, opened, place
from dominance_cli.state import idle, state
from dominance_cli.text import aligned, print_json, size

_WIDTH = 67
"""Characters of a sentence beside the names of the lines, on a terminal of 80."""

_ATTRIBUTIONS = {
    "additive": "each step is split into the tasks' parts, which add up to it",
    "solo": "of each task, the step that its gradient alone would make",
    "both": "each step split into the tasks' parts, and what each would do alone",
}
"""What the kinds of splits mean."""


def info(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", parser=place, help="Run directory, such as runs/latest, a folder of some, or a URL."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Check every checksum; exit 1 on damage.")] = False,
) -> int:
    """Say what a run holds: tasks, steps, sampling, size, versions.

    Example: dominance info runs/latest --verify
    """
    if (inside := expanded([run])) != [run]:
        return _folder(run, inside, as_json=as_json, verify=verify)
    tree = opened(run)
    facts = _facts(tree, run)
    problems = _damage(run) if verify else []
    if as_json:
        print_json(facts | ({"problems": problems} if verify else {}))
    else:
        print(aligned(_lines(facts), right=[False, False]))
        if verify:
            print("\n".join(problems) or _sound(run))
    if problems:
        stderr.error(f"{run}: {len(problems)} {'problem' if len(problems) == 1 else 'problems'}")
        return 1
    if facts["shared_layers"]:
        stderr.line(f"dominance summary {shlex.quote(str(run))}")
    return 0


def _folder(folder: str, runs: list[str], *, as_json: bool, verify: bool) -> int:
    """A row for each run of a folder; with --verify, the problems of all."""
    found = [_facts(opened(run), run) for run in runs]
    problems = {run: _damage(run) for run in runs} if verify else {}
    if as_json:
        print_json({"path": folder, "runs": [each | {"problems": problems.get(each["path"], [])} for each in found]})
    else:
        print(aligned([_row(each) for each in found], right=[False] * 5))
        for run, all_of in problems.items():
            print("\n".join(f"{run}: {each}" for each in all_of) or f"{run}: {_sound(run)}")
    bad = sum(map(len, problems.values()))
    if bad:
        stderr.error(f"{folder}: {bad} {'problem' if bad == 1 else 'problems'}")
        return 1
    stderr.line(f"dominance summary {shlex.quote(folder)}")
    return 0


def _row(facts: dict[str, Any]) -> list[str]:
    tasks = ", ".join(task["name"] for task in facts["tasks"])
    count = len(facts["accounts"])
    off = f"books: {count} {'remark' if count == 1 else 'remarks'}" if count else ""
    return [PurePath(facts["path"]).name, facts["state"], _steps(facts), tasks, off]


def _damage(run: str) -> list[str]:
    from dominance.store.verify import verify

    return [str(problem) for problem in verify(run)]


def _sound(run: str) -> str:
    """What --verify says of a run without damage."""
    from dominance.store.verify import has_checksums

    return "every checksum matches" + ("" if has_checksums(run) else "; no checksum of its metadata: they are older")


def _facts(tree: Any, run: str) -> dict[str, Any]:
    """Everything that is known about the run; the keys are stable."""
    from dominance.analyse.books import books
    from dominance.analyse.verdict.doubts import accounts
    from dominance.schema import AVERAGE
    from dominance.store.files import files_of

    attrs = dict(tree.attrs)
    kept = set(tree["probe"].children) if "probe" in tree.children else set()
    layers = tree["layer"].to_dataset()
    steps = tree["step"].to_numpy()
    weights = tree["loss"].to_dataset()["weight"].to_numpy()
    told = attrs.get("task_weights", {})
    last = {name: float(weights[-1, k]) if len(steps) else math.nan for k, name in enumerate(attrs["tasks"])}
    return {
        "path": run,
        "bytes": files_of(run).size(),
        "status": attrs.get("status"),
        "state": state(run, tree),
        "idle_seconds": idle(run, tree) if attrs.get("status") == "recording" else None,
        "tasks": [{"name": name, "weight": told.get(name), "last_weight": weight} for name, weight in last.items()],
        "final": _final(tree),
        "layers": len(attrs["layers"]),
        "shared_layers": int(layers["shared"].sum()),
        "parameters": int(layers["size"].sum()),
        "coordinates": int(tree.sizes["coord"]),
        "steps_recorded": len(steps),
        "steps_taken": attrs.get("steps_taken"),
        "first_step": int(steps[0]) if len(steps) else None,
        "last_step": int(steps[-1]) if len(steps) else None,
        "steps_skipped": int((tree["skipped"] == 1).sum()),
        "books": books(tree).to_dict(),
        "accounts": accounts(tree),
        "models": models(run, attrs),
        "probes": sorted(kept - {AVERAGE}),
        "averages": AVERAGE in kept,
        "attributes": {name: attrs[name] for name in attrs if name not in ("tasks", "layers", "parameters", "path")},
    }


def _final(tree: Any) -> dict[str, dict[str, float]]:
    """Of a training that is over, the scores that count: task -> metric -> value."""
    found: dict[str, dict[str, float]] = {}
    if "metric" in tree.children:
        table = tree["metric"].to_dataset(inherit=False)
        columns = (table[name].to_numpy().tolist() for name in ("split", "event_task", "metric", "value"))
        for split, task, name, value in zip(*columns, strict=True):
            if split == "final":
                found.setdefault(task, {})[name] = value
    return found


def _lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """What a person wants to know first, a line each; what the run's attributes lack is left out."""
    return [*_made(facts), *_seen(facts), *_kept(facts), *_stored(facts)]


def _made(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Where the run comes from, and whether it was understood."""
    attrs = facts["attributes"]
    lines = [("run", facts["path"]), ("status", facts["state"])]
    if facts["models"]:
        lines.append(("models", facts["models"]))
    lines += _books(facts)
    if "training" in attrs:
        lines.append(("command", command(attrs["training"])))
    elif "argv" in attrs:
        lines.append(("command", f"python {shlex.join(attrs['argv'])}"))
    if attrs.get("git_commit"):
        lines.append(("git commit", str(attrs["git_commit"])))
    return lines


def _seen(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """The tasks, what became of them, and which steps were recorded."""
    attrs = facts["attributes"]
    lines = [("tasks", _weighted(facts["tasks"]))]
    if attrs.get("residual_terms"):
        lines.append(("residual", f"{', '.join(attrs['residual_terms'])} (of no task: penalties on the parameters)"))
    for task, metrics in facts["final"].items():
        lines.append((f"final {task}", ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())))
    lines.append(("steps", _steps(facts)))
    if "schedule" in attrs:
        lines.append(("schedule", scheduled(attrs["schedule"])))
    if "overhead" in attrs:
        lines.append(("overhead", held(attrs["overhead"])))
    return lines


def _kept(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """The model, its optimizers, and what of each step was kept."""
    attrs = facts["attributes"]
    shared = f", {facts['shared_layers']} of them shared" if facts["steps_recorded"] else ""  # a step tells
    lines = [("layers", f"{facts['layers']}{shared}")]
    if ranks := _ranks(attrs):
        lines.append(("ranks", ranks))
    kept, total = facts["coordinates"], facts["parameters"]
    lines.append(("parameters", f"{total:,}, {'all' if kept == total else f'a sample of {kept:,}'} kept"))
    if attrs.get("options", {}).get("light"):
        lines.append(("light", "the norms of the tasks' updates are estimated from the sample: estimated_norms(run)"))
    for optimizer in attrs.get("optimizers", []):
        rates = rates_said(optimizer["groups"])
        lines.append(("optimizer", optimizer["class"] + (f", learning rate {rates}" if rates else "")))
    kind = str(attrs["attribution"])
    lines.append(("attribution", f"{kind}: {_ATTRIBUTIONS[kind]}" if kind in _ATTRIBUTIONS else kind))
    if facts["averages"]:
        lines.append(("AU", "of every shared parameter at the last step: au(run, exact=True)"))
    if facts["probes"]:
        lines.append(("probes", ", ".join(facts["probes"])))
    return lines


def _stored(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """The run's size, and on what it was made."""
    attrs = facts["attributes"]
    budget = f" of {size(attrs['budget'])}" if attrs.get("budget") else ""
    lines = [("size", f"{size(facts['bytes'])}{budget}")]
    if "versions" in attrs:
        lines.append(("versions", ", ".join(f"{name} {version}" for name, version in attrs["versions"].items())))
    return lines + [(name, str(attrs[name])) for name in ("seed", "host") if name in attrs]


def _books(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """What does not add up in the run, and its measures; nothing, for a run that was understood."""
    said = list(facts["accounts"])
    if not said:
        return []
    known = [(name, share) for name, share in facts["books"]["shares"].items() if share["largest"] > 0]
    numbers = [f"{name} {_length(share['median'])}, at most {_length(share['largest'])}" for name, share in known]
    if (closure := facts["books"]["closure"]) is not None:
        numbers.append(f"closure at most {closure['largest']:.2g}")
    said += [f"By length, median over the steps: {'; '.join(numbers)}."] if numbers else []
    lines = [wrap(sentence, _WIDTH, break_long_words=False, break_on_hyphens=False) for sentence in said]
    return [("books" if number == 0 else "", line) for number, line in enumerate(chain(*lines))]


def _length(share: float) -> str:
    return f"{100 * share:.2g} %"


def _weighted(tasks: Sequence[Mapping[str, Any]]) -> str:
    """The tasks with their weights in the loss, as the line of ``record`` has them.

    Where gradients are clipped or scaled, the weights of all tasks have that factor in common at a step: what was said
    at the beginning holds. Where they differ otherwise, those of the last step are of more interest.
    """
    last = {task["name"]: task["last_weight"] for task in tasks}
    told = {task["name"]: task["weight"] for task in tasks if task["weight"]}
    factors = [last[name] / weight for name, weight in told.items() if not math.isnan(last[name])]
    common = len(told) == len(last) and all(abs(factor - factors[0]) <= 1e-3 * abs(factors[0]) for factor in factors)
    weights = told if common else last
    if all(weight == 1 for weight in weights.values()):
        return ", ".join(weights)
    return ", ".join(
        name if math.isnan(weight) else f"{name} (weight {weight:.3g})" for name, weight in weights.items()
    )


def _steps(facts: dict[str, Any]) -> str:
    if not facts["steps_recorded"]:
        waited = facts["status"] == "recording" and "killed" not in facts["state"]
        return "none written yet" if waited else "none recorded"
    taken = f" of {facts['steps_taken']} taken" if facts["steps_taken"] is not None else ""
    skipped = f", {facts['steps_skipped']} skipped" if facts["steps_skipped"] else ""
    refused = facts["attributes"].get("refused_steps")
    full = f", {refused} left out: the budget was full" if refused else ""
    return (
        f"{facts['steps_recorded']} recorded{taken}, from {facts['first_step']} to {facts['last_step']}{skipped}{full}"
    )


def _ranks(attrs: dict[str, Any]) -> str:
    """Whose gradients they are, where several processes trained together; "" where there was one."""
    if attrs.get("ranks", 1) > 1:
        return f"{attrs['ranks']} ranks, their gradients averaged"
    several = attrs.get("world_size", 1) > 1
    return (
        f"rank {attrs.get('rank', 0)} of {attrs['world_size']}, with the gradients of its own batches"
        if several
        else ""
    )
