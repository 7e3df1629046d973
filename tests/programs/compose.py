"""Program N: one value of each axis, put together as the source text of a script; always the same for the same N."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from random import Random

from programs.extras import EXTRAS, Extra
from programs.forms import FORMS, Form, Maker
from programs.nets import NETS, Lines, Net
from programs.optimizers import OPTIMIZERS, Stepper
from programs.wrappers import WRAPPERS, Wrapper

STEPS = 6
TASKS = (
    ("depth", "seg"), ("price", "stars"), ("click", "buy", "dwell"), ("pose", "mask", "edge"), ("income", "married"),
    ("near", "far", "mid", "side"), ("tone", "pitch", "tempo", "key", "beat", "chord"), ("left", "right"),
    ("normal", "albedo", "depth", "light", "shade"),
)  # fmt: skip
SHAPES = (
    "flat", "flat_loader", "main", "main_loader", "trainer", "trainer_self", "training_step", "step_dict", "generator",
    "epochs", "resumed", "two_models", "warm_start",
)  # fmt: skip
ACCUMULATIONS = (
    "none",
    "chunks_2",
    "chunks_4",
    "every_2",
    "every_3",
    "unequal",
    "never_zeroed",
    "zero_last",
    "zeroed_in_place",
)
PRECISIONS = ("float32", "float64", "double", "autocast", "bfloat16", "master")
AXES: dict[str, tuple[str, ...]] = {
    "form": tuple(FORMS),
    "net": tuple(NETS),
    "optimizer": tuple(OPTIMIZERS),
    "wrapper": tuple(WRAPPERS),
    "shape": SHAPES,
    "accumulation": ACCUMULATIONS,
    "precision": PRECISIONS,
    "extra": tuple(EXTRAS),
}


@dataclass
class Program:
    """A training program and what is known of it."""

    number: int
    axes: dict[str, str]
    text: str
    """Its source, with the lines that make the truth."""
    names: dict[str, tuple[str, ...]]
    free: tuple[str, ...]
    """Names of parameters whose task gradients are not judged."""
    additive: bool
    tolerance: float
    library: str = ""
    models: int = 1
    losses: bool = True
    """Whether losses and weights are judged."""
    may: str = ""
    residual: tuple[str, ...] = ()

    @property
    def script(self) -> str:
        """Its source as a user would have written it."""
        return "".join(line for line in self.text.splitlines(keepends=True) if not line.rstrip().endswith("# by hand"))


class Clash(Exception):
    """These values of the axes do not go together."""


@dataclass
class Parts:
    """The pieces that a program is put together from."""

    net: Net
    form: Form
    stepper: Stepper
    wrapper: Wrapper
    extra: Extra
    axes: dict[str, str]
    fold: Lines = field(default_factory=list)


def program(number: int, axes: dict[str, str] | None = None) -> Program:
    """Program ``number``; with ``axes``, those values instead of drawn ones.

    Raises:
        Clash: the values given do not go together.
    """
    rng = Random(f"program {number}")
    if axes is not None:
        return _assemble(number, axes, rng)
    while True:
        drawn = _draw(rng)
        try:
            return _assemble(number, drawn, rng)
        except Clash:
            continue


def _draw(rng: Random) -> dict[str, str]:
    """Every axis alike; the plain value of the later axes more often, so that not all things come at once."""
    drawn = {name: rng.choice(values) for name, values in AXES.items()}
    sparse = [name for name, stepper in OPTIMIZERS.items() if stepper.sparse != "no"]
    plain = {"wrapper": ("none", 0.35), "shape": ("flat", 0.15), "accumulation": ("none", 0.45),
             "precision": ("float32", 0.5), "extra": ("none", 0.35), "net": ("module_dict", 0.1)}  # fmt: skip
    for name, (value, share) in plain.items():
        if rng.random() < share:
            drawn[name] = value
    if drawn["net"] == "sparse_embedding":
        drawn["optimizer"] = rng.choice(sparse)
    return drawn


def _assemble(number: int, axes: dict[str, str], rng: Random) -> Program:
    tasks = list(rng.choice(TASKS))
    if axes["form"] == "min_norm":
        tasks = tasks[:2]
    net = NETS[axes["net"]](tasks)
    maker = Maker(net, tasks, rng)
    form = FORMS[axes["form"]](maker)
    parts = Parts(net, form, OPTIMIZERS[axes["optimizer"]], WRAPPERS[axes["wrapper"]], EXTRAS[axes["extra"]], axes)
    _check(parts, tasks)
    text = _text(parts)
    half = axes["precision"] in ("autocast", "bfloat16", "master")
    free = tuple(name.split("=")[0] for name in [form.extra_watch] if name)
    stays = axes["accumulation"] != "never_zeroed" and axes["optimizer"] != "two_rates"
    return Program(
        number, axes, text, form.names, free,
        additive=parts.stepper.additive and parts.wrapper.additive,
        tolerance=4e-2 if half else 2e-3,
        library="\n".join(form.library),
        models=2 if axes["shape"] == "two_models" else 1,
        losses=form.weights and stays,
        may=form.may or parts.stepper.may or parts.wrapper.may,
        residual=form.residual or (("*",) if parts.wrapper.free else ()),
    )  # fmt: skip


def _check(p: Parts, tasks: Lines) -> None:
    """Raise Clash where the values do not go together."""
    net, form, stepper, wrapper, extra, axes = p.net, p.form, p.stepper, p.wrapper, p.extra, p.axes
    accumulation, precision, shape = axes["accumulation"], axes["precision"], axes["shape"]
    grouped = accumulation in ("chunks_2", "chunks_4", "every_2", "every_3", "unequal")
    closure = bool(stepper.closure) or bool(wrapper.sam)
    simple = form.backward is None
    clashes = [
        form.once and (grouped or closure or wrapper.scaler or accumulation == "never_zeroed" or net.reentrant),
        form.once and wrapper.before and axes["wrapper"] in ("divided_grads",),
        wrapper.scaler and (not simple or not stepper.scaler or closure or precision in ("float64", "double", "master")),
        closure and (grouped or accumulation in ("never_zeroed",) or axes["extra"] in ("parameter_hooks",)),
        bool(stepper.closure) and bool(wrapper.sam),
        bool(stepper.closure) and (wrapper.plain_only or bool(wrapper.before) or accumulation == "zero_last"),
        bool(wrapper.sam) and (not stepper.grads_stay or accumulation != "none" or not form.smooth),
        bool(stepper.closure) and not form.smooth,
        wrapper.plain_only and stepper.step != ["opt.step()"],
        bool(wrapper.make) and "opt" in " ".join(wrapper.make) and not stepper.things,
        axes["wrapper"] in ("rate_by_hand", "one_cycle") and (not stepper.native or axes["optimizer"] == "optimizer_each"),
        axes["wrapper"].endswith("_lr") and (not stepper.native or axes["optimizer"] in ("optimizer_each", "adam_tensor_lr")),
        axes["wrapper"] in ("post_hook", "hook_on_optimizer") and axes["optimizer"] in ("two_optimizers", "optimizer_each", "two_rates", "sparse_adam"),
        "opt." in " ".join(wrapper.make) and axes["optimizer"] == "optimizer_each",
        axes["wrapper"] == "one_cycle" and axes["optimizer"] in ("adam_tensor_lr",),
        axes["wrapper"] == "hook_on_optimizer" and bool(stepper.closure),
        net.sparse and (stepper.sparse == "no" or wrapper.dense or bool(form.residual) or precision != "float32"),
        net.sparse and (axes["wrapper"] in ("clip_norm_foreach", "clip_norm", "scaler_clip", "scaler", "divided_grads") or form.once),
        net.sparse and not extra.sparse,
        net.sparse and axes["accumulation"] in ("zeroed_in_place",),
        stepper.sparse == "only" and not net.sparse,
        (stepper.heads_apart or axes["form"] == "backward_inputs") and not net.trunk,
        stepper.heads_apart and bool(form.extra) and False,
        axes["form"] in ("grads_batched", "grads_one_hot") and (net.compiled or axes["net"] in ("scripted", "scripted_norm", "checkpointed", "checkpointed_reentrant", "norm_dropout", "recurrent", "attention")),
        form.once and net.compiled and not simple and "retain_graph" in " ".join(form.backward or []) and axes["net"] == "compiled_aot" and False,
        net.reentrant and (axes["form"] in ("backward_inputs",) or form.once),
        net.reentrant and shape == "generator",
        (net.compiled or net.reentrant) and extra.around_step != "" and not extra.compiles,
        net.compiled and not extra.compiles,
        axes["net"].startswith("scripted") and not extra.scripted,
        precision == "bfloat16" and (not net.halves or not stepper.half or wrapper.scaler or closure),
        precision == "autocast" and (axes["net"] in ("leaves", "recurrent", "compiled", "compiled_aot", "scripted", "scripted_norm", "attention") or net.reentrant),
        precision in ("float64", "double") and (axes["net"] in ("sparse_embedding",)),
        precision == "master" and (not net.halves or not stepper.half or bool(form.extra) or closure or form.once or axes["wrapper"] != "none"
                                   or stepper.heads_apart or not stepper.things or accumulation not in ("none",) or axes["optimizer"] in ("sgd_groups", "optimizer_each", "added_group")),
        precision == "master" and (axes["extra"] in ("print_loss_gradients", "set_to_none_false") or shape in ("resumed",) or stepper.zero != ["opt.zero_grad()"]),
        form.alternating and (grouped or closure or shape in ("generator",)),
        not simple and shape in ("training_step", "step_dict", "generator", "trainer_self"),
        shape in ("training_step", "step_dict", "generator", "trainer_self") and (closure or (bool(extra.around_step) and shape == "generator")),
        shape == "generator" and (accumulation not in ("none", "never_zeroed", "zero_last") or precision == "autocast"),
        shape == "trainer_self" and ("losses" not in " ".join(form.compute) or any("=" in line and line.startswith("losses = losses") for line in form.compute)),
        shape == "resumed" and axes["optimizer"] not in ("sgd_momentum", "adam", "adamw", "adam_foreach"),
        shape == "resumed" and net.sparse,
        shape == "two_models" and bool(form.library) and False,
        accumulation == "zeroed_in_place" and ("set_to_none" in " ".join(wrapper.defs) and False),
        accumulation in ("never_zeroed", "zero_last", "zeroed_in_place") and (axes["optimizer"] in ("two_rates", "drops_grad", "hand_written") or bool(stepper.closure)),
        grouped and axes["optimizer"] in ("two_rates", "drops_grad"),
        accumulation == "never_zeroed" and (wrapper.before or form.once or axes["wrapper"] in ("centralising_optimizer", "hook_on_optimizer") or not stepper.grads_stay or wrapper.scaler),
        accumulation.startswith("every") and wrapper.sam != "",
        axes["extra"] == "scaling_hooks" and (form.once or net.reentrant),
        axes["extra"] == "accumulate_hooks" and net.reentrant,
        axes["extra"] == "parameter_hooks" and net.sparse,
        axes["extra"] == "module_backward_hooks" and (form.once or net.reentrant or "net" not in net.things or axes["form"] in ("added_in_place", "backward_inputs")),
        axes["extra"] == "print_loss_gradients" and (axes["optimizer"] == "drops_grad" or axes["wrapper"].startswith("sam")),
        axes["extra"] == "set_to_none_false" and accumulation == "zero_last",
        axes["extra"] == "deepcopied" and axes["net"] == "leaves" and False,
        axes["extra"] == "warnings_are_errors" and (axes["wrapper"].endswith("_lr") or axes["wrapper"] == "one_cycle" or net.reentrant or precision == "autocast" or wrapper.scaler),
        axes["extra"] == "save_on_cpu" and axes["net"] in ("checkpointed", "checkpointed_reentrant"),
        axes["extra"] == "saved_tensor_hooks" and axes["net"] in ("checkpointed", "checkpointed_reentrant"),
        axes["extra"] in ("anomaly_on", "anomaly_around", "anomaly_no_nan") and axes["net"] in ("checkpointed_reentrant",),
        axes["extra"] == "deterministic" and net.sparse,
        axes["extra"].startswith("anomaly") and axes["extra"] != "anomaly_off" and net.compiled,
        axes["wrapper"] == "one_cycle" and axes["optimizer"] in ("rprop", "groups", "sgd_groups", "added_group"),
        axes["wrapper"].endswith("_lr") and axes["optimizer"] in ("lbfgs", "lbfgs_wolfe"),
        axes["form"] == "criterion_module" and net.compiled and False,
        axes["extra"] == "no_grad_default" and (shape in ("resumed",) or closure or form.once and False),
        axes["extra"] == "anomaly_around" and closure and False,
        axes["form"] == "filled_vector" and precision in ("bfloat16",) and False,
        axes["optimizer"] == "two_rates" and (shape not in ("flat", "main", "flat_loader", "main_loader", "trainer", "epochs") or axes["wrapper"] not in ("none", "ema", "weight_clamp", "clip_norm", "data_clamp")),
        axes["optimizer"] == "two_rates" and axes["wrapper"] in ("clip_norm",),
        axes["optimizer"] in ("drops_grad",) and bool(wrapper.defs) and False,
    ]  # fmt: skip
    if any(clashes):
        raise Clash(str([i for i, clash in enumerate(clashes) if clash]))


def _fill(lines: Lines, p: Parts) -> Lines:
    """Put the parameters' expressions into statements."""
    model = p.net.parameters
    params = model if not p.form.extra else f"[*{model}, *{p.form.extra}]"
    if p.form.extra and model.startswith("["):
        params = f"[{model[1:-1]}, *{p.form.extra}]"
    values = {"{params}": params, "{trunk}": p.net.trunk}
    filled = []
    for line in lines:
        for key, value in values.items():
            line = line.replace(key, value)
        filled.append(line.replace("{{", "{").replace("}}", "}"))
    return filled


