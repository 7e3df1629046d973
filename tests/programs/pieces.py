"""The statements of a program, piece by piece: forward, backward, zeroing, the step."""

from __future__ import annotations

from dataclasses import dataclass

from programs.extras import Extra
from programs.forms import Form
from programs.nets import Lines, Net
from programs.optimizers import Stepper
from programs.wrappers import Wrapper

HALVES = {"float64": "double", "double": "double", "bfloat16": "bfloat16", "master": "bfloat16"}
"""For each precision the method that casts to it."""


@dataclass
class Parts:
    """What a program is put together from: what each axis' value stands for."""

    net: Net
    form: Form
    stepper: Stepper
    wrapper: Wrapper
    extra: Extra
    axes: dict[str, str]

    @property
    def parameters(self) -> str:
        """The expression for all parameters."""
        model, more = self.net.parameters, self.form.extra
        if not more:
            return model
        return f"[{model[1:-1]}, *{more}]" if model.startswith("[") else f"[*{model}, *{more}]"

    def fill(self, lines: Lines) -> Lines:
        """Put the expressions for the parameters into statements."""
        filled = [line.replace("{params}", self.parameters).replace("{trunk}", self.net.trunk) for line in lines]
        return [line.replace("{{", "{").replace("}}", "}") for line in filled]


def indent(lines: Lines, by: int = 1) -> Lines:
    return [f"{'    ' * by}{line}" if line else line for line in lines]


def by_hand(*lines: str) -> Lines:
    """Statements for the run that makes the truth."""
    return [f"{line}  # by hand" for line in lines]


class Body:
    """One training step."""

    def __init__(self, p: Parts) -> None:
        self.p = p
        self.precision = p.axes["precision"]
        self.accumulation = p.axes["accumulation"]
        _, _, count = self.accumulation.partition("_")
        grouped = self.accumulation.startswith(("chunks", "every", "unequal"))
        self.groups = int(count) if count.isdigit() else 4 if grouped else 1
        self.scale = f" / {self.groups}" if grouped else ""

    def forward(self, *, cast: bool = True) -> Lines:
        """Forward, losses, and the note of what they are."""
        form = self.p.form
        floats = HALVES.get(self.precision, "float")
        forward = [line.replace("x.float()", f"x.{floats}()") for line in self.p.net.forward]
        lines = [*(self._cast() if cast else []), *form.ahead, *forward, *form.compute]
        if self.precision == "autocast":
            lines = ['with torch.autocast("cpu", dtype=torch.bfloat16):', *indent(lines)]
        return [*lines, *by_hand(f"hand.note({form.note})")] if form.note and not form.late else lines

    def _cast(self) -> Lines:
        counts = self.p.net.batch.startswith("torch.randint")
        cast = HALVES.get(self.precision)
        return [f"x = x.{cast}()"] if cast and self.precision != "float64" and not counts else []

    def backward(self, loss: str | None = None) -> Lines:
        """What makes gradients of the losses."""
        form, wrapper = self.p.form, self.p.wrapper
        if form.backward is not None:
            return [line.replace("{s}", self.scale) for line in form.backward]
        loss = loss or form.loss
        if wrapper.backward:
            return [wrapper.backward.replace("{loss}", f"{loss}{self.scale}")]
        return [f"({loss}{self.scale}).backward()" if self.scale else f"{loss}.backward()"]

    def zero(self) -> Lines:
        """Empty .grad."""
        if self.accumulation == "never_zeroed":
            return []
        lines = list(self.p.stepper.zero)
        if self.accumulation == "zeroed_in_place":
            lines = [line.replace("zero_grad()", "zero_grad(set_to_none=False)") for line in lines]
        if self.precision == "master":
            lines = ["net.zero_grad()"] if self.p.net.things == ["net"] else ["for p in low:", "    p.grad = None"]
        if self.p.axes["optimizer"] == "two_rates":
            return [*lines, *by_hand("hand.clear(*slow_names) if step % 2 == 0 else None", "hand.clear(*fast_names)")]
        return [*lines, *by_hand("hand.clear()")]

    def step(self) -> Lines:
        """From the gradients to the next weights."""
        p = self.p
        lines = p.fill(p.wrapper.before)
        if self.precision == "master":
            lines += ["for m, q in zip(master, low):", "    m.grad = None if q.grad is None else q.grad.float()"]
        lines += [*by_hand("hand.before()"), *(p.wrapper.step or p.stepper.step), *by_hand("hand.after()")]
        if self.precision == "master":
            lines += ["with torch.no_grad():", "    for m, q in zip(master, low):", "        q.copy_(m)"]
        return [*lines, *p.fill(p.wrapper.after)]

    def around(self, lines: Lines) -> Lines:
        """Forward and backward, inside what the script has around them."""
        extra = self.p.extra
        return [extra.around_step, *indent(lines)] if extra.around_step else lines

    def whole(self) -> Lines:
        """Everything in line."""
        p = self.p
        begin, finish = p.fill(p.extra.begin), p.fill(p.extra.finish)
        both = self.around([*self.forward(), *self.backward()])
        if p.wrapper.sam == "twice":
            inner = self._twice(both)
        elif p.wrapper.sam:
            inner = self._sharp(self.around([*self.forward(cast=False), *self.backward()]))
        elif p.stepper.closure:
            inner = self._by_closure()
        else:
            inner = self.arranged(both)
        return [*begin, *inner, *finish]

    def arranged(self, both: Lines) -> Lines:
        """Forward and backward, zeroing and the step, in the order that the accumulation asks for."""
        last = [*self.step(), *self.zero()]
        if self.accumulation == "zero_last":
            return [*both, *last]
        if self.accumulation.startswith("chunks"):
            return [*self.zero(), f"for x in x.chunk({self.groups}):", *indent(both), *self.step()]
        if self.accumulation.startswith("every"):
            return [*both, f"if (step + 1) % {self.groups} == 0:", *indent(last)]
        if self.accumulation == "unequal":
            return [*both, f"if (step + 1) % {self.groups} == 0 or step + 1 == steps:", *indent(last)]
        return [*self.zero(), *both, *self.step()]

    def _twice(self, both: Lines) -> Lines:
        """The gradient is taken again at weights that the optimizer has gone to."""
        return [
            *by_hand("hand.clear()"),
            *both,
            *by_hand("hand.clear()", "theta = hand.start()"),
            "opt.first_step(zero_grad=True)",
            *both,
            *by_hand("hand.before(theta)"),
            "opt.second_step(zero_grad=True)",
            *by_hand("hand.after()", "hand.clear()"),
            *self.p.fill(self.p.wrapper.after),
        ]

    def _sharp(self, both: Lines) -> Lines:
        """As before, but the optimizer calls for the second gradient itself."""
        again = [*by_hand("hand.clear()"), *both, self._returned()]
        return [
            *self._cast(),
            *self.zero(),
            *both,
            "def closure():",
            *indent(again),
            *self._stepped(["opt.step(closure)"]),
        ]

    def _by_closure(self) -> Lines:
        zero = [line for line in self.zero() if not line.endswith("# by hand")]
        taken = [*self.forward(cast=False), *self.backward(), *by_hand("hand.fed()")]
        inner = [*zero, *self.around(taken), self._returned()]
        return [*self._cast(), "def closure():", *indent(inner), *self._stepped(self.p.stepper.step)]

    def _returned(self) -> str:
        return f"return {self.p.form.loss}" if self.p.form.backward is None else "return 0.0"

    def _stepped(self, step: Lines) -> Lines:
        return [*by_hand("hand.before()"), *step, *by_hand("hand.after()"), *self.p.fill(self.p.wrapper.after)]
