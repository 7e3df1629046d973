"""Losses, in the ways that people write them: how the tasks' losses come about, and how they become gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from programs.nets import Lines, Net

WEIGHTS = (0.3, 1.7, 0.8, 2.5, 0.6, 1.2)


@dataclass
class Form:
    """One way to write a loss, as source text."""

    compute: Lines
    """Statements that make the losses, up to what ``backward`` stands on."""
    note: str
    """The tasks' losses for ``hand.note``, each alone or with its weight."""
    names: dict[str, tuple[str, ...]]
    """For each task the names that are right for it."""
    loss: str = "loss"
    """The expression that backward() is called on."""
    backward: Lines | None = None
    """Statements that make gradients, where that is not one backward(); ``{s}`` stands for the scale."""
    defs: Lines = field(default_factory=list)
    """Classes and functions."""
    setup: Lines = field(default_factory=list)
    """Statements after the model is there."""
    extra: str = ""
    """An expression for more parameters."""
    extra_watch: str = ""
    once: bool = False
    """Whether the gradients are put into .grad by hand: no accumulation, no closure, no scaler."""
    library: Lines = field(default_factory=list)
    """Source of a module that lies in a site-packages folder."""
    alternating: bool = False
    smooth: bool = True
    """Whether it can be evaluated again (no state that goes on)."""
    late: bool = False
    """Whether the note stands at the end of ``backward`` already."""
    weights: bool = True
    """Whether weights and losses are known as one number each."""
    residual: tuple[str, ...] = ()
    may: str = ""
    """Why in principle it cannot be known."""


class Maker:
    """What a form is made of: tasks, their losses as expressions, a random choice."""

    def __init__(self, net: Net, tasks: Lines, rng: Random) -> None:
        self.net = net
        self.tasks = tasks
        self.rng = rng
        kinds = list(LOSSES)
        rng.shuffle(kinds)
        self.kinds = dict(zip(tasks, kinds, strict=False))

    def target(self, task: str) -> str:
        v, place = self.net.feature, self.tasks.index(task)
        return [f"{v}.sum(1)", f"{v}[:, 0]", f"{v}[:, 1] * {v}[:, 2]", f"2 * {v}[:, 3]", f"{v}.mean(1)", f"{v}[:, 4]"][
            place
        ]

    def prediction(self, task: str) -> str:
        return self.net.predictions[task]

    def loss(self, task: str) -> str:
        return LOSSES[self.kinds[task]].format(p=self.prediction(task), y=self.target(task))

    def weight(self, task: str) -> float:
        return WEIGHTS[self.tasks.index(task)]

    def named(self, suffix: str = "") -> Lines:
        """One statement for each task."""
        return [f"{t}{suffix} = {self.loss(t)}" for t in self.tasks]

    def plain(self, suffix: str = "") -> dict[str, tuple[str, ...]]:
        return {t: (t + suffix, t) for t in self.tasks}

    def indexed(self, *vectors: str, also: bool = False) -> dict[str, tuple[str, ...]]:
        return {
            t: (*(f"{v}[{i}]" for v in vectors), *((t, f"{t}_loss") if also else ())) for i, t in enumerate(self.tasks)
        }

    def note(self, pattern: str, weighted: bool = False) -> str:
        """``pattern`` with {t} and {i} for each task; with its weight."""
        return ", ".join(
            f"{t}=({pattern.format(t=t, i=i)}, {self.weight(t)})" if weighted else f"{t}={pattern.format(t=t, i=i)}"
            for i, t in enumerate(self.tasks)
        )

    def list(self) -> str:
        return ", ".join(self.loss(t) for t in self.tasks)

    def ws(self) -> str:
        return ", ".join(str(self.weight(t)) for t in self.tasks)


LOSSES = {
    "mse": "F.mse_loss({p}, {y})",
    "l1": "({p} - {y}).abs().mean()",
    "bce": "F.binary_cross_entropy_with_logits({p}, ({y} > 0).to({p}.dtype))",
    "smooth": "F.smooth_l1_loss({p}, {y})",
    "square": "(({p} - {y}) ** 2).mean()",
    "huber": "nn.functional.huber_loss({p}, {y}, delta=0.5)",
    "by_hand": "torch.sum(({p} - {y}).square()) / len(x)",
    "softplus": "F.softplus(-{p} * {y}.sign()).mean()",
}