def _indent(lines: Lines, by: int = 1) -> Lines:
    return [f"{'    ' * by}{line}" if line else line for line in lines]


def _hand(*lines: str) -> Lines:
    return [f"{line}  # by hand" for line in lines]


class Body:
    """The statements of a program, piece by piece."""

    def __init__(self, p: Parts) -> None:
        self.p = p
        self.precision = p.axes["precision"]
        self.accumulation = p.axes["accumulation"]
        self.groups = int(self.accumulation[-1]) if self.accumulation[-1].isdigit() else 2
        if self.accumulation == "unequal":
            self.groups = 4
        self.scale = f" / {self.groups}" if self._grouped else ""

    @property
    def _grouped(self) -> bool:
        return self.accumulation.startswith(("chunks", "every", "unequal"))

    def forward(self) -> Lines:
        """Forward, losses, and the note of what they are."""
        form = self.p.form
        floats = {"float64": "double", "double": "double", "bfloat16": "bfloat16", "master": "bfloat16"}.get(
            self.precision, "float"
        )
        forward = [line.replace("x.float()", f"x.{floats}()") for line in self.p.net.forward]
        lines = [*self._cast(), *forward, *form.compute]
        if self.precision == "autocast":
            lines = ['with torch.autocast("cpu", dtype=torch.bfloat16):', *_indent(lines)]
        if form.note and not form.late:
            lines += _hand(f"hand.note({form.note})")
        return lines

    def _cast(self) -> Lines:
        if self.p.net.batch.startswith("torch.randint"):
            return []
        if self.precision == "double":
            return ["x = x.double()"]
        return ["x = x.bfloat16()"] if self.precision in ("bfloat16", "master") else []

    def backward(self, loss: str | None = None) -> Lines:
        """What makes gradients of the losses."""
        form, wrapper = self.p.form, self.p.wrapper
        if form.backward is not None:
            return [line.replace("{s}", self.scale) for line in form.backward]
        loss = loss or form.loss
        if self.scale:
            loss = f"({loss}{self.scale})"
        if wrapper.backward:
            return [
                wrapper.backward.replace(
                    "{loss}", loss.removeprefix("(").removesuffix(")") if loss.startswith("((") else loss
                )
            ]
        return [f"{loss}.backward()"]

    def zero(self) -> Lines:
        """Empty .grad."""
        stepper = self.p.stepper
        if self.accumulation == "never_zeroed":
            return []
        lines = list(stepper.zero)
        if self.accumulation == "zeroed_in_place":
            lines = [line.replace("zero_grad()", "zero_grad(set_to_none=False)") for line in lines]
        if self.precision == "master":
            lines = ["net.zero_grad()"] if self.p.net.things == ["net"] else ["for p in low:", "    p.grad = None"]
        if self.p.axes["optimizer"] == "two_rates":
            return [*lines, *_hand("hand.clear(*slow_names) if step % 2 == 0 else None", "hand.clear(*fast_names)")]
        return [*lines, *_hand("hand.clear()")]

    def step(self) -> Lines:
        """From the gradients to the next weights."""
        p = self.p
        lines = _fill(p.wrapper.before, p)
        if self.precision == "master":
            lines += ["for m, q in zip(master, low):", "    m.grad = None if q.grad is None else q.grad.float()"]
        lines += _hand("hand.before()")
        lines += p.wrapper.step or p.stepper.step
        lines += _hand("hand.after()")
        if self.precision == "master":
            lines += ["with torch.no_grad():", "    for m, q in zip(master, low):", "        q.copy_(m)"]
        return [*lines, *_fill(p.wrapper.after, p)]

    def around(self, lines: Lines) -> Lines:
        """Forward and backward, inside what the script has around them."""
        extra = self.p.extra
        return [extra.around_step, *_indent(lines)] if extra.around_step else lines

    def whole(self) -> Lines:
        """One training step, everything in line."""
        p = self.p
        begin, finish = _fill(p.extra.begin, p), _fill(p.extra.finish, p)
        if p.stepper.closure or p.wrapper.sam:
            return [*begin, *self._by_closure(), *finish]
        both = self.around([*self.forward(), *self.backward()])
        return [*begin, *self.arranged(both), *finish]

    def arranged(self, both: Lines) -> Lines:
        """Forward and backward, zeroing and the step, in the order that the accumulation asks for."""
        if self.accumulation == "zero_last":
            return [*both, *self.step(), *self.zero()]
        if self.accumulation.startswith("chunks"):
            return [*self.zero(), f"for x in x.chunk({self.groups}):", *_indent(both), *self.step()]
        if self.accumulation.startswith("every"):
            return [*both, f"if (step + 1) % {self.groups} == 0:", *_indent([*self.step(), *self.zero()])]
        if self.accumulation == "unequal":
            return [
                *both,
                f"if (step + 1) % {self.groups} == 0 or step + 1 == steps:",
                *_indent([*self.step(), *self.zero()]),
            ]
        return [*self.zero(), *both, *self.step()]

    def _by_closure(self) -> Lines:
        p = self.p
        again = [*self.forward(), *self.backward(), *_hand("hand.fed()")]
        returned = f"return {p.form.loss}" if p.form.backward is None else "return 0.0"
        if p.wrapper.sam == "twice":
            first = [line for line in self.around([*self.forward(), *self.backward()])]
            second = self.around([*self.forward(), *self.backward()])
            return [*_hand("hand.clear()"), *first, *_hand("hand.clear()"), *_hand("theta = hand.start()"), "opt.first_step(zero_grad=True)", *second,
                    *_hand("hand.before(theta)"), "opt.second_step(zero_grad=True)", *_hand("hand.after()", "hand.clear()"), *_fill(p.wrapper.after, p)]  # fmt: skip
        zero = [*self.zero()]
        if p.wrapper.sam == "closure":
            again = [*self.forward(), *self.backward()]
            outside = self.around([*self.forward(), *self.backward()])
            inner = ["def closure():", *_indent(self.around([*_hand("hand.clear()"), *again])), *_indent([returned])]
            return [
                *zero,
                *outside,
                *inner,
                *_hand("hand.before()"),
                "opt.step(closure)",
                *_hand("hand.after()"),
                *_fill(p.wrapper.after, p),
            ]
        inner = [
            "def closure():",
            *_indent([line for line in zero if "by hand" not in line]),
            *_indent(self.around(again)),
            *_indent([returned]),
        ]
        return [*inner, *_hand("hand.before()"), *p.stepper.step, *_hand("hand.after()"), *_fill(p.wrapper.after, p)]


