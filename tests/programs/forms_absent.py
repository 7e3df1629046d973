"""Tasks that are not there in every batch."""

from __future__ import annotations

from programs.forms import Clash, Form, Maker, form
from programs.nets import Lines


@form
def absent_in_batches(m: Maker) -> Form:
    first, *others = m.tasks
    lines = [
        f'losses = {{"{first}": {m.loss(first)}}}',
        "if step % 2 == 0:",
        *(f'    losses["{t}"] = {m.loss(t)}' for t in others),
        "loss = sum(losses.values())",
    ]
    note = f'{first}=losses["{first}"], ' + ", ".join(f'{t}=losses.get("{t}")' for t in others)
    return Form(lines, note, m.plain(), alternating=True)


@form
def absent_labels(m: Maker) -> Form:
    first, *others = m.tasks
    lines = [*m.named("_loss"), f"loss = {first}_loss"]
    for i, t in enumerate(others):
        lines += [f"if step % {i + 2} != 1:", f"    loss = loss + {m.weight(t)} * {t}_loss"]
    note = f"{first}={first}_loss, " + ", ".join(
        f"{t}=({t}_loss if step % {i + 2} != 1 else None, {m.weight(t)})" for i, t in enumerate(others)
    )
    return Form(lines, note, m.plain("_loss"), alternating=True)


@form
def alternating(m: Maker) -> Form:
    lines: Lines = []
    for i, t in enumerate(m.tasks):
        lines += [
            f"{'elif' if i else 'if'} step % {len(m.tasks)} == {i}:",
            f"    {t}_loss = {m.loss(t)}",
            f"    loss = {t}_loss",
            f"    hand.note({t}={t}_loss)  # by hand",
        ]
    return Form(lines, "", m.plain("_loss"), alternating=True, late=True)


@form
def alternating_dict(m: Maker) -> Form:
    setup = [f"names = {m.tasks!r}"]
    lines = [
        "task = names[step % len(names)]",
        f"preds = {{{', '.join(f'{t!r}: {m.prediction(t)}' for t in m.tasks)}}}",
        f"ys = {{{', '.join(f'{t!r}: {m.target(t)}' for t in m.tasks)}}}",
        "loss = F.mse_loss(preds[task], ys[task])",
        "hand.note(**{task: loss})  # by hand",
    ]
    names = {t: (t, f"loss.{t}", f"{t}_head", f"{t}_loss") for t in m.tasks}
    return Form(lines, "", names, setup=setup, alternating=True, late=True)


@form
def joins_later(m: Maker) -> Form:
    *others, last = m.tasks
    lines = [
        *(f"{t}_loss = {m.loss(t)}" for t in others),
        f"loss = {' + '.join(t + '_loss' for t in others)}",
        "if step >= 3:",
        f"    {last}_loss = {m.loss(last)}",
        f"    loss = loss + {last}_loss",
        f"    hand.note({last}={last}_loss)  # by hand",
    ]
    note = ", ".join(f"{t}={t}_loss" for t in others)
    return Form(lines, note, m.plain("_loss"), alternating=True)


@form
def detached_at_first(m: Maker) -> Form:
    """The last task trains its head alone until step 3, then the trunk as well."""
    *others, last = m.tasks
    cut = m.loss(last).replace("(z)", "(z if step >= 3 else z.detach())")
    if cut == m.loss(last):
        raise Clash("the features have no name")
    lines = [f"{t}_loss = {m.loss(t)}" for t in others] + [f"{last}_loss = {cut}"]
    return Form([*lines, f"loss = {' + '.join(t + '_loss' for t in m.tasks)}"], m.note("{t}_loss"), m.plain("_loss"))


@form
def thawed_trunk(m: Maker) -> Form:
    """The trunk is frozen until step 2."""
    if not m.net.trunk:
        raise Clash("no trunk")
    lines = [*m.named("_loss"), f"loss = {' + '.join(t + '_loss' for t in m.tasks)}"]
    ahead = [f"for p in {m.net.trunk}:", "    p.requires_grad_(step >= 2)"]
    return Form(lines, m.note("{t}_loss"), m.plain("_loss"), ahead=ahead)