def form(function: Callable[[Maker], Form]) -> Callable[[Maker], Form]:
    FORMS[function.__name__] = function
    return function


FORMS: dict[str, Callable[[Maker], Form]] = {}


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
    lines = [f"loss_dict = {{{items}}}", "loss = 0.0", "for name, value in loss_dict.items():",
             '    loss = loss + weights[name.removesuffix("_loss")] * value']  # fmt: skip
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
    lines = [f"outputs, targets = [{preds}], [{targets}]",
             "losses = [F.mse_loss(o, t) for o, t in zip(outputs, targets)]",
             "loss = torch.stack(losses).sum()"]  # fmt: skip
    return Form(lines, m.note("losses[{i}]"), m.indexed("losses"))


def _vector(
    name: str, total: str, *, weighted: bool = True, stack: str = "torch.stack([{l}])", loss: str = "loss"
) -> None:
    def make(m: Maker) -> Form:
        lines = [f"losses = {stack.format(l=m.list())}", f"{loss} = {total.format(k=len(m.tasks))}"]
        setup = [f"w = torch.tensor([{m.ws()}])"] if weighted else []
        mean = "mean" in total
        note = m.note("losses[{i}]", weighted)
        if mean:
            note = ", ".join(f"{t}=(losses[{i}], {1 / len(m.tasks)})" for i, t in enumerate(m.tasks))
        return Form(lines, note, m.indexed("losses"), setup=setup, loss=loss)

    make.__name__ = name
    FORMS[name] = make


_vector("stack_matmul", "losses @ w.to(losses.dtype)")
_vector("stack_dot", "torch.dot(losses.float(), w.float())")
_vector("stack_einsum", 'torch.einsum("k,k->", losses, w.to(losses.dtype))')
_vector("stack_product_sum", "(losses * w).sum()", loss="weighted_loss")
_vector("stack_sum", "losses.sum()", weighted=False)
_vector("stack_mean", "torch.mean(losses)", weighted=False)
_vector("stack_index_loop", "sum(losses[i] * w[i] for i in range({k}))")
_vector("stack_iterated", "sum(l * v for l, v in zip(losses, w))")
_vector("stack_unbind", "sum(v * l for v, l in zip(w.tolist(), losses.unbind()))")
_vector("cat_sum", "(losses * w).sum()", stack="torch.cat([l.view(1) for l in ({l},)])")
_vector("hstack_tensordot", "torch.tensordot(losses, w.to(losses.dtype), dims=1)", stack="torch.hstack(({l}))")
_vector("linear_function", "F.linear(losses[None].float(), w[None].float()).squeeze()")


@form
def named_then_stacked(m: Maker) -> Form:
    lines = [*m.named("_loss"), f"losses = torch.stack(({', '.join(t + '_loss' for t in m.tasks)}))"]
    lines += ["loss = (losses * w).sum()"]
    names = {t: (f"{t}_loss", f"losses[{i}]") for i, t in enumerate(m.tasks)}
    return Form(lines, m.note("losses[{i}]", True), names, setup=[f"w = torch.tensor([{m.ws()}])"])


@form
def filled_vector(m: Maker) -> Form:
    lines = [f"losses = torch.zeros({len(m.tasks)})", *(f"losses[{i}] = {m.loss(t)}" for i, t in enumerate(m.tasks))]
    return Form([*lines, "loss = (losses * w).sum()"], m.note("losses[{i}]", True), m.indexed("losses", also=True),
                setup=[f"w = torch.tensor([{m.ws()}])"])  # fmt: skip


@form
def scaled_vector_in_place(m: Maker) -> Form:
    lines = [f"losses = torch.stack([{m.list()}])", "losses = losses * w", "loss = losses.sum()"]
    note = ", ".join(f"{t}=losses[{i}]" for i, t in enumerate(m.tasks))
    return Form(lines, note, m.indexed("losses"), setup=[f"w = torch.tensor([{m.ws()}])"], weights=False)