def _text(p: Parts) -> str:
    """The whole source text."""
    axes, form, net, stepper, wrapper, extra = p.axes, p.form, p.net, p.stepper, p.wrapper, p.extra
    body = Body(p)
    steps = STEPS * (body.groups if axes["accumulation"].startswith("every") else 1)
    if axes["accumulation"] == "unequal":
        steps = 4 * 3 + 2
    head = [
        "import torch",
        "from torch import nn",
        "import torch.nn.functional as F",
        "from hand import keep, resume",
        *_hand("import hand"),
        "",
    ]
    if form.library:
        head += [
            "import os, sys",
            'sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "site-packages"))',
        ]
    head += [
        *form.defs,
        *stepper.defs,
        *[line.replace("{{", "{").replace("}}", "}") for line in wrapper.defs],
        *_fill(extra.top, p),
    ]
    head += ["torch.manual_seed(0)"]
    if axes["precision"] == "float64":
        head += ["torch.set_default_dtype(torch.float64)"]
    classes, made = _classes(net.make)
    head += [*classes, ""]
    setup = [
        *made,
        *_to(p),
        *form.setup,
        *_truth(p),
        *_fill(_optimizer(p), p),
        *_fill(wrapper.make, p),
        *_extra_make(p),
    ]
    end = [*extra.end, *wrapper.end, *_hand_kept(p)]
    return "\n".join([*head, *_shaped(p, body, setup, end, steps), ""])


