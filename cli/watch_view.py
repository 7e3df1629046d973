"""What ``dominance watch`` shows at one look: a screen, or a line."""

from __future__ import annotations

import math
import shutil
import sys
from typing import TYPE_CHECKING, Any

from dominance_cli.folded import shortened
from dominance_cli.state import state
from dominance_cli.text import size

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table

    from dominance.analyse.live import Live

_BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = ".:-=+*#@"
_COLOURS = ("cyan", "yellow", "magenta", "green", "blue", "red")
_MOST_TASKS = 8
"""Of more tasks the line of losses shows the first, and how many more there are."""
_COURSE = 24
"""Characters of a course over the steps."""


def view(run: str, look: tuple[Any, Live], every: float | None = None) -> Group:
    """One screen: what the run is, the losses, and the layers."""
    from rich.console import Group
    from rich.text import Text

    from dominance.store.files import files_of

    tree, now = look
    parts: list[RenderableType] = [Text(f"{run}   {state(run, tree)}", style="bold")]
    held = f"{now.recorded:,} steps recorded"
    if len(now.steps):
        held += f", the last one step {now.steps[-1]:,}"
    if not math.isnan(now.rate):
        held += f"; {now.rate:.3g} steps a second"
    parts.append(Text(f"{held}; {size(files_of(run).size())}"))
    if not now.recorded:
        return Group(*parts, Text("\nWaiting for the first step."))
    parts += [Text(), _losses(now)]
    parts += [Text(), Text(now.why) if now.picture is None else _layers(now)]
    if now.recorded > len(now.steps):
        parts.append(Text(f"\nOver the last {len(now.steps):,} recorded steps.", style="dim"))
    if every is not None:
        parts.append(Text(f"\nq: leave; the training goes on. A look every {every:g} s.", style="dim"))
    return Group(*parts)


def _losses(now: Live) -> Table:
    table = _table(("task", "left"), ("loss", "right"), ("course", "left"), ("gradient", "right"))
    shown = now.tasks[:_MOST_TASKS]
    total = sum(norm for norm in now.norms if not math.isnan(norm))
    for k in range(len(shown)):
        course = now.losses[:, k]
        known = course[course == course]
        norm = now.norms[k]
        share = f"{norm:.3g} ({100 * norm / total:.0f} %)" if total > 0 and not math.isnan(norm) else "–"
        table.add_row(_task(now, k), f"{known[-1]:.4g}" if len(known) else "–", _course(course), share)
    if len(now.tasks) > len(shown):
        table.add_row(f"and {len(now.tasks) - len(shown)} more", "", "", "")
    return table


def _layers(now: Live) -> Table:
    from rich.text import Text

    from dominance.analyse.summary import percent

    found, count = now.picture, len(now.tasks)
    assert found is not None
    table = _table(
        ("layers", "left"), ("owner", "left"), (f"effective tasks of {count}", "left"), ("conflict (GCD)", "left")
    )
    room = max(shutil.get_terminal_size((80, 24)).columns - 62, 14)
    for row, name in enumerate(found["row"].values):
        owned = found["owned"].isel(row=row, step=-1).values
        course = found["effective_tasks"].isel(row=row).values
        k = _owner(owned)
        owner = "–" if k is None else _task(now, k, width=14).append(f" {percent(owned[k])}")
        effective = f"{course[-1]:.2f} " if course[-1] == course[-1] else "–    "
        one, other, degree = (found[key].values[row] for key in ("task_one", "task_other", "mean_gcd"))
        pair = f"{degree:.2f} {shortened(one, 8)}, {shortened(other, 8)}" if one else "–"
        style = "bold" if one and degree > 1 else ""
        table.add_row(
            shortened(str(name), room), owner, Text(effective) + _course(course, low=1.0, high=count, width=12),
            Text(pair, style=style),
        )  # fmt: skip
    return table


def _table(*columns: tuple[str, Any]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading, justify in columns:
        table.add_column(heading, justify=justify, no_wrap=True)
    return table


def _task(now: Live, k: int, width: int = 24) -> Any:
    from rich.text import Text

    from dominance.visible import visible

    return Text(shortened(visible(now.tasks[k]), width), style=_COLOURS[k % len(_COLOURS)])


def _course(values: Any, low: float | None = None, high: float | None = None, width: int = _COURSE) -> Any:
    """Values over the steps, in few characters: medians of as many stretches; a gap where nothing is known."""
    import numpy as np
    from rich.text import Text

    pieces = [piece[np.isfinite(piece)] for piece in np.array_split(np.asarray(values, float), width) if len(piece)]
    medians = [float(np.median(piece)) if len(piece) else math.nan for piece in pieces]
    known = [value for value in medians if not math.isnan(value)]
    if not known:
        return Text("")
    low, high = min(known) if low is None else low, max(known) if high is None else high
    encoding = (getattr(sys.__stdout__, "encoding", None) or "ascii").lower()  # rich has another in its place meanwhile
    bars = _BARS if encoding.startswith("utf") else _PLAIN_BARS
    scale = (len(bars) - 1) / (high - low) if high > low else 0.0
    places = [None if math.isnan(v) else min(max(round((v - low) * scale), 0), len(bars) - 1) for v in medians]
    return Text("".join(" " if place is None else bars[place] for place in places))


def line(now: Live) -> str:
    """One look in one line, for a pipe or a log."""
    from dominance.analyse.summary import percent

    if not now.recorded:
        return "waiting for the first step"
    losses = ", ".join(
        f"{name} {now.losses[-1, k]:.4g}" for k, name in enumerate(now.tasks[:_MOST_TASKS])
        if not math.isnan(now.losses[-1, k])
    )  # fmt: skip
    text = f"step {now.steps[-1]:,}: {losses}"
    if now.picture is None:
        return text
    whole = now.picture.isel(row=0)
    effective, owned = float(whole["effective_tasks"].values[-1]), whole["owned"].values[-1]
    text += f"; effective tasks {effective:.2f} of {len(now.tasks)}"
    k = _owner(owned)
    return text if k is None else f"{text}; {now.tasks[k]} owns {percent(owned[k])}"


def _owner(owned: Any) -> int | None:
    """The task that owns most of a layer; None where none owns any of it."""
    known = [0.0 if math.isnan(share) else share for share in owned]
    return known.index(max(known)) if max(known) > 0 else None
