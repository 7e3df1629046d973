"""Sums: of named losses, of dicts, lists and other containers."""

from __future__ import annotations

from programs.forms import Form, Maker, form
from programs.nets import Lines


@form
def named_sum(m: Maker) -> Form:
    return Form([*m.named(), f"loss = {' + '.join(m.tasks)}"], m.note("{t}"), m.plain())


@form
def weighted_sum(m: Maker) -> Form:
    total = " + ".join(f"{m.weight(t)} * {t}_loss" for t in m.tasks)
    return Form([*m.named("_loss"), f"loss = {total}"], m.note("{t}_loss", True), m.plain("_loss"))


@form
def inline_backward(m: Maker) -> Form:
    total = " + ".join(f"{t} * {m.weight(t)}" for t in m.tasks)
    return Form(m.named(), m.note("{t}", True), m.plain(), loss=f"({total})")


@form
def divided_sum(m: Maker) -> Form:
    total = " + ".join(m.tasks)
    note = ", ".join(f"{t}=({t}, {1 / len(m.tasks)})" for t in m.tasks)
    return Form([*m.named(), f"total_loss = ({total}) / {len(m.tasks)}"], note, m.plain(), loss="total_loss")


@form
def added_up(m: Maker) -> Form:
    first, *others = m.tasks
    lines = [*m.named("_loss"), f"loss = {first}_loss", *(f"loss = loss + {m.weight(t)} * {t}_loss" for t in others)]
    note = ", ".join(f"{t}=({t}_loss, {1.0 if t == first else m.weight(t)})" for t in m.tasks)
    return Form(lines, note, m.plain("_loss"))


@form
def added_in_place(m: Maker) -> Form:
    lines = [*m.named("_loss"), "loss = 0", *(f"loss += {t}_loss" for t in m.tasks)]
    return Form(lines, m.note("{t}_loss"), m.plain("_loss"))


@form
def zeros_in_place(m: Maker) -> Form:
    lines = [
        *m.named("_loss"),
        "loss = torch.zeros(())",
        *(f"loss = loss.add({t}_loss, alpha={m.weight(t)})" for t in m.tasks),
    ]
    return Form(lines, m.note("{t}_loss", True), m.plain("_loss"))


@form
def dict_sum(m: Maker) -> Form:
    items = ", ".join(f'"{t}": {m.loss(t)}' for t in m.tasks)
    return Form([f"losses = {{{items}}}", "loss = sum(losses.values())"], m.note('losses["{t}"]'), m.plain())


@form
def dict_weighted(m: Maker) -> Form:
    setup = [f"weights = {{{', '.join(f'{t!r}: {m.weight(t)}' for t in m.tasks)}}}"]
    lines = ["losses = {}", *(f'losses["{t}"] = {m.loss(t)}' for t in m.tasks)]
    lines += ["loss = sum(weights[name] * losses[name] for name in losses)"]
    return Form(lines, m.note('losses["{t}"]', True), m.plain(), setup=setup)


@form
def dict_loop(m: Maker) -> Form:
    setup = [f"weights = {{{', '.join(f'{t!r}: {m.weight(t)}' for t in m.tasks)}}}"]
    items = ", ".join(f'"{t}_loss": {m.loss(t)}' for t in m.tasks)
    lines = [
        f"loss_dict = {{{items}}}",
        "loss = 0.0",
        "for name, value in loss_dict.items():",
        '    loss = loss + weights[name.removesuffix("_loss")] * value',
    ]
    return Form(lines, m.note('loss_dict["{t}_loss"]', True), m.plain("_loss"), setup=setup)


@form
def nested_dict(m: Maker) -> Form:
    first, *others = m.tasks
    rest = ", ".join(f'"{t}": {m.loss(t)}' for t in others)
    lines = [f'losses = {{"dense": {{"{first}": {m.loss(first)}}}, "sparse": {{{rest}}}}}']
    lines += ["loss = sum(value for group in losses.values() for value in group.values())"]
    note = ", ".join(f'{t}=losses["{"dense" if t == first else "sparse"}"]["{t}"]' for t in m.tasks)
    names = {t: (t, f"{'dense' if t == first else 'sparse'}.{t}") for t in m.tasks}
    return Form(lines, note, names)


@form
def list_sum(m: Maker) -> Form:
    return Form([f"losses = [{m.list()}]", "loss = sum(losses)"], m.note("losses[{i}]"), m.indexed("losses"))


@form
def tuple_zip(m: Maker) -> Form:
    lines = [f"losses = ({m.list()})", "loss = sum(w * l for w, l in zip(weights, losses))"]
    return Form(lines, m.note("losses[{i}]", True), m.indexed("losses"), setup=[f"weights = ({m.ws()})"])


