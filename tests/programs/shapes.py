"""The shape of a script: where its pieces stand."""

from __future__ import annotations

import re
from collections.abc import Callable

from programs.nets import Lines
from programs.pieces import HALVES, Body, Parts, by_hand, indent

STEPS = 6


def text(p: Parts) -> str:
    """The whole source text of a program."""
    body = Body(p)
    steps = STEPS * body.groups if p.axes["accumulation"].startswith("every") else STEPS
    if p.axes["accumulation"] == "unequal":
        steps = 4 * 3 + 2
    classes, made = _classes(p.net.make)
    setup = [
        *made,
        *_cast(p),
        *p.form.setup,
        *p.fill(_optimizer(p)),
        *_truth(p, body),
        *p.fill(p.wrapper.make),
        *_more(p),
    ]
    end = [*p.extra.end, *p.wrapper.end, _keep(p)]
    shaped = SHAPES[p.axes["shape"]](p, body, setup, end, steps)
    return "\n".join([*_head(p), *classes, "", *shaped, ""])


def _head(p: Parts) -> Lines:
    head = [
        "import torch",
        "from torch import nn",
        "import torch.nn.functional as F",
        "from hand import keep, resume" if p.axes["shape"] == "resumed" else "from hand import keep",
        *by_hand("import hand"),
    ]
    if p.form.library:
        folder = "os.path.join(os.path.dirname(os.path.abspath(__file__)), 'site-packages')"
        head += ["import os, sys", f"sys.path.insert(0, {folder})"]
    head += [*p.form.defs, *p.fill(p.stepper.defs), *p.fill(p.wrapper.defs), *p.fill(p.extra.top)]
    default = ["torch.set_default_dtype(torch.float64)"] if p.axes["precision"] == "float64" else []
    return [*head, "torch.manual_seed(0)", *default]


def _classes(lines: Lines) -> tuple[Lines, Lines]:
    """Imports and classes apart from statements."""
    for place, line in enumerate(lines):
        if line and not line.startswith(("class ", "    ", "from ")):
            return lines[:place], lines[place:]
    return lines, []


def _cast(p: Parts) -> Lines:
    how = HALVES.get(p.axes["precision"])
    if how is None or p.axes["precision"] == "float64":
        return []
    if p.axes["net"] == "leaves":
        return [f"{t} = {t}.detach().{how}().requires_grad_()" for t in p.net.things]
    return [f"{t}.{how}()" for t in p.net.things]


def _optimizer(p: Parts) -> Lines:
    if p.axes["precision"] != "master":
        return p.stepper.make
    lines = ["low = list({params})", "master = [q.detach().float().clone().requires_grad_() for q in low]"]
    return [*lines, *(line.replace("{params}", "master") for line in p.stepper.make)]


def _more(p: Parts) -> Lines:
    modules = f"nn.ModuleList([{', '.join(p.net.things)}]).modules()"
    return p.fill([line.replace("gather()", modules) for line in p.extra.make])


def _truth(p: Parts, body: Body) -> Lines:
    lines = [f"hand.watch({', '.join(filter(None, [p.net.watch, p.form.extra_watch]))})"]
    if body.scale:
        lines.append(f"hand.share(1 / {body.groups})")
    if p.stepper.closure:
        lines.append(f'hand.closure("{p.stepper.closure}")')
    if p.net.reentrant:
        lines.append("hand.reentrant()")
    if p.axes["precision"] == "master":
        lines.append("hand.masters(low, master)")
    if p.axes["optimizer"] == "two_rates":
        lines.append(f"slow_names, fast_names = hand.split({p.net.trunk})")
    return by_hand(*lines)


def _keep(p: Parts) -> str:
    weights = [p.form.extra_watch.split("=")[1]] if p.form.extra_watch else []
    optimizers = [t for t in p.stepper.things if t != "opt" or not p.wrapper.things]
    return f"keep({', '.join([*p.net.things, *weights, *optimizers, *p.wrapper.things])})"


def _around(p: Parts, lines: Lines) -> Lines:
    return [p.extra.around, *indent(lines)] if p.extra.around else lines


def _loop(p: Parts, header: Lines, inside: Lines) -> Lines:
    return _around(p, [*header, *indent(inside)])


def _counted(p: Parts, steps: int, inside: Lines) -> Lines:
    return _loop(p, [f"steps = {steps}", "for step in range(steps):"], [f"x = {p.net.batch}", *inside])


def _flat(p: Parts, body: Body, setup: Lines, end: Lines, steps: int) -> Lines:
    return [*setup, *_counted(p, steps, body.whole()), *end]


def _flat_loader(p: Parts, body: Body, setup: Lines, end: Lines, steps: int) -> Lines:
    data = [f"steps = {steps}", f"data = [{p.net.batch} for _ in range(steps)]", "for step, x in enumerate(data):"]
    return [*setup, *_loop(p, data, body.whole()), *end]


def _resumed(p: Parts, body: Body, setup: Lines, end: Lines, steps: int) -> Lines:
    inner = p.wrapper.things[0] if p.wrapper.things else "opt"
    return _flat(p, body, [*setup, f"resume({inner})"], end, steps)


def _warm_start(p: Parts, body: Body, setup: Lines, end: Lines, steps: int) -> Lines:
    name = p.net.things[0]
    state = [f"state = {{k: v.clone() for k, v in {name}.state_dict().items()}}", f"{name}.load_state_dict(state)"]
    return _flat(p, body, [*setup, *state], end, steps)


