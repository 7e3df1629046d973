"""Weights that are learned, drawn or computed, functions of the losses that are not linear, penalties."""

from __future__ import annotations

from programs.forms import Form, Maker, form


@form
def uncertainty(m: Maker) -> Form:
    k = len(m.tasks)
    total = " + ".join(f"torch.exp(-log_vars[{i}]) * {t} + log_vars[{i}]" for i, t in enumerate(m.tasks))
    note = ", ".join(f"{t}=({t}, torch.exp(-log_vars[{i}]))" for i, t in enumerate(m.tasks))
    return Form(
        [*m.named(), f"loss = {total}"],
        note,
        m.plain(),
        setup=[f"log_vars = nn.Parameter(torch.zeros({k}))"],
        extra="[log_vars]",
        extra_watch="log_vars=log_vars",
    )


@form
def uncertainty_vector(m: Maker) -> Form:
    k = len(m.tasks)
    lines = [f"losses = torch.stack([{m.list()}])", "loss = (torch.exp(-log_vars) * losses + log_vars).sum()"]
    note = ", ".join(f"{t}=(losses[{i}], torch.exp(-log_vars)[{i}])" for i, t in enumerate(m.tasks))
    return Form(
        lines,
        note,
        m.indexed("losses"),
        setup=[f"log_vars = nn.Parameter(torch.zeros({k}))"],
        extra="[log_vars]",
        extra_watch="log_vars=log_vars",
    )


@form
def automatic_weights(m: Maker) -> Form:
    defs = [
        "class AutomaticWeightedLoss(nn.Module):",
        "    def __init__(self, num):",
        "        super().__init__()",
        "        self.params = nn.Parameter(torch.ones(num))",
        "",
        "    def forward(self, *x):",
        "        loss_sum = 0",
        "        for i, loss in enumerate(x):",
        "            loss_sum += 0.5 / (self.params[i] ** 2) * loss + torch.log(1 + self.params[i] ** 2)",
        "        return loss_sum",
    ]
    note = ", ".join(f"{t}=({t}_loss, 0.5 / awl.params[{i}] ** 2)" for i, t in enumerate(m.tasks))
    return Form(
        [*m.named("_loss"), f"loss = awl({', '.join(t + '_loss' for t in m.tasks)})"],
        note,
        m.plain("_loss"),
        defs=defs,
        setup=[f"awl = AutomaticWeightedLoss({len(m.tasks)})"],
        extra="awl.parameters()",
        extra_watch="awl=awl",
    )


@form
def log_sum(m: Maker) -> Form:
    note = ", ".join(f"{t}=({t}, 1 / {t}.detach())" for t in m.tasks)
    return Form([*m.named(), f"loss = {' + '.join(f'torch.log({t})' for t in m.tasks)}"], note, m.plain())


@form
def log_of_vector(m: Maker) -> Form:
    lines = [f"losses = torch.stack([{m.list()}])", "loss = (losses + 1e-8).log().sum()"]
    note = ", ".join(f"{t}=(losses[{i}], 1 / (losses[{i}].detach() + 1e-8))" for i, t in enumerate(m.tasks))
    return Form(lines, note, m.indexed("losses"))


@form
def geometric_mean(m: Maker) -> Form:
    k = len(m.tasks)
    lines = [f"losses = torch.stack([{m.list()}])", f"loss = torch.pow(losses.prod(), 1 / {k})"]
    note = ", ".join(f"{t}=(losses[{i}], loss.detach() / {k} / losses[{i}].detach())" for i, t in enumerate(m.tasks))
    return Form(lines, note, m.indexed("losses"))


@form
def root_of_products(m: Maker) -> Form:
    k = len(m.tasks)
    lines = [*m.named("_loss"), f"loss = ({' * '.join(t + '_loss' for t in m.tasks)}) ** (1 / {k})"]
    note = ", ".join(f"{t}=({t}_loss, loss.detach() / {k} / {t}_loss.detach())" for t in m.tasks)
    return Form(lines, note, m.plain("_loss"))


@form
def soft_maximum(m: Maker) -> Form:
    lines = [f"losses = torch.stack([{m.list()}])", "loss = torch.logsumexp(losses, 0)"]
    note = ", ".join(f"{t}=(losses[{i}], losses.detach().softmax(0)[{i}])" for i, t in enumerate(m.tasks))
    return Form(lines, note, m.indexed("losses"))