def _classes(lines: Lines) -> tuple[Lines, Lines]:
    """Imports and classes apart from statements."""
    top: Lines = []
    for place, line in enumerate(lines):
        if line.startswith(("class ", "    ", "from ")) or not line:
            top.append(line)
        else:
            return top, lines[place:]
    return top, []


def _to(p: Parts) -> Lines:
    how = {"double": "double", "bfloat16": "bfloat16", "master": "bfloat16"}.get(p.axes["precision"])
    if how is None:
        return []
    if p.axes["net"] == "leaves":
        return [f"{t} = {t}.detach().{how}().requires_grad_()" for t in p.net.things]
    return [f"{t}.{how}()" for t in p.net.things]


def _optimizer(p: Parts) -> Lines:
    if p.axes["precision"] != "master":
        return p.stepper.make
    lines = ["low = list({params})", "master = [q.detach().float().clone().requires_grad_() for q in low]"]
    return [*lines, *(line.replace("{params}", "master") for line in p.stepper.make)]


def _extra_make(p: Parts) -> Lines:
    modules = ", ".join(t for t in p.net.things)
    return _fill([line.replace("gather()", f"nn.ModuleList([{modules}]).modules()") for line in p.extra.make], p)


def _truth(p: Parts) -> Lines:
    watched = ", ".join(filter(None, [p.net.watch, p.form.extra_watch]))
    lines = [f"hand.watch({watched})"]
    body = Body(p)
    if body.scale:
        lines.append(f"hand.share(1 / {body.groups})")
    if p.stepper.closure or p.wrapper.sam == "never":
        lines.append(f'hand.closure("{p.stepper.closure}")')
    if p.net.reentrant:
        lines.append("hand.reentrant()")
    if p.axes["optimizer"] == "two_rates":
        lines.append(f"slow_names, fast_names = hand.split({p.net.trunk})")
    return _hand(*lines)


