"""Optimizers, with the options that people set, and some that they write themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from programs.nets import Lines, code


@dataclass
class Stepper:
    """How the optimizer is made, and how it is asked to step."""

    make: Lines
    """Statements; ``{params}`` is the expression for the parameters. They leave ``opt``."""
    defs: Lines = field(default_factory=list)
    step: Lines = field(default_factory=lambda: ["opt.step()"])
    zero: Lines = field(default_factory=lambda: ["opt.zero_grad()"])
    things: Lines = field(default_factory=lambda: ["opt"])
    closure: str = ""
    """Whether it steps by a closure, and which of the closure's evaluations the step uses."""
    additive: bool = True
    """Whether its step comes apart into the tasks' parts."""
    sparse: str = "no"
    """Whether it takes sparse gradients: "no", "yes", "only"."""
    native: bool = True
    """Whether it is one of torch's own."""
    grads_stay: bool = True
    """Whether .grad is after the step what it was before."""
    scaler: bool = True
    heads_apart: bool = False
    """Whether it needs the parameters of trunk and heads: ``{trunk}``, ``{heads}``."""
    half: bool = True
    every: bool = True
    """Whether every parameter steps every time."""


def _torch(options: str, **more: Any) -> Stepper:
    name, _, rest = options.partition(" ")
    return Stepper([f"opt = torch.optim.{name}({{params}}{', ' + rest if rest else ''})"], **more)