@form
def softmax_weights(m: Maker) -> Form:
    lines = [
        f"losses = torch.stack([{m.list()}])",
        "weights = F.softmax(losses.detach() / 2, dim=0)",
        "loss = (weights * losses).sum()",
    ]
    note = ", ".join(f"{t}=(losses[{i}], weights[{i}])" for i, t in enumerate(m.tasks))
    return Form(lines, note, m.indexed("losses"))


@form
def learned_softmax(m: Maker) -> Form:
    lines = [f"losses = torch.stack([{m.list()}])", "loss = torch.softmax(logits, -1) @ losses.to(logits.dtype)"]
    note = ", ".join(f"{t}=(losses[{i}], torch.softmax(logits, -1)[{i}])" for i, t in enumerate(m.tasks))
    return Form(
        lines,
        note,
        m.indexed("losses"),
        setup=[f"logits = nn.Parameter(torch.zeros({len(m.tasks)}))"],
        extra="[logits]",
        extra_watch="logits=logits",
    )


@form
def worst_task(m: Maker) -> Form:
    lines = [f"losses = torch.stack([{m.list()}])", "loss = losses.max()"]
    note = ", ".join(f"{t}=(losses[{i}], losses.detach().argmax() == {i})" for i, t in enumerate(m.tasks))
    return Form(lines, note, m.indexed("losses"))


@form
def squared(m: Maker) -> Form:
    note = ", ".join(f"{t}=({t}_loss, 2 * {t}_loss.detach())" for t in m.tasks)
    return Form([*m.named("_loss"), f"loss = {' + '.join(f'{t}_loss ** 2' for t in m.tasks)}"], note, m.plain("_loss"))


@form
def random_weights(m: Maker) -> Form:
    lines = [
        f"losses = torch.stack([{m.list()}])",
        f"w = F.softmax(torch.randn({len(m.tasks)}), dim=-1)",
        "loss = torch.mul(losses, w).sum()",
    ]
    note = ", ".join(f"{t}=(losses[{i}], w[{i}])" for i, t in enumerate(m.tasks))
    return Form(lines, note, m.indexed("losses"), smooth=False)


@form
def average_weights(m: Maker) -> Form:
    """Dynamic weight averaging: weights from the last two steps' losses."""
    k = len(m.tasks)
    lines = [
        *m.named(),
        "if len(history) > 1:",
        "    ratio = np.array(history[-1]) / np.array(history[-2])",
        f"    lam = {k} * np.exp(ratio / 2) / np.exp(ratio / 2).sum()",
        "else:",
        f"    lam = np.ones({k})",
        f"history.append([l.item() for l in ({', '.join(m.tasks)})])",
        f"loss = sum(float(lam[i]) * l for i, l in enumerate(({', '.join(m.tasks)})))",
    ]
    note = ", ".join(f"{t}=({t}, lam[{i}])" for i, t in enumerate(m.tasks))
    return Form(lines, note, m.plain(), setup=["history = []"], defs=["import numpy as np"], smooth=False)


@form
def famo_like(m: Maker) -> Form:
    k = len(m.tasks)
    lines = [
        f"losses = torch.stack([{m.list()}])",
        "z = F.softmax(w, -1)",
        "D = losses + 1e-8",
        "c = (z / D).sum().detach()",
        "loss = (D.log() * z / c).sum()",
    ]
    note = ", ".join(f"{t}=(losses[{i}], (z / c / D)[{i}])" for i, t in enumerate(m.tasks))
    return Form(lines, note, m.indexed("losses"), setup=[f"w = torch.zeros({k})"])


@form
def named_penalty(m: Maker) -> Form:
    lines = [
        *m.named("_loss"),
        f"l2 = sum(p.square().sum() for p in {m.net.parameters})",
        f"loss = {' + '.join(t + '_loss' for t in m.tasks)} + 1e-2 * l2",
    ]
    return Form(lines, m.note("{t}_loss"), m.plain("_loss"), residual=("l2",))


@form
def unnamed_penalty(m: Maker) -> Form:
    lines = [
        *m.named("_loss"),
        f"loss = {' + '.join(t + '_loss' for t in m.tasks)}",
        f"for p in {m.net.parameters}:",
        "    loss = loss + 1e-2 * p.pow(2).sum()",
    ]
    return Form(lines, m.note("{t}_loss"), m.plain("_loss"), residual=("*",))


@form
def penalty_by_helper(m: Maker) -> Form:
    defs = ["def regularization(params):", "    return torch.stack([p.abs().sum() for p in params]).sum()"]
    lines = [*m.named(), f"loss = {' + '.join(m.tasks)} + 0.005 * regularization({m.net.parameters})"]
    return Form(lines, m.note("{t}"), m.plain(), defs=defs, residual=("regularization",))
