"""What stands around the optimizer and between backward() and step()."""

from __future__ import annotations

from dataclasses import dataclass, field

from programs.nets import Lines, code


@dataclass
class Wrapper:
    """Statements around the step; ``{params}`` is the expression for the parameters."""

    defs: Lines = field(default_factory=list)
    make: Lines = field(default_factory=list)
    """After the optimizer is there."""
    before: Lines = field(default_factory=list)
    """Between backward() and the step."""
    step: Lines | None = None
    """Instead of ``opt.step()``."""
    after: Lines = field(default_factory=list)
    """After the step."""
    backward: str = ""
    """Instead of ``{loss}.backward()``."""
    sam: str = ""
    """"closure" or "twice": the gradient is taken again at other weights."""
    things: Lines = field(default_factory=list)
    scaler: bool = False
    plain_only: bool = False
    """Works with optimizers whose step is ``opt.step()``."""
    additive: bool = True
    end: Lines = field(default_factory=list)
    """After the loop."""
    dense: bool = False
    free: bool = False
    """Whether the part of the gradient that belongs to no task is free: noise."""


WRAPPERS: dict[str, Wrapper] = {
    "none": Wrapper(),
    "clip_norm": Wrapper(
        before=code("""
            norm = torch.nn.utils.clip_grad_norm_({params}, 0.5)
            hand.scale(min(1.0, 0.5 / (float(norm) + 1e-6)))  # by hand
        """),
    ),
    "clip_norm_foreach": Wrapper(
        before=code("""
            norm = nn.utils.clip_grad_norm_(list({params}), max_norm=0.1, foreach=True)
            hand.scale(min(1.0, 0.1 / (float(norm) + 1e-6)))  # by hand
        """),
    ),
    "clip_value": Wrapper(
        before=code("""
            raw = {{n: p.grad.double().clone() for n, p in hand.parameters().items() if p.grad is not None}}  # by hand
            torch.nn.utils.clip_grad_value_({params}, 0.05)
            hand.variant(lambda n, g: g * hand.ratio(n, raw))  # by hand
        """),
        dense=True,
        free=True,
    ),
    "scaled_grads": Wrapper(
        before=code("""
            for p in {params}:
                if p.grad is not None:
                    p.grad.mul_(0.25)
            hand.scale(0.25)  # by hand
        """),
    ),
    "divided_grads": Wrapper(
        before=code("""
            for p in {params}:
                if p.grad is not None:
                    p.grad = p.grad / 4
            hand.scale(0.25)  # by hand
        """),
    ),
    "normed_grads": Wrapper(
        before=code("""
            norm = torch.stack([p.grad.norm() for p in {params} if p.grad is not None]).norm().item()
            for p in {params}:
                if p.grad is not None:
                    p.grad.div_(norm + 1e-8)
            hand.scale(1 / (norm + 1e-8))  # by hand
        """),
        dense=True,
    ),
    "layer_rates": Wrapper(
        before=code("""
            for i, p in enumerate({params}):
                if p.grad is not None:
                    p.grad *= 1 / (i + 1)
            for i, (n, p) in enumerate(hand.parameters().items()): hand.scale(1 / (i + 1), n)  # by hand
        """),
        dense=True,
        free=True,
    ),
    "centralised": Wrapper(
        before=code("""
            for p in {params}:
                if p.grad is not None:
                    if p.grad.dim() > 1:
                        p.grad -= p.grad.mean(dim=tuple(range(1, p.grad.dim())), keepdim=True)
            hand.variant(hand.centred)  # by hand
        """),
        dense=True,
        free=True,
    ),
    "noisy_grads": Wrapper(
        before=code("""
            for p in {params}:
                if p.grad is not None:
                    p.grad.add_(torch.randn_like(p.grad), alpha=0.02)
        """),
        dense=True,
        free=True,
    ),
    "step_lr": Wrapper(
        make=["scheduler = torch.optim.lr_scheduler.StepLR(opt, 2, gamma=0.5)"],
        after=["scheduler.step()"],
    ),
    "cosine_lr": Wrapper(
        make=["scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=6)"],
        after=["scheduler.step()"],
    ),
    "lambda_lr": Wrapper(
        make=code("""
            warmup = torch.optim.lr_scheduler.LambdaLR(opt, lambda s: min(1.0, (s + 1) / 3))
        """),
        after=["warmup.step()"],
    ),
    "one_cycle": Wrapper(
        make=code("""
            scheduler = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=0.02, total_steps=20, cycle_momentum=False)
        """),
        after=["scheduler.step()"],
    ),
    "rate_by_hand": Wrapper(
        before=code("""
            for group in opt.param_groups:
                group['lr'] = 0.02 / (1 + step)
        """),
    ),
    "hook_on_optimizer": Wrapper(
        make=code("""
            def halve(optimizer, args, kwargs):
                for group in optimizer.param_groups:
                    for p in group['params']:
                        if p.grad is not None:
                            p.grad.mul_(0.5)
            opt.register_step_pre_hook(halve)
        """),
        before=["hand.scale(0.5)  # by hand"],
        dense=True,
    ),
    "post_hook": Wrapper(
        make=code("""
            steps_done = []
            opt.register_step_post_hook(lambda o, a, k: steps_done.append(1))
        """),
        end=["print(len(steps_done), 'steps')"],
    ),
    "lookahead": Wrapper(
        defs=code("""
            class Lookahead(torch.optim.Optimizer):
                def __init__(self, base, k=2, alpha=0.5):
                    self.base, self.k, self.alpha, self.count = base, k, alpha, 0
                    self.param_groups, self.defaults, self.state = base.param_groups, base.defaults, base.state
                    self.slow = [[p.detach().clone() for p in g['params']] for g in self.param_groups]

                def zero_grad(self):
                    self.base.zero_grad()

                @torch.no_grad()
                def step(self, closure=None):
                    loss = self.base.step(closure)
                    self.count += 1
                    if self.count % self.k == 0:
                        for group, slow in zip(self.param_groups, self.slow):
                            for p, s in zip(group['params'], slow):
                                s.add_(p - s, alpha=self.alpha)
                                p.copy_(s)
                    return loss
        """),
        make=["inner = opt", "opt = Lookahead(inner)"],
        things=["inner"],
        plain_only=True,
    ),
    "lookahead_proper": Wrapper(
        defs=code("""
            class Lookahead(torch.optim.Optimizer):
                def __init__(self, optimizer, k=3, alpha=0.6):
                    super().__init__([p for g in optimizer.param_groups for p in g['params']], {{}})
                    self.optimizer, self.k, self.alpha, self.n = optimizer, k, alpha, 0
                    self.param_groups = optimizer.param_groups
                    self.slow = {{p: p.detach().clone() for g in self.param_groups for p in g['params']}}

                def step(self, closure=None):
                    loss = self.optimizer.step(closure)
                    self.n += 1
                    if self.n % self.k == 0:
                        with torch.no_grad():
                            for p, s in self.slow.items():
                                s.add_(p - s, alpha=self.alpha)
                                p.copy_(s)
                    return loss
        """),
        make=["base_opt = opt", "opt = Lookahead(base_opt)"],
        things=["base_opt"],
        plain_only=True,
    ),
    "launched": Wrapper(
        defs=code("""
            class Prepared(torch.optim.Optimizer):
                def __init__(self, optimizer):
                    self.optimizer = optimizer

                @property
                def param_groups(self):
                    return self.optimizer.param_groups

                @property
                def state(self):
                    return self.optimizer.state

                def state_dict(self):
                    return self.optimizer.state_dict()

                def zero_grad(self, set_to_none=True):
                    self.optimizer.zero_grad(set_to_none)

                def step(self, closure=None):
                    return self.optimizer.step(closure)
        """),
        make=["inner = opt", "opt = Prepared(inner)"],
        things=["inner"],
        plain_only=True,
    ),
    "shared_dict": Wrapper(
        defs=code("""
            def dynamic(optimizer):
                class _Wrapped(optimizer.__class__):
                    def step(self, closure=None):
                        return optimizer.step(closure)
                wrapped = _Wrapped.__new__(_Wrapped)
                wrapped.__dict__ = optimizer.__dict__
                return wrapped
        """),
        make=["inner = opt", "opt = dynamic(inner)"],
        things=["inner"],
        plain_only=True,
    ),
    "plain_object": Wrapper(
        defs=code("""
            class Handle:
                def __init__(self, optimizer):
                    self.optimizer = optimizer
                    self.steps = 0

                def __getattr__(self, name):
                    return getattr(self.optimizer, name)

                def step(self):
                    self.steps += 1
                    self.optimizer.step()
        """),
        make=["inner = opt", "opt = Handle(inner)"],
        things=["inner"],
        plain_only=True,
    ),
    "centralising_optimizer": Wrapper(
        defs=code("""
            class Centralise(torch.optim.Optimizer):
                def __init__(self, inner):
                    self.inner = inner
                    self.param_groups, self.defaults, self.state = inner.param_groups, inner.defaults, inner.state

                def zero_grad(self, set_to_none=True):
                    self.inner.zero_grad(set_to_none)

                @torch.no_grad()
                def step(self, closure=None):
                    for g in self.param_groups:
                        for p in g['params']:
                            if p.grad is not None and p.grad.dim() > 1:
                                p.grad.sub_(p.grad.mean(dim=tuple(range(1, p.grad.dim())), keepdim=True))
                    self.inner.step()
        """),
        make=["inner = opt", "opt = Centralise(inner)"],
        before=code("""
            hand.variant(hand.centred)  # by hand
        """),
        things=["inner"],
        plain_only=True,
        dense=True,
        free=True,
    ),
    "sam_closure": Wrapper(
        defs=code("""
            class SAM(torch.optim.Optimizer):
                def __init__(self, params, base_optimizer, rho=0.05):
                    super().__init__(params, dict(rho=rho))
                    self.base_optimizer = base_optimizer
                    self.param_groups = base_optimizer.param_groups

                @torch.no_grad()
                def first_step(self):
                    params = [p for g in self.param_groups for p in g['params'] if p.grad is not None]
                    norm = torch.stack([p.grad.norm() for p in params]).norm()
                    for group in self.param_groups:
                        for p in group['params']:
                            if p.grad is None: continue
                            self.state[p]['old_p'] = p.data.clone()
                            p.add_(p.grad * (0.05 / (norm + 1e-12)))
                    self.zero_grad()

                @torch.no_grad()
                def second_step(self):
                    for group in self.param_groups:
                        for p in group['params']:
                            if 'old_p' in self.state[p]: p.data = self.state[p]['old_p']
                    self.base_optimizer.step()
                    self.zero_grad()

                @torch.no_grad()
                def step(self, closure=None):
                    closure = torch.enable_grad()(closure)
                    self.first_step()
                    closure()
                    self.second_step()
        """),
        make=["base = opt", "opt = SAM(list({params}), base)"],
        sam="closure",
        things=["base"],
        plain_only=True,
        dense=True,
    ),
    "sam_twice": Wrapper(
        defs=code("""
            class SAM(torch.optim.Optimizer):
                def __init__(self, params, base_optimizer, rho=0.05):
                    super().__init__(params, dict(rho=rho))
                    self.base_optimizer = base_optimizer
                    self.param_groups = base_optimizer.param_groups

                @torch.no_grad()
                def first_step(self, zero_grad=False):
                    params = [p for g in self.param_groups for p in g['params'] if p.grad is not None]
                    norm = torch.stack([p.grad.norm() for p in params]).norm()
                    for group in self.param_groups:
                        for p in group['params']:
                            if p.grad is None: continue
                            self.state[p]['e_w'] = e_w = p.grad * (0.05 / (norm + 1e-12))
                            p.add_(e_w)
                    if zero_grad: self.zero_grad()

                @torch.no_grad()
                def second_step(self, zero_grad=False):
                    for group in self.param_groups:
                        for p in group['params']:
                            if 'e_w' in self.state[p]: p.sub_(self.state[p].pop('e_w'))
                    self.base_optimizer.step()
                    if zero_grad: self.zero_grad()
        """),
        make=["base = opt", "opt = SAM(list({params}), base)"],
        sam="twice",
        things=["base"],
        plain_only=True,
        dense=True,
    ),
    "ema": Wrapper(
        make=["shadow = [p.detach().clone() for p in {params}]"],
        after=code("""
            with torch.no_grad():
                for s, p in zip(shadow, {params}):
                    s.mul_(0.9).add_(p, alpha=0.1)
        """),
        end=["print(sum(s.double().sum().item() for s in shadow))"],
    ),
    "ema_swap": Wrapper(
        make=["shadow = [p.detach().clone() for p in {params}]"],
        after=code("""
            for s, p in zip(shadow, {params}):
                s.mul_(0.9).add_(p.data, alpha=0.1)
            backup = [p.data.clone() for p in {params}]
            for s, p in zip(shadow, {params}):
                p.data.copy_(s)
            with torch.no_grad():
                evaluated = sum(p.double().sum().item() for p in {params})
            for b, p in zip(backup, {params}):
                p.data.copy_(b)
        """),
    ),
    "swa_swap": Wrapper(
        make=["average = [p.detach().clone() for p in {params}]"],
        after=code("""
            with torch.no_grad():
                for a, p in zip(average, {params}):
                    a.lerp_(p, 1 / (step + 2))
                    if step % 3 == 2:
                        p.copy_(a)
        """),
    ),
    "averaged_model": Wrapper(
        make=["means = [torch.zeros_like(p) for p in {params}]"],
        after=["torch._foreach_lerp_(means, [p.detach() for p in {params}], 0.25)"],
        dense=True,
    ),
    "weight_clamp": Wrapper(
        after=code("""
            with torch.no_grad():
                for p in {params}:
                    p.clamp_(-0.3, 0.3)
        """),
    ),
    "data_clamp": Wrapper(
        after=code("""
            for p in {params}:
                p.data.clamp_(-0.3, 0.3)
        """),
    ),
    "max_norm": Wrapper(
        after=code("""
            with torch.no_grad():
                for p in {params}:
                    if p.dim() > 1:
                        p.mul_(p.norm(dim=1, keepdim=True).clamp(max=0.9) / (p.norm(dim=1, keepdim=True) + 1e-7))
        """),
    ),
    "decay_by_hand": Wrapper(
        after=code("""
            for p in {params}:
                p.data.mul_(1 - 0.01)
        """),
    ),
    "decay_before": Wrapper(
        before=code("""
            with torch.no_grad():
                for p in {params}:
                    p.mul_(0.99)
        """),
    ),
    "scaler": Wrapper(
        make=["scaler = torch.amp.GradScaler('cpu', init_scale=1024.0)"],
        step=["scaler.step(opt)", "scaler.update()"],
        backward="scaler.scale({loss}).backward()",
        scaler=True,
        plain_only=True,
    ),
    "scaler_clip": Wrapper(
        make=code("""
            scaler = torch.amp.GradScaler('cpu', init_scale=256.0, growth_interval=2)
        """),
        before=code("""
            scaler.unscale_(opt)
            norm = torch.nn.utils.clip_grad_norm_({params}, 0.7)
            hand.scale(min(1.0, 0.7 / (float(norm) + 1e-6)))  # by hand
        """),
        step=["scaler.step(opt)", "scaler.update()"],
        backward="scaler.scale({loss}).backward()",
        scaler=True,
        plain_only=True,
    ),
}