OPTIMIZERS: dict[str, Stepper] = {
    "sgd": _torch("SGD lr=0.05", sparse="yes"),
    "sgd_momentum": _torch("SGD lr=0.02, momentum=0.9", sparse="yes"),
    "sgd_nesterov": _torch("SGD lr=0.02, momentum=0.9, nesterov=True, weight_decay=1e-2"),
    "sgd_dampening": _torch("SGD lr=0.05, momentum=0.8, dampening=0.3"),
    "sgd_maximize": _torch("SGD lr=0.01, maximize=True"),
    "sgd_foreach": _torch("SGD lr=0.03, momentum=0.9, foreach=True"),
    "sgd_fused": _torch("SGD lr=0.03, momentum=0.9, fused=True", half=False),
    "adam": _torch("Adam lr=0.01"),
    "adam_decay": _torch("Adam lr=0.01, betas=(0.8, 0.95), weight_decay=0.05, eps=1e-6"),
    "adam_amsgrad": _torch("Adam lr=0.01, amsgrad=True"),
    "adam_foreach": _torch("Adam lr=0.01, foreach=True"),
    "adam_fused": _torch("Adam lr=0.01, fused=True", half=False),
    "adam_tensor_lr": _torch("Adam lr=torch.tensor(0.01), capturable=False, foreach=False"),
    "adamw": _torch("AdamW lr=3e-3"),
    "adamw_amsgrad": _torch("AdamW lr=3e-3, weight_decay=0.1, amsgrad=True"),
    "adamw_maximize": _torch("AdamW lr=3e-3, maximize=True, foreach=True"),
    "adamax": _torch("Adamax lr=0.01, weight_decay=0.01"),
    "nadam": _torch("NAdam lr=0.01"),
    "nadam_decoupled": _torch("NAdam lr=0.01, weight_decay=0.05, decoupled_weight_decay=True"),
    "radam": _torch("RAdam lr=0.01"),
    "radam_decay": _torch("RAdam lr=0.01, weight_decay=0.05"),
    "rmsprop": _torch("RMSprop lr=0.01"),
    "rmsprop_centered": _torch("RMSprop lr=0.01, momentum=0.5, centered=True"),
    "adagrad": _torch("Adagrad lr=0.05", sparse="yes", half=False),
    "adagrad_decay": _torch("Adagrad lr=0.05, lr_decay=0.1, weight_decay=0.01", half=False),
    "adadelta": _torch("Adadelta lr=1.0"),
    "asgd": _torch("ASGD lr=0.05"),
    "adafactor": _torch("Adafactor lr=0.01", half=False),
    "rprop": _torch("Rprop lr=0.01", additive=False),
    "sparse_adam": Stepper(
        make=code("""
            rows = [p for p in {params} if p.dim() == 2 and p.shape[0] == 20]
            rest = [p for p in {params} if all(p is not r for r in rows)]
            opt = torch.optim.SparseAdam(rows, lr=0.01)
            dense_opt = torch.optim.Adam(rest, lr=0.01)
        """),
        step=["opt.step()", "dense_opt.step()"],
        zero=["opt.zero_grad()", "dense_opt.zero_grad()"],
        things=["opt", "dense_opt"],
        sparse="only",
        scaler=False,
        half=False,
    ),
    "groups": Stepper(
        make=code("""
            mine = [p for p in {params} if all(p is not q for q in {trunk})]
            groups = [{{'params': list({trunk}), 'lr': 1e-3}}, {{'params': mine, 'weight_decay': 0.01}}]
            opt = torch.optim.Adam(groups, lr=0.01)
        """),
        heads_apart=True,
    ),
    "sgd_groups": Stepper(
        make=code("""
            groups = [{{'params': [p], 'lr': 0.01 * (i + 1)}} for i, p in enumerate({params})]
            opt = torch.optim.SGD(groups, momentum=0.5)
        """),
    ),
    "added_group": Stepper(
        make=code("""
            opt = torch.optim.AdamW({trunk}, lr=1e-2)
            opt.add_param_group({{'params': [p for p in {params} if all(p is not q for q in {trunk})], 'lr': 3e-3}})
        """),
        heads_apart=True,
    ),
    "two_optimizers": Stepper(
        make=code("""
            opt = torch.optim.SGD({trunk}, lr=0.03)
            head_opt = torch.optim.Adam([p for p in {params} if all(p is not q for q in {trunk})], lr=0.01)
        """),
        step=["opt.step()", "head_opt.step()"],
        zero=["opt.zero_grad()", "head_opt.zero_grad()"],
        things=["opt", "head_opt"],
        scaler=False,
        heads_apart=True,
    ),
    "optimizer_each": Stepper(
        make=["opts = [torch.optim.RMSprop([p], lr=3e-3) for p in {params}]"],
        step=code("""
            for o in opts:
                o.step()
        """),
        zero=code("""
            for o in opts:
                o.zero_grad()
        """),
        things=["*opts"],
        scaler=False,
    ),
    "two_rates": Stepper(
        make=code("""
            opt = torch.optim.SGD({trunk}, lr=0.03)
            fast = torch.optim.Adam([p for p in {params} if all(p is not q for q in {trunk})], lr=0.01)
        """),
        step=code("""
            fast.step()
            if step % 2:
                opt.step()
        """),
        zero=code("""
            if step % 2 == 0:
                opt.zero_grad()
            fast.zero_grad()
        """),
        things=["opt", "fast"],
        scaler=False,
        heads_apart=True,
        every=False,
    ),
    "sgd_closure": Stepper(
        make=["opt = torch.optim.SGD({params}, lr=0.05, momentum=0.9)"],
        step=["opt.step(closure)"],
        closure="last",
    ),
    "adam_closure": Stepper(
        make=["opt = torch.optim.Adam({params}, lr=0.01)"],
        step=["opt.step(closure)"],
        closure="last",
    ),
    "lbfgs": Stepper(
        make=["opt = torch.optim.LBFGS({params}, lr=0.1, max_iter=3)"],
        step=["opt.step(closure)"],
        closure="first",
        scaler=False,
        half=False,
    ),
    "lbfgs_wolfe": Stepper(
        make=code("""
            opt = torch.optim.LBFGS({params}, max_iter=2, line_search_fn='strong_wolfe')
        """),
        step=["opt.step(closure)"],
        closure="first",
        scaler=False,
        half=False,
    ),
    "own_sgd": Stepper(
        make=["opt = PlainSGD({params}, lr=0.05)"],
        defs=code("""
            class PlainSGD(torch.optim.Optimizer):
                def __init__(self, params, lr):
                    super().__init__(params, dict(lr=lr))

                @torch.no_grad()
                def step(self, closure=None):
                    for group in self.param_groups:
                        for p in group['params']:
                            if p.grad is not None:
                                p.sub_(p.grad, alpha=group['lr'])
        """),
        native=False,
    ),
    "own_momentum": Stepper(
        make=["opt = HeavyBall({params}, lr=0.02)"],
        defs=code("""
            class HeavyBall(torch.optim.Optimizer):
                def __init__(self, params, lr=0.01, beta=0.9):
                    super().__init__(params, {'lr': lr, 'beta': beta})

                @torch.no_grad()
                def step(self, closure=None):
                    for group in self.param_groups:
                        for p in group['params']:
                            if p.grad is None:
                                continue
                            state = self.state[p]
                            if 'velocity' not in state:
                                state['velocity'] = torch.zeros_like(p)
                            state['velocity'].mul_(group['beta']).add_(p.grad)
                            p.add_(state['velocity'], alpha=-group['lr'])
        """),
        native=False,
    ),
    "lion": Stepper(
        make=["opt = Lion({params}, lr=1e-3)"],
        defs=code("""
            class Lion(torch.optim.Optimizer):
                def __init__(self, params, lr=1e-4, betas=(0.9, 0.99)):
                    super().__init__(params, dict(lr=lr, betas=betas))

                @torch.no_grad()
                def step(self, closure=None):
                    for group in self.param_groups:
                        for p in filter(lambda p: p.grad is not None, group['params']):
                            m = self.state[p].setdefault('exp_avg', torch.zeros_like(p))
                            b1, b2 = group['betas']
                            p.add_((m * b1 + p.grad * (1 - b1)).sign_(), alpha=-group['lr'])
                            m.mul_(b2).add_(p.grad, alpha=1 - b2)
        """),
        additive=False,
        native=False,
    ),
    "sign_sgd": Stepper(
        make=["opt = SignSGD({params}, lr=2e-3)"],
        defs=code("""
            class SignSGD(torch.optim.Optimizer):
                def __init__(self, params, lr):
                    super().__init__(params, dict(lr=lr))

                def step(self, closure=None):
                    for group in self.param_groups:
                        for p in group['params']:
                            if p.grad is not None:
                                p.data -= group['lr'] * torch.sign(p.grad)
        """),
        additive=False,
        native=False,
    ),
    "no_lr_key": Stepper(
        make=["opt = Fixed({params})"],
        defs=code("""
            class Fixed(torch.optim.Optimizer):
                def __init__(self, params):
                    super().__init__(params, {'rate': 0.03})

                @torch.no_grad()
                def step(self, closure=None):
                    for group in self.param_groups:
                        for p in group['params']:
                            if p.grad is not None:
                                p -= group['rate'] * p.grad
        """),
        native=False,
    ),
    "drops_grad": Stepper(
        make=["opt = Dropping({params}, lr=0.05)"],
        defs=code("""
            class Dropping(torch.optim.SGD):
                def step(self, closure=None):
                    super().step(closure)
                    for group in self.param_groups:
                        for p in group['params']:
                            p.grad = None
        """),
        zero=["pass"],
        native=False,
        grads_stay=False,
    ),
    "scales_grad": Stepper(
        make=["opt = Halving({params}, lr=0.05)"],
        defs=code("""
            class Halving(torch.optim.SGD):
                @torch.no_grad()
                def step(self, closure=None):
                    for group in self.param_groups:
                        for p in group['params']:
                            if p.grad is not None:
                                p.grad.mul_(0.5)
                    return super().step(closure)
        """),
        native=False,
        grads_stay=False,
    ),
    "decays_grad": Stepper(
        make=["opt = Scratch({params}, lr=0.05)"],
        defs=code("""
            class Scratch(torch.optim.Optimizer):
                def __init__(self, params, lr):
                    super().__init__(params, dict(lr=lr, wd=0.1))

                @torch.no_grad()
                def step(self, closure=None):
                    for group in self.param_groups:
                        for p in group['params']:
                            if p.grad is not None:
                                p.grad.add_(p, alpha=group['wd'])
                                p.add_(p.grad, alpha=-group['lr'])
        """),
        native=False,
        grads_stay=False,
    ),
    "hand_written": Stepper(
        make=["lr = 0.05", "everything = list({params})"],
        step=code("""
            with torch.no_grad():
                for p in everything:
                    if p.grad is not None:
                        p -= lr * p.grad
        """),
        zero=code("""
            for p in everything:
                p.grad = None
        """),
        things=[],
        native=False,
        scaler=False,
    ),
}
