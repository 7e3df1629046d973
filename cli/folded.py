"""The rows of a large summary that fit a screen: the worst layers, and of each the tasks that own most."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 20
"""A table of more rows is folded: the verdict takes the other half of a screen."""
_MOST_TASKS = 4
"""Of a layer in a folded table."""
OWNED = "(80, 100]"


def folded(table: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The table, or what of it fits a screen and a line on the rest; "" where all of it fits.

    The worst layers come first: those with the smallest effective number of tasks. The last layer, the whole of the
    shared parameters, always stays.
    """
    layers, tasks = (list(table.index.get_level_values(name).unique()) for name in ("layer", "task"))
    if len(table) <= MOST_ROWS:
        return table, ""
    of_each = len(tasks) if len(tasks) <= _MOST_TASKS else _MOST_TASKS - 1
    effective = table["effective_tasks"].groupby(level="layer", sort=False).first()
    worst = effective.drop(layers[-1]).sort_values(kind="stable")  # NaN comes last
    room = max(MOST_ROWS // of_each - 1, 1)
    shown, rest = worst.index[:room], worst.iloc[room:]
    pieces = []
    for layer in (*shown, layers[-1]):
        own = table.loc[[layer]]
        order = own.sort_values([OWNED, "update_norm"], ascending=False, kind="stable").index[:of_each]
        pieces.append(own.loc[[label for label in own.index if label in set(order)]])
    kept: pd.DataFrame = table.loc[[label for piece in pieces for label in piece.index]]
    said = []
    if len(rest):
        between = f"{rest.min():.2f} to {rest.max():.2f}" if rest.notna().any() else "none"
        plural = "" if len(rest) == 1 else "s"
        said.append(f"{len(rest)} more layer{plural}, less dominated (effective tasks {between} of {len(tasks)})")
    if of_each < len(tasks):
        said.append(f"{len(tasks) - of_each} more tasks of each layer, which own less of it")
    return kept, f"Not shown: {'; '.join(said)}. --all shows them."


def shortened(name: str, width: int) -> str:
    """The end of a long name, from a dot on where there is one.

    >>> shortened("encoder.layers.10.self_attn.out_proj", 24), shortened("trunk.0", 24)
    ('…10.self_attn.out_proj', 'trunk.0')
    """
    if len(name) <= width:
        return name
    end = name[-(width - 1) :]
    _, dot, after = end.partition(".")
    return f"…{after if dot and len(after) >= width // 2 else end}"