@form
def unpacked_stack(m: Maker) -> Form:
    ls = ", ".join(f"{t}_loss" for t in m.tasks)
    lines = [
        f"losses = torch.stack([{m.list()}])",
        f"{ls} = losses",
        f"loss = {' + '.join(f'{m.weight(t)} * {t}_loss' for t in m.tasks)}",
    ]
    names = {t: (f"{t}_loss", f"losses[{i}]") for i, t in enumerate(m.tasks)}
    return Form(lines, m.note("{t}_loss", True), names)


@form
def helper_returns(m: Maker) -> Form:
    defs = ["def combine(losses):", "    return sum(losses)"]
    lines = [*m.named("_loss"), f"loss = combine([{', '.join(t + '_loss' for t in m.tasks)}])"]
    return Form(lines, m.note("{t}_loss"), m.plain("_loss"), defs=defs)


@form
def helper_assigns(m: Maker) -> Form:
    defs = ["def weigh(losses, alpha):", "    weighted_loss = sum([losses[i] * alpha[i] for i in range(len(alpha))])",
            "    return weighted_loss"]  # fmt: skip
    names = {t: (t, f"losses[{i}]", f"{t}_loss") for i, t in enumerate(m.tasks)}
    return Form([*m.named(), f"losses = torch.stack(({', '.join(m.tasks)}))"], m.note("{t}", True), names, loss=f"weigh(losses, ({m.ws()},))", defs=defs)  # fmt: skip


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
    inside = [f"    {t} = {LOSSES[m.kinds[t]].format(p=f'preds[{i}]', y=f'ys[{i}]').replace('len(x)', 'len(ys[0])')}"
              for i, t in enumerate(m.tasks)]  # fmt: skip
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
    inside = [f"    {t} = {LOSSES[m.kinds[t]].format(p=f'preds[{i}]', y=f'ys[{i}]').replace('len(x)', 'len(ys[0])')}"
              for i, t in enumerate(m.tasks)]  # fmt: skip
    preds, ys = ", ".join(m.prediction(t) for t in m.tasks), ", ".join(m.target(t) for t in m.tasks)
    items = ", ".join(f'"{t}": {t}.item()' for t in m.tasks)
    defs = ["def criterion(preds, ys):", *inside, f"    hand.note({m.note('{t}', True)})  # by hand",
            f"    total = {' + '.join(f'{m.weight(t)} * {t}' for t in m.tasks)}", f"    return total, {{{items}}}"]  # fmt: skip
    return Form([f"loss, log = criterion(({preds}), ({ys}))"], "", m.plain(), defs=defs, late=True)


@form
def criterion_module(m: Maker) -> Form:
    names = ", ".join(
        f'"{t}": {["nn.MSELoss()", "nn.L1Loss()", "nn.SmoothL1Loss()"][i % 3]}' for i, t in enumerate(m.tasks)
    )
    noted = m.note('losses["{t}"]', True)
    defs = ["class MultiTaskLoss(nn.Module):", "    def __init__(self, weights):", "        super().__init__()",
            f"        self.criteria = nn.ModuleDict({{{names}}})", "        self.weights = weights", "",
            "    def forward(self, preds, targets):",
            "        losses = {name: self.criteria[name](preds[name], targets[name]) for name in preds}",
            f"        hand.note({noted})  # by hand",
            "        return sum(self.weights[name] * loss for name, loss in losses.items()), losses"]  # fmt: skip
    preds = ", ".join(f'"{t}": {m.prediction(t)}' for t in m.tasks)
    ys = ", ".join(f'"{t}": {m.target(t)}' for t in m.tasks)
    setup = [f"criterion = MultiTaskLoss({{{', '.join(f'{t!r}: {m.weight(t)}' for t in m.tasks)}}})"]
    return Form([f"loss, parts = criterion({{{preds}}}, {{{ys}}})"], "", m.plain(), defs=defs, setup=setup, late=True)


@form
def criterion_closed(m: Maker) -> Form:
    """A loss module that returns the total alone; the losses die inside."""
    defs = ["class JointLoss(nn.Module):", "    def forward(self, preds, targets):", "        total = 0",
            "        for i, (p, y) in enumerate(zip(preds, targets)):", "            total = total + self.single(i, p, y)",
            "        return total", "", "    def single(self, i, p, y):",
            "        loss = F.mse_loss(p, y) if i % 2 else (p - y).abs().mean()",
            f"        hand.note(**{{{m.tasks!r}[i]: (loss, ({m.ws()},)[i])}})  # by hand",
            f"        return loss * ({m.ws()},)[i]"]  # fmt: skip
    preds, ys = ", ".join(m.prediction(t) for t in m.tasks), ", ".join(m.target(t) for t in m.tasks)
    names = {t: (t,) for t in m.tasks}
    return Form([f"loss = criterion(({preds}), ({ys}))"], "", names, defs=defs, setup=["criterion = JointLoss()"],
                late=True, may="the losses have no names of their own")  # fmt: skip