def _hand_kept(p: Parts) -> Lines:
    things = [*p.net.things, *([p.form.extra_watch.split("=")[1]] if p.form.extra_watch else [])]
    optimizers = (
        p.stepper.things if not p.wrapper.things else [t for t in p.stepper.things if t != "opt"] + p.wrapper.things
    )
    return [f"keep({', '.join([*things, *optimizers])})"]


def _shaped(p: Parts, body: Body, setup: Lines, end: Lines, steps: int) -> Lines:
    """The pieces in the script's shape."""
    shape = p.axes["shape"]
    batch = p.net.batch
    if shape in ("flat", "resumed", "warm_start"):
        if shape == "resumed":
            setup = [*setup, "resume(opt)"]
        if shape == "warm_start":
            name = next((t for t in p.net.things if t[0].islower()), None)
            if name is None:
                raise Clash("no module")
            cut = len(setup)
            state = [
                f"state = {{k: v.clone() for k, v in {name}.state_dict().items()}}",
                f"{name}.load_state_dict(state)",
            ]
            setup = [*setup[:cut], *state]
        return [
            *setup,
            *_loop(p, [f"steps = {steps}", "for step in range(steps):"], [f"x = {batch}", *body.whole()]),
            *end,
        ]
    if shape == "flat_loader":
        data = [f"data = [{batch} for _ in range({steps})]", f"steps = {steps}", "for step, x in enumerate(data):"]
        return [*setup, *_loop(p, data, body.whole()), *end]
    if shape == "main":
        inner = [
            *setup,
            *_loop(p, [f"steps = {steps}", "for step in range(steps):"], [f"x = {batch}", *body.whole()]),
            *end,
        ]
        return ["def main():", *_indent(inner), "", 'if __name__ == "__main__":', "    main()"]
    if shape == "main_loader":
        data = ["from torch.utils.data import DataLoader, TensorDataset", f"steps = {steps}", f"data = TensorDataset(torch.cat([{batch} for _ in range(steps)]))",
                "for step, (x,) in enumerate(DataLoader(data, batch_size=16, shuffle=True)):"]  # fmt: skip
        inner = [*setup, *_loop(p, data, body.whole()), *end]
        return ["def main(seed):", *_indent(inner), "", "main(0)"]
    if shape == "epochs":
        first = steps // 2
        inner = [
            f"steps = {steps}",
            f"for step, x in enumerate(loader, start=epoch * {first}):",
            *_indent(body.whole()),
        ]
        if steps % 2 or p.axes["accumulation"] == "unequal":
            raise Clash("two epochs of one length")
        loop = [f"for epoch in range(2):", f"    train_one_epoch(epoch, [{batch} for _ in range({first})])"]
        return [*setup, "", "def train_one_epoch(epoch, loader):", *_indent(inner), "", *_around(p, loop), *end]
    if shape == "two_models":
        inner = [
            *setup,
            *_loop(p, [f"steps = {steps}", "for step in range(steps):"], [f"x = {batch}", *body.whole()]),
            *end[:-1],
        ]
        last = end[-1]
        return ["def train(fold):", *_indent(inner), f"    {last}", "", "for fold in range(2):", "    train(fold)"]
    return _called(p, body, setup, end, steps)


