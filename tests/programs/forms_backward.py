"""More than one backward(), or one that is not on a sum."""

from __future__ import annotations

from programs.forms import Clash, Form, Maker, form
from programs.nets import Lines, code


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
    return Form(
        lines,
        m.note("losses[{i}]", True),
        m.indexed("losses"),
        backward=["losses.backward(w.to(losses.dtype){s})"],
        setup=[f"w = torch.tensor([{m.ws()}])"],
    )


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
    back = [
        "(loss{s}).backward(inputs=list(" + m.net.trunk + "), retain_graph=True)",
        f"heads = [p for p in {m.net.parameters} if all(p is not q for q in {m.net.trunk})]",
        "(loss{s}).backward(inputs=heads)",
    ]
    return Form(lines, m.note("{t}_loss"), m.plain("_loss"), backward=back)


@form
def gradnorm(m: Maker) -> Form:
    """The weights of the losses are trained by a loss of their own, made of gradient norms."""
    k, place = len(m.tasks), f"[next(iter({m.net.trunk}))]"
    back = code(f"""
        w_opt.zero_grad()
        (w * losses).sum().backward(retain_graph=True)
        w.grad.zero_()
        norms = []
        for i in range({k}):
            g = torch.autograd.grad(w[i] * losses[i], {place}, retain_graph=True, create_graph=True)[0]
            norms.append(g.norm())
        norms = torch.stack(norms)
        if not start:
            start.append(losses.detach())
        ratio = losses.detach() / start[0]
        goal = (norms.mean() * ratio / ratio.mean()).detach()
        balance = (norms - goal).abs().sum()
        w.grad = torch.autograd.grad(balance, w)[0]
        w_opt.step()
        with torch.no_grad():
            w.mul_({k} / w.sum())
    """)
    setup = [f"w = nn.Parameter(torch.ones({k}))", "w_opt = torch.optim.SGD([w], lr=0.01)", "start = []"]
    note = ", ".join(f"{t}=(losses[{i}], w[{i}])" for i, t in enumerate(m.tasks))
    if not m.net.trunk or m.net.sparse or m.net.compiled or m.net.reentrant:
        raise Clash("no gradient of a gradient")
    lines = [f"losses = torch.stack([{m.list()}])"]
    return Form(lines, note, m.indexed("losses"), backward=back, setup=setup, once=True, smooth=False)


@form
def discarded_backward(m: Maker) -> Form:
    """A first backward() whose gradients are thrown away."""
    lines = [*m.named("_loss"), f"loss = {' + '.join(t + '_loss' for t in m.tasks)}"]
    back = code(f"""
        (3 * {m.tasks[0]}_loss).backward(retain_graph=True)
        for p in {m.net.parameters}:
            p.grad = None
        loss.backward()
    """)
    return Form(lines, m.note("{t}_loss"), m.plain("_loss"), backward=back, once=True)
