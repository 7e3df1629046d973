"""Losses made or summed in functions, modules, classes and libraries."""

from __future__ import annotations

from programs.forms import LOSSES, Form, Maker, form
from programs.nets import Lines


@form
def helper_returns(m: Maker) -> Form:
    defs = ["def combine(losses):", "    return sum(losses)"]
    lines = [*m.named("_loss"), f"loss = combine([{', '.join(t + '_loss' for t in m.tasks)}])"]
    return Form(lines, m.note("{t}_loss"), m.plain("_loss"), defs=defs)


@form
def helper_assigns(m: Maker) -> Form:
    defs = [
        "def weigh(losses, alpha):",
        "    weighted_loss = sum([losses[i] * alpha[i] for i in range(len(alpha))])",
        "    return weighted_loss",
    ]
    names = {t: (t, f"losses[{i}]", f"{t}_loss") for i, t in enumerate(m.tasks)}
    return Form(
        [*m.named(), f"losses = torch.stack(({', '.join(m.tasks)}))"],
        m.note("{t}", True),
        names,
        loss=f"weigh(losses, ({m.ws()},))",
        defs=defs,
    )


@form
def weight_in_helper(m: Maker) -> Form:
    args = ", ".join(m.tasks)
    total = " + ".join(f"{t} * (a * T * T)" if i == 0 else f"{t} * (1 - a)" for i, t in enumerate(m.tasks))
    defs = [f"def distill({args}, a=0.4, T=3.0):", f"    L = {total}", "    return L"]
    note = ", ".join(f"{t}=({t}_term, {3.6 if i == 0 else 0.6})" for i, t in enumerate(m.tasks))
    lines = [*m.named("_term"), f"loss = distill({', '.join(t + '_term' for t in m.tasks)})"]
    return Form(lines, note, {t: (t, f"{t}_term") for t in m.tasks}, defs=defs)


@form
def function_each(m: Maker) -> Form:
    defs: Lines = []
    for t in m.tasks:
        defs += [
            f"def {t}_loss(p, y):",
            f"    return {LOSSES[m.kinds[t]].format(p='p', y='y').replace('len(x)', 'len(y)')}",
            "",
        ]
    calls = {t: f"{t}_loss({m.prediction(t)}, {m.target(t)})" for t in m.tasks}
    lines = [f"loss = {' + '.join(f'{m.weight(t)} * {calls[t]}' for t in m.tasks)}"]
    note = ", ".join(f"{t}=({calls[t]}, {m.weight(t)})" for t in m.tasks)
    return Form(lines, note, m.plain("_loss"), defs=defs)


@form
def function_all(m: Maker) -> Form:
    """A function that makes all losses and returns their sum alone."""
    inside = [
        f"    {t} = {LOSSES[m.kinds[t]].format(p=f'preds[{i}]', y=f'ys[{i}]').replace('len(x)', 'len(ys[0])')}"
        for i, t in enumerate(m.tasks)
    ]
    preds, ys = ", ".join(m.prediction(t) for t in m.tasks), ", ".join(m.target(t) for t in m.tasks)
    total = " + ".join(f"{m.weight(t)} * {t}" for t in m.tasks)
    defs = [
        "def compute_loss(preds, ys):",
        *inside,
        f"    hand.note({m.note('{t}', True)})  # by hand",
        f"    return {total}",
    ]
    return Form([f"loss = compute_loss(({preds}), ({ys}))"], "", m.plain(), defs=defs, late=True)


@form
def function_pair(m: Maker) -> Form:
    """A function that returns the sum and a dict for the log."""
    inside = [
        f"    {t} = {LOSSES[m.kinds[t]].format(p=f'preds[{i}]', y=f'ys[{i}]').replace('len(x)', 'len(ys[0])')}"
        for i, t in enumerate(m.tasks)
    ]
    preds, ys = ", ".join(m.prediction(t) for t in m.tasks), ", ".join(m.target(t) for t in m.tasks)
    items = ", ".join(f'"{t}": {t}.item()' for t in m.tasks)
    defs = [
        "def criterion(preds, ys):",
        *inside,
        f"    hand.note({m.note('{t}', True)})  # by hand",
        f"    total = {' + '.join(f'{m.weight(t)} * {t}' for t in m.tasks)}",
        f"    return total, {{{items}}}",
    ]
    return Form([f"loss, log = criterion(({preds}), ({ys}))"], "", m.plain(), defs=defs, late=True)


@form
def criterion_module(m: Maker) -> Form:
    names = ", ".join(
        f'"{t}": {["nn.MSELoss()", "nn.L1Loss()", "nn.SmoothL1Loss()"][i % 3]}' for i, t in enumerate(m.tasks)
    )
    noted = m.note('losses["{t}"]', True)
    defs = [
        "class MultiTaskLoss(nn.Module):",
        "    def __init__(self, weights):",
        "        super().__init__()",
        f"        self.criteria = nn.ModuleDict({{{names}}})",
        "        self.weights = weights",
        "",
        "    def forward(self, preds, targets):",
        "        losses = {name: self.criteria[name](preds[name], targets[name]) for name in preds}",
        f"        hand.note({noted})  # by hand",
        "        return sum(self.weights[name] * loss for name, loss in losses.items()), losses",
    ]
    preds = ", ".join(f'"{t}": {m.prediction(t)}' for t in m.tasks)
    ys = ", ".join(f'"{t}": {m.target(t)}' for t in m.tasks)
    setup = [f"criterion = MultiTaskLoss({{{', '.join(f'{t!r}: {m.weight(t)}' for t in m.tasks)}}})"]
    return Form([f"loss, parts = criterion({{{preds}}}, {{{ys}}})"], "", m.plain(), defs=defs, setup=setup, late=True)