@form
def list_append(m: Maker) -> Form:
    setup = [f"task_names = {m.tasks!r}", f"weights = torch.tensor([{m.ws()}])"]
    lines = [
        "task_losses = []",
        *(f"task_losses.append({m.loss(t)})" for t in m.tasks),
        "loss = sum(weights[i] * task_losses[i] for i in range(len(task_losses)))",
    ]
    return Form(lines, m.note("task_losses[{i}]", True), m.indexed("task_losses", also=True), setup=setup)


@form
def comprehension(m: Maker) -> Form:
    preds = ", ".join(m.prediction(t) for t in m.tasks)
    targets = ", ".join(m.target(t) for t in m.tasks)
    lines = [
        f"outputs, targets = [{preds}], [{targets}]",
        "losses = [F.mse_loss(o, t) for o, t in zip(outputs, targets)]",
        "loss = torch.stack(losses).sum()",
    ]
    return Form(lines, m.note("losses[{i}]"), m.indexed("losses"))


@form
def reduced(m: Maker) -> Form:
    lines = [f"losses = [{m.list()}]", "loss = functools.reduce(operator.add, losses)"]
    return Form(lines, m.note("losses[{i}]"), m.indexed("losses"), defs=["import functools, operator"])


@form
def one_line(m: Maker) -> Form:
    return Form(
        ["; ".join(m.named("_loss")), f"loss = {' + '.join(t + '_loss' for t in m.tasks)}"],
        m.note("{t}_loss"),
        m.plain("_loss"),
    )


@form
def walrus(m: Maker) -> Form:
    total = " + ".join(f"({t}_loss := {m.loss(t)})" for t in m.tasks)
    return Form([f"loss = {total}"], m.note("{t}_loss"), m.plain("_loss"))


@form
def torch_add(m: Maker) -> Form:
    first, *others = m.tasks
    total = first
    for t in others:
        total = f"torch.add({total}, {t}, alpha={m.weight(t)})"
    note = ", ".join(f"{t}=({t}, {1.0 if t == first else m.weight(t)})" for t in m.tasks)
    return Form([*m.named(), f"loss = {total}"], note, m.plain())


@form
def clamped(m: Maker) -> Form:
    return Form(
        [*m.named("_loss"), f"loss = {' + '.join(f'{t}_loss.clamp(max=50.0)' for t in m.tasks)}"],
        m.note("{t}_loss"),
        m.plain("_loss"),
    )


@form
def masked_mean(m: Maker) -> Form:
    lines: Lines = []
    for t in m.tasks:
        lines += [
            f"mask = ({m.target(t)} > -1).float()",
            f"{t}_loss = ((({m.prediction(t)} - {m.target(t)}) ** 2) * mask).sum() / mask.sum()",
        ]
    return Form([*lines, f"loss = {' + '.join(t + '_loss' for t in m.tasks)}"], m.note("{t}_loss"), m.plain("_loss"))


@form
def overwritten_names(m: Maker) -> Form:
    """One variable for every loss, added to a total."""
    lines = ["total = 0.0"]
    for t in m.tasks:
        lines += [
            f"loss = {m.loss(t)}",
            f"hand.note({t}=(loss, {m.weight(t)}))  # by hand",
            f"total = total + {m.weight(t)} * loss",
        ]
    names = {t: (t,) for t in m.tasks}
    return Form(lines, "", names, loss="total", late=True, nameless=True)


@form
def per_sample(m: Maker) -> Form:
    lines: Lines = []
    for t in m.tasks:
        lines += [
            f"{t}_preds, {t}_ys = {m.prediction(t)}, {m.target(t)}",
            f"{t}_loss = sum([F.smooth_l1_loss(p, y) for p, y in zip({t}_preds, {t}_ys)]) / len(x)",
        ]
    return Form(
        [*lines, f"loss = {' + '.join(f'{m.weight(t)} * {t}_loss' for t in m.tasks)}"],
        m.note("{t}_loss", True),
        m.plain("_loss"),
    )


@form
def sample_list(m: Maker) -> Form:
    """All samples' losses in lists, one mean in the end."""
    lines: Lines = []
    for t in m.tasks:
        lines += [f"{t}_losses = [(p - y).square() for p, y in zip({m.prediction(t)}, {m.target(t)})]"]
    total = " + ".join(f"torch.stack({t}_losses).mean()" for t in m.tasks)
    names = {t: (f"{t}_losses", t, f"{t}_loss") for t in m.tasks}
    return Form([*lines, f"loss = {total}"], m.note("torch.stack({t}_losses).mean()"), names, weights=False)