@form
def dataclass_losses(m: Maker) -> Form:
    defs = ["from dataclasses import dataclass", "@dataclass", "class Losses:", *(f"    {t}: torch.Tensor" for t in m.tasks), "",
            "    @property", "    def total(self):", f"        return {' + '.join(f'self.{t}' for t in m.tasks)}"]  # fmt: skip
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
    return Form(lines, "", names, loss="total", late=True, may="one name for all losses")


@form
def per_sample(m: Maker) -> Form:
    lines: Lines = []
    for t in m.tasks:
        lines += [f"{t}_preds, {t}_ys = {m.prediction(t)}, {m.target(t)}",
                  f"{t}_loss = sum([F.smooth_l1_loss(p, y) for p, y in zip({t}_preds, {t}_ys)]) / len(x)"]  # fmt: skip
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


@form
def uncertainty(m: Maker) -> Form:
    k = len(m.tasks)
    total = " + ".join(f"torch.exp(-log_vars[{i}]) * {t} + log_vars[{i}]" for i, t in enumerate(m.tasks))
    note = ", ".join(f"{t}=({t}, torch.exp(-log_vars[{i}]))" for i, t in enumerate(m.tasks))
    return Form([*m.named(), f"loss = {total}"], note, m.plain(), setup=[f"log_vars = nn.Parameter(torch.zeros({k}))"],
                extra="[log_vars]", extra_watch="log_vars=log_vars")  # fmt: skip


@form
def uncertainty_vector(m: Maker) -> Form:
    k = len(m.tasks)
    lines = [f"losses = torch.stack([{m.list()}])", "loss = (torch.exp(-log_vars) * losses + log_vars).sum()"]
    note = ", ".join(f"{t}=(losses[{i}], torch.exp(-log_vars)[{i}])" for i, t in enumerate(m.tasks))
    return Form(lines, note, m.indexed("losses"), setup=[f"log_vars = nn.Parameter(torch.zeros({k}))"],
                extra="[log_vars]", extra_watch="log_vars=log_vars")  # fmt: skip


@form
def automatic_weights(m: Maker) -> Form:
    defs = ["class AutomaticWeightedLoss(nn.Module):", "    def __init__(self, num):", "        super().__init__()",
            "        self.params = nn.Parameter(torch.ones(num))", "", "    def forward(self, *x):", "        loss_sum = 0",
            "        for i, loss in enumerate(x):",
            "            loss_sum += 0.5 / (self.params[i] ** 2) * loss + torch.log(1 + self.params[i] ** 2)",
            "        return loss_sum"]  # fmt: skip
    note = ", ".join(f"{t}=({t}_loss, 0.5 / awl.params[{i}] ** 2)" for i, t in enumerate(m.tasks))
    return Form([*m.named("_loss"), f"loss = awl({', '.join(t + '_loss' for t in m.tasks)})"], note, m.plain("_loss"),
                defs=defs, setup=[f"awl = AutomaticWeightedLoss({len(m.tasks)})"], extra="awl.parameters()",
                extra_watch="awl=awl")  # fmt: skip


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
    return Form(lines, note, m.indexed("losses"), setup=[f"logits = nn.Parameter(torch.zeros({len(m.tasks)}))"],
                extra="[logits]", extra_watch="logits=logits")  # fmt: skip


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
    lines = [*m.named(), "if len(history) > 1:", "    ratio = np.array(history[-1]) / np.array(history[-2])",
             f"    lam = {k} * np.exp(ratio / 2) / np.exp(ratio / 2).sum()", "else:", f"    lam = np.ones({k})",
             f"history.append([l.item() for l in ({', '.join(m.tasks)})])",
             f"loss = sum(float(lam[i]) * l for i, l in enumerate(({', '.join(m.tasks)})))"]  # fmt: skip
    note = ", ".join(f"{t}=({t}, lam[{i}])" for i, t in enumerate(m.tasks))
    return Form(lines, note, m.plain(), setup=["history = []"], defs=["import numpy as np"], smooth=False)