@form
def criterion_closed(m: Maker) -> Form:
    """A loss module that returns the total alone; the losses die inside."""
    defs = [
        "class JointLoss(nn.Module):",
        "    def forward(self, preds, targets):",
        "        total = 0",
        "        for i, (p, y) in enumerate(zip(preds, targets)):",
        "            total = total + self.single(i, p, y)",
        "        return total",
        "",
        "    def single(self, i, p, y):",
        "        loss = F.mse_loss(p, y) if i % 2 else (p - y).abs().mean()",
        f"        hand.note(**{{{m.tasks!r}[i]: (loss, ({m.ws()},)[i])}})  # by hand",
        f"        return loss * ({m.ws()},)[i]",
    ]
    preds, ys = ", ".join(m.prediction(t) for t in m.tasks), ", ".join(m.target(t) for t in m.tasks)
    names = {t: (t,) for t in m.tasks}
    return Form(
        [f"loss = criterion(({preds}), ({ys}))"],
        "",
        names,
        defs=defs,
        setup=["criterion = JointLoss()"],
        late=True,
        nameless=True,
    )


@form
def dataclass_losses(m: Maker) -> Form:
    defs = [
        "from dataclasses import dataclass",
        "@dataclass",
        "class Losses:",
        *(f"    {t}: torch.Tensor" for t in m.tasks),
        "",
        "    @property",
        "    def total(self):",
        f"        return {' + '.join(f'self.{t}' for t in m.tasks)}",
    ]
    names = {t: (t, f"losses.{t}", f"out.{t}") for t in m.tasks}
    return Form([f"losses = Losses({m.list()})"], m.note("losses.{t}"), names, loss="losses.total", defs=defs)


@form
def namedtuple_losses(m: Maker) -> Form:
    defs = ["from typing import NamedTuple", "class Losses(NamedTuple):", *(f"    {t}: torch.Tensor" for t in m.tasks)]
    names = {t: (t, f"losses.{t}", f"losses[{i}]") for i, t in enumerate(m.tasks)}
    return Form([f"losses = Losses({m.list()})", "loss = sum(losses)"], m.note("losses.{t}"), names, defs=defs)


@form
def namespace_losses(m: Maker) -> Form:
    lines = ["losses = types.SimpleNamespace()", *(f"losses.{t} = {m.loss(t)}" for t in m.tasks)]
    total = " + ".join(f"{m.weight(t)} * losses.{t}" for t in m.tasks)
    names = {t: (t, f"losses.{t}") for t in m.tasks}
    return Form([*lines, f"loss = {total}"], m.note("losses.{t}", True), names, defs=["import types"])


@form
def observed(m: Maker) -> Form:
    items = ", ".join(f'"{t}": {t}_l' for t in m.tasks)
    lines = [
        *(f"{t}_l = {m.loss(t)}" for t in m.tasks),
        f"dominance.observe({{{items}}})",
        f"loss = {' + '.join(f'{m.weight(t)} * {t}_l' for t in m.tasks)}",
    ]
    return Form(lines, m.note("{t}_l", True), m.plain(), defs=["import dominance"])


@form
def in_library(m: Maker) -> Form:
    library = [
        "import torch",
        "import torch.nn.functional as F",
        "",
        "def multi_task_loss(outputs, targets, weights):",
        "    losses = {}",
        "    for name in outputs:",
        "        losses[name] = F.mse_loss(outputs[name], targets[name])",
        "    total = sum(weights[name] * losses[name] for name in losses)",
        "    return total, losses",
    ]
    preds = ", ".join(f'"{t}": {m.prediction(t)}' for t in m.tasks)
    ys = ", ".join(f'"{t}": {m.target(t)}' for t in m.tasks)
    ws = ", ".join(f"{t!r}: {m.weight(t)}" for t in m.tasks)
    return Form(
        [f"loss, parts = multi_task_loss({{{preds}}}, {{{ys}}}, {{{ws}}})"],
        m.note('parts["{t}"]', True),
        m.plain(),
        defs=["from zoolib import multi_task_loss"],
        library=library,
    )


@form
def hidden_in_library(m: Maker) -> Form:
    library = ["import torch.nn.functional as F", "", "def compute(outputs, targets, note=lambda **losses: None):"]
    for i, t in enumerate(m.tasks):
        library += [f"    {t}_loss = {'F.mse_loss' if i % 2 else 'F.smooth_l1_loss'}(outputs[{i}], targets[{i}])"]
    library += [
        f"    note({', '.join(f'{t}={t}_loss' for t in m.tasks)})",
        f"    return {' + '.join(t + '_loss' for t in m.tasks)}",
    ]
    preds, ys = ", ".join(m.prediction(t) for t in m.tasks), ", ".join(m.target(t) for t in m.tasks)
    return Form(
        [f"loss = zoolib.compute(({preds}), ({ys}))"],
        "",
        m.plain("_loss"),
        late=True,
        library=library,
        defs=["import zoolib", "zoolib.compute.__defaults__ = (hand.note,)  # by hand"],
    )