def _called(p: Parts, body: Body, setup: Lines, end: Lines, steps: int) -> Lines:
    """Shapes in which the loss comes out of a function."""
    shape, batch = p.axes["shape"], p.net.batch
    begin, finish = _fill(p.extra.begin, p), _fill(p.extra.finish, p)
    count = [f"steps = {steps}", "for step in range(steps):"]
    if shape == "trainer":
        method = [
            "def train_batch(self, x, step, steps):",
            *_indent(["opt = self.optimizer"] if p.stepper.things[:1] == ["opt"] else []),
            *_indent(body.whole()),
        ]
        cls = ["class Trainer:", "    def __init__(self, model, optimizer):", "        self.model, self.optimizer = model, optimizer", "", *_indent(method), "",
               "    def fit(self, steps):", "        for step in range(steps):", f"            self.train_batch({batch}, step, steps)"]  # fmt: skip
        opt = "opt" if p.stepper.things[:1] == ["opt"] else "None"
        return [
            *setup,
            "",
            *cls,
            "",
            f"trainer = Trainer({p.net.things[0]}, {opt})",
            *_around(p, [f"trainer.fit({steps})"]),
            *end,
        ]
    if shape in ("training_step", "step_dict"):
        returned = (
            f'return {{"loss": {p.form.loss}, "step": step}}' if shape == "step_dict" else f"return {p.form.loss}"
        )
        function = ["def training_step(x, step):", *_indent([*body.forward(), returned])]
        call = (
            ["output = training_step(x, step)", *body.backward('output["loss"]')]
            if shape == "step_dict"
            else ["loss = training_step(x, step)", *body.backward("loss")]
        )
        return [
            *setup,
            "",
            *function,
            "",
            *_loop(p, count, [f"x = {batch}", *begin, *body.arranged(body.around(call)), *finish]),
            *end,
        ]
    if shape == "trainer_self":
        method = ["def training_step(self, x, step):", *_indent([*body.forward(), f"return {p.form.loss}"])]
        method = [_own(line) for line in method]
        cls = ["class Task:", *_indent(method)]
        call = ["loss = task.training_step(x, step)", *body.backward("loss")]
        return [
            *setup,
            "",
            *cls,
            "",
            "task = Task()",
            *_loop(p, count, [f"x = {batch}", *begin, *body.arranged(body.around(call)), *finish]),
            *end,
        ]
    if shape == "generator":
        function = [
            "def losses_of_steps(steps):",
            "    for step in range(steps):",
            f"        x = {batch}",
            *_indent([*begin, *body.forward(), f"yield {p.form.loss}"], 2),
        ]
        call = ["for step, loss in enumerate(losses_of_steps(" + str(steps) + ")):"]
        zero = body.zero()
        if p.axes["accumulation"] == "none":
            # The note comes before the loop's own zeroing.
            zero = [line for line in zero if "by hand" not in line]
        step = [
            *body.backward("loss"),
            *body.step(),
            *_hand(*([] if p.axes["accumulation"] == "never_zeroed" else ["hand.clear()"])),
        ]
        inside = [*step, *zero] if p.axes["accumulation"] == "zero_last" else [*zero, *step]
        return [*setup, "", *function, "", *_loop(p, call, [*inside, *finish]), *end]
    raise AssertionError(shape)


def _own(line: str) -> str:
    """The losses as an attribute of the object."""
    import re

    return re.sub(r"(?<![\w.])losses(?=\b)(?!\w)", "self.losses", line)


def _around(p: Parts, lines: Lines) -> Lines:
    return [p.extra.around, *_indent(lines)] if p.extra.around else lines


def _loop(p: Parts, header: Lines, inside: Lines) -> Lines:
    return _around(p, [*header, *_indent(inside)])


def shown(program: Program) -> str:
    """A head line and the source."""
    return f"# {program.number}: {', '.join(f'{k}={v}' for k, v in program.axes.items())}\n{textwrap.dedent(program.script)}"