@form
def famo_like(m: Maker) -> Form:
    k = len(m.tasks)
    lines = [f"losses = torch.stack([{m.list()}])", "z = F.softmax(w, -1)", "D = losses + 1e-8", "c = (z / D).sum().detach()",
             "loss = (D.log() * z / c).sum()"]  # fmt: skip
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
    library = ["import torch", "import torch.nn.functional as F", "", "def multi_task_loss(outputs, targets, weights):",
               "    losses = {}", "    for name in outputs:", "        losses[name] = F.mse_loss(outputs[name], targets[name])",
               "    total = sum(weights[name] * losses[name] for name in losses)", "    return total, losses"]  # fmt: skip
    preds = ", ".join(f'"{t}": {m.prediction(t)}' for t in m.tasks)
    ys = ", ".join(f'"{t}": {m.target(t)}' for t in m.tasks)
    ws = ", ".join(f"{t!r}: {m.weight(t)}" for t in m.tasks)
    return Form([f"loss, parts = multi_task_loss({{{preds}}}, {{{ys}}}, {{{ws}}})"], m.note('parts["{t}"]', True), m.plain(),
                defs=["from zoolib import multi_task_loss"], library=library)  # fmt: skip


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
    return Form([f"loss = zoolib.compute(({preds}), ({ys}))"], "", m.plain("_loss"), late=True, library=library,
                defs=["import zoolib", "zoolib.compute.__defaults__ = (hand.note,)  # by hand"])  # fmt: skip


@form
def absent_in_batches(m: Maker) -> Form:
    first, *others = m.tasks
    lines = [f'losses = {{"{first}": {m.loss(first)}}}', "if step % 2 == 0:", *(f'    losses["{t}"] = {m.loss(t)}' for t in others),
             "loss = sum(losses.values())"]  # fmt: skip
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
    lines = [
        *(
            f"{'if' if i == 0 else 'elif'} step % {len(m.tasks)} == {i}:\n    {t}_loss = {m.loss(t)}\n    loss = {t}_loss\n    hand.note({t}={t}_loss)  # by hand"
            for i, t in enumerate(m.tasks)
        )
    ]
    return Form("\n".join(lines).split("\n"), "", m.plain("_loss"), alternating=True, late=True)


@form
def alternating_dict(m: Maker) -> Form:
    setup = [f"names = {m.tasks!r}"]
    lines = ["task = names[step % len(names)]", f"preds = {{{', '.join(f'{t!r}: {m.prediction(t)}' for t in m.tasks)}}}",
             f"ys = {{{', '.join(f'{t!r}: {m.target(t)}' for t in m.tasks)}}}", "loss = F.mse_loss(preds[task], ys[task])",
             "hand.note(**{task: loss})  # by hand"]  # fmt: skip
    names = {t: (t, f"loss.{t}", f"{t}_head", f"{t}_loss") for t in m.tasks}
    return Form(lines, "", names, setup=setup, alternating=True, late=True)


@form
def joins_later(m: Maker) -> Form:
    *others, last = m.tasks
    lines = [*(f"{t}_loss = {m.loss(t)}" for t in others), f"loss = {' + '.join(t + '_loss' for t in others)}", "if step >= 3:",
             f"    {last}_loss = {m.loss(last)}", f"    loss = loss + {last}_loss", f"    hand.note({last}={last}_loss)  # by hand"]  # fmt: skip
    note = ", ".join(f"{t}={t}_loss" for t in others)
    return Form(lines, note, m.plain("_loss"), alternating=True)


@form
def backward_each(m: Maker) -> Form:
    *others, last = m.tasks
    back = [
        *(f"({m.weight(t)} * {t}_loss{{s}}).backward(retain_graph=True)" for t in others),
        f"({m.weight(last)} * {last}_loss{{s}}).backward()",
    ]
    return Form(m.named("_loss"), m.note("{t}_loss", True), m.plain("_loss"), backward=back)