def _main(p: Parts, body: Body, setup: Lines, end: Lines, steps: int) -> Lines:
    inner = _flat(p, body, setup, end, steps)
    return ["def main():", *indent(inner), "", 'if __name__ == "__main__":', "    main()"]


def _main_loader(p: Parts, body: Body, setup: Lines, end: Lines, steps: int) -> Lines:
    data = [
        "from torch.utils.data import DataLoader, TensorDataset",
        f"steps = {steps}",
        f"data = TensorDataset(torch.cat([{p.net.batch} for _ in range(steps)]))",
        "for step, (x,) in enumerate(DataLoader(data, batch_size=16, shuffle=True)):",
    ]
    return ["def main(seed):", *indent([*setup, *_loop(p, data, body.whole()), *end]), "", "main(0)"]


def _epochs(p: Parts, body: Body, setup: Lines, end: Lines, steps: int) -> Lines:
    half = steps // 2
    inner = [f"steps = {steps}", f"for step, x in enumerate(loader, start=epoch * {half}):", *indent(body.whole())]
    loop = ["for epoch in range(2):", f"    train_one_epoch(epoch, [{p.net.batch} for _ in range({half})])"]
    return [*setup, "", "def train_one_epoch(epoch, loader):", *indent(inner), "", *_around(p, loop), *end]


def _two_models(p: Parts, body: Body, setup: Lines, end: Lines, steps: int) -> Lines:
    inner = _flat(p, body, setup, end, steps)
    return ["def train(fold):", *indent(inner), "", "for fold in range(2):", "    train(fold)"]


def _trainer(p: Parts, body: Body, setup: Lines, end: Lines, steps: int) -> Lines:
    own = p.stepper.things[:1] == ["opt"]
    lines = [
        "class Trainer:",
        "    def __init__(self, model, optimizer):",
        "        self.model, self.optimizer = model, optimizer",
        "",
        "    def train_batch(self, x, step, steps):",
        *indent(["opt = self.optimizer"] if own else [], 2),
        *indent(body.whole(), 2),
        "",
        "    def fit(self, steps):",
        "        for step in range(steps):",
        f"            self.train_batch({p.net.batch}, step, steps)",
        "",
        f"trainer = Trainer({p.net.things[0]}, {'opt' if own else 'None'})",
    ]
    return [*setup, "", *lines, *_around(p, [f"trainer.fit({steps})"]), *end]


def _step_function(p: Parts, body: Body, setup: Lines, end: Lines, steps: int) -> Lines:
    as_dict = p.axes["shape"] == "step_dict"
    returned = f'return {{"loss": {p.form.loss}, "step": step}}' if as_dict else f"return {p.form.loss}"
    function = ["def training_step(x, step):", *indent([*body.forward(), returned])]
    variable, loss = ("output", 'output["loss"]') if as_dict else ("loss", "loss")
    call = [f"{variable} = training_step(x, step)", *body.backward(loss)]
    return [*setup, "", *function, "", *_counted(p, steps, _stepwise(p, body, call)), *end]


def _trainer_self(p: Parts, body: Body, setup: Lines, end: Lines, steps: int) -> Lines:
    method = ["def training_step(self, x, step):", *indent([*body.forward(), f"return {p.form.loss}"])]
    own = [re.sub(r"(?<![\w.])losses\b", "self.losses", line) for line in method]
    call = ["loss = task.training_step(x, step)", *body.backward("loss")]
    made = ["class Task:", *indent(own), "", "task = Task()"]
    return [*setup, "", *made, *_counted(p, steps, _stepwise(p, body, call)), *end]


def _stepwise(p: Parts, body: Body, call: Lines) -> Lines:
    return [*p.fill(p.extra.begin), *body.arranged(body.around(call)), *p.fill(p.extra.finish)]


def _generator(p: Parts, body: Body, setup: Lines, end: Lines, steps: int) -> Lines:
    inner = [f"x = {p.net.batch}", *p.fill(p.extra.begin), *body.forward(), f"yield {p.form.loss}"]
    function = ["def losses_of_steps(steps):", "    for step in range(steps):", *indent(inner, 2)]
    # The note has been taken before the loop's own zeroing.
    zero = [line for line in body.zero() if not line.endswith("# by hand")]
    done = [] if p.axes["accumulation"] == "never_zeroed" else by_hand("hand.clear()")
    step = [*body.backward("loss"), *body.step(), *done]
    inside = [*step, *zero] if p.axes["accumulation"] == "zero_last" else [*zero, *step]
    call = [f"for step, loss in enumerate(losses_of_steps({steps})):"]
    return [*setup, "", *function, "", *_loop(p, call, [*inside, *p.fill(p.extra.finish)]), *end]


SHAPES: dict[str, Callable[[Parts, Body, Lines, Lines, int], Lines]] = {
    "flat": _flat,
    "flat_loader": _flat_loader,
    "main": _main,
    "main_loader": _main_loader,
    "trainer": _trainer,
    "trainer_self": _trainer_self,
    "training_step": _step_function,
    "step_dict": _step_function,
    "generator": _generator,
    "epochs": _epochs,
    "resumed": _resumed,
    "two_models": _two_models,
    "warm_start": _warm_start,
}