@form
def backward_loop(m: Maker) -> Form:
    lines = [f"losses = {{{', '.join(f'{t!r}: {m.loss(t)}' for t in m.tasks)}}}"]
    back = ["for name, value in losses.items():", "    (value{s}).backward(retain_graph=True)"]
    return Form(lines, m.note('losses["{t}"]'), m.plain(), backward=back)


@form
def backward_items(m: Maker) -> Form:
    lines = [f"losses = torch.stack([{m.list()}])"]
    back = [f"for i in range({len(m.tasks)}):", "    (w[i] * losses[i]{s}).backward(retain_graph=True)"]
    return Form(
        lines, m.note("losses[{i}]", True), m.indexed("losses"), backward=back, setup=[f"w = torch.tensor([{m.ws()}])"]
    )


@form
def backward_iterated(m: Maker) -> Form:
    lines = [f"losses = torch.stack([{m.list()}])"]
    back = ["for l in losses:", "    (l{s}).backward(retain_graph=True)"]
    return Form(lines, m.note("losses[{i}]"), m.indexed("losses"), backward=back)


@form
def backward_many(m: Maker) -> Form:
    back = [f"torch.autograd.backward([{', '.join(t + '{s}' for t in m.tasks)}])"]
    return Form(m.named(), m.note("{t}"), m.plain(), backward=back)


@form
def backward_vector(m: Maker) -> Form:
    lines = [f"losses = torch.stack([{m.list()}])"]
    return Form(lines, m.note("losses[{i}]", True), m.indexed("losses"), backward=["losses.backward(w.to(losses.dtype){s})"],
                setup=[f"w = torch.tensor([{m.ws()}])"])  # fmt: skip


@form
def one_variable(m: Maker) -> Form:
    """Each task makes its loss, calls backward() on it, and the next takes the variable."""
    back: Lines = []
    for t in m.tasks:
        back += [f"loss = {m.loss(t)}", f"hand.note({t}=loss)  # by hand", "(loss{s}).backward(retain_graph=True)"]
    names = {t: (t, f"loss.{t}", f"{t}_head", f"{t}_loss", f"loss[{t}]") for t in m.tasks}
    return Form([], "", names, backward=back, late=True)


@form
def backward_inputs(m: Maker) -> Form:
    lines = [*m.named("_loss"), f"loss = {' + '.join(t + '_loss' for t in m.tasks)}"]
    back = ["(loss{s}).backward(inputs=list(" + m.net.trunk + "), retain_graph=True)",
            f"heads = [p for p in {m.net.parameters} if all(p is not q for q in {m.net.trunk})]",
            "(loss{s}).backward(inputs=heads)"]  # fmt: skip
    return Form(lines, m.note("{t}_loss"), m.plain("_loss"), backward=back)


def _by_hand(name: str, back: Callable[[Maker], Lines], *, vector: bool = False, note: str | None = None) -> None:
    def make(m: Maker) -> Form:
        lines = [f"losses = torch.stack([{m.list()}])"] if vector else m.named("_loss")
        pattern = "losses[{i}]" if vector else "{t}_loss"
        names = m.indexed("losses") if vector else m.plain("_loss")
        setup = [f"params = list({m.net.parameters})"]
        told = m.note(pattern) if note is None else note
        return Form(lines, told, names, backward=back(m), once=True, setup=setup)

    make.__name__ = name
    FORMS[name] = make


def _listed(m: Maker) -> str:
    return f"[{', '.join(t + '_loss' for t in m.tasks)}]"


_by_hand("grads_summed", lambda m: [
    f"grads = [torch.autograd.grad(l, params, retain_graph=True, allow_unused=True) for l in {_listed(m)}]",
    "for p, gs in zip(params, zip(*grads)):",
    "    p.grad = sum(g for g in gs if g is not None)",
])  # fmt: skip
_by_hand("grads_each", lambda m: [
    *(f"{t}_grads = torch.autograd.grad({t}_loss, params, retain_graph=True, allow_unused=True)" for t in m.tasks),
    f"for p, *gs in zip(params, {', '.join(t + '_grads' for t in m.tasks)}):",
    "    p.grad = torch.stack([g for g in gs if g is not None]).sum(0)",
])  # fmt: skip
_by_hand("grads_of_vector", lambda m: [
    "grads = []", "for l in losses:", "    grads.append(torch.autograd.grad(l, params, retain_graph=True, allow_unused=True))",
    "for p, gs in zip(params, zip(*grads)):", "    p.grad = sum(g for g in gs if g is not None)",
], vector=True)  # fmt: skip
_by_hand("grads_one_hot", lambda m: [
    f"rows = [torch.autograd.grad(losses, params, grad_outputs=row, retain_graph=True) for row in torch.eye({len(m.tasks)}).to(losses)]",
    "for p, gs in zip(params, zip(*rows)):", "    p.grad = sum(gs)",
], vector=True)  # fmt: skip
_by_hand("grads_batched", lambda m: [
    f"rows = torch.autograd.grad(losses, params, torch.eye({len(m.tasks)}).to(losses), is_grads_batched=True, allow_unused=True)",
    "for p, r in zip(params, rows):", "    p.grad = r.sum(0)",
], vector=True)  # fmt: skip
_by_hand("grads_flattened", lambda m: [
    "G = []", f"for l in {_listed(m)}:", "    gs = torch.autograd.grad(l, params, retain_graph=True, allow_unused=True)",
    "    G.append(torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(params, gs)]))",
    "total = torch.stack(G).sum(0)", "start = 0", "for p in params:", "    p.grad = total[start:start + p.numel()].view_as(p).clone()",
    "    start += p.numel()",
])  # fmt: skip
_by_hand("grads_copied_out", lambda m: [
    "stored = []", f"for l in {_listed(m)}:", "    for p in params:", "        p.grad = None", "    l.backward(retain_graph=True)",
    "    stored.append([None if p.grad is None else p.grad.clone() for p in params])",
    "for p, gs in zip(params, zip(*stored)):", "    p.grad = sum(g for g in gs if g is not None)",
])  # fmt: skip
_by_hand("pcgrad", lambda m: [
    f"flat = [torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(params, torch.autograd.grad(l, params, retain_graph=True, allow_unused=True))]) for l in {_listed(m)}]",
    "C = torch.eye(len(flat), dtype=flat[0].dtype)", "for i in range(len(flat)):", "    projected = flat[i].clone()",
    "    for j in range(len(flat)):", "        if i != j:", "            inner = torch.dot(projected, flat[j])", "            if inner < 0:",
    "                projected -= inner / flat[j].norm() ** 2 * flat[j]", "                C[i, j] -= inner / flat[j].norm() ** 2",
    "    merged = projected if i == 0 else merged + projected",
    "start = 0", "for p in params:", "    p.grad = merged[start:start + p.numel()].view_as(p).clone()", "    start += p.numel()",
    f"hand.note({', '.join(f'{t}=({t}_loss, C[:, {i}].sum())' for i, t in enumerate(m.tasks))})  # by hand",
], note="")  # fmt: skip
_by_hand("min_norm", lambda m: [
    f"g1, g2 = [[torch.zeros_like(p) if g is None else g for p, g in zip(params, torch.autograd.grad(l, params, retain_graph=True, allow_unused=True))] for l in ({m.tasks[0]}_loss, {m.tasks[1]}_loss)]",
    "dot = sum((a * b).sum() for a, b in zip(g1, g2))", "n1, n2 = sum((a * a).sum() for a in g1), sum((b * b).sum() for b in g2)",
    "alpha = ((n2 - dot) / (n1 + n2 - 2 * dot)).clamp(0, 1)",
    f"hand.note({m.tasks[0]}=({m.tasks[0]}_loss, alpha), {m.tasks[1]}=({m.tasks[1]}_loss, 1 - alpha))  # by hand",
    "for p, a, b in zip(params, g1, g2):", "    p.grad = alpha * a + (1 - alpha) * b",
], note="")  # fmt: skip
_by_hand("normalised", lambda m: [
    f"grads = [torch.autograd.grad(l, params, retain_graph=True, allow_unused=True) for l in {_listed(m)}]",
    "norms = [torch.stack([g.norm() for g in gs if g is not None]).norm() for gs in grads]",
    f"hand.note({', '.join(f'{t}=({t}_loss, 1 / norms[{i}])' for i, t in enumerate(m.tasks))})  # by hand",
    "for p, gs in zip(params, zip(*grads)):", "    p.grad = sum(g / n for g, n in zip(gs, norms) if g is not None)",
], note="")  # fmt: skip
