"""Gradients taken with autograd.grad, or copied out of .grad, and put into .grad by the script."""

from __future__ import annotations

from programs.forms import Form, Maker, form
from programs.nets import code

_TAKEN = "torch.autograd.grad(l, params, retain_graph=True, allow_unused=True)"


def _put(m: Maker, text: str, *, vector: bool = False, noted: bool = False) -> Form:
    """The losses, and a block that makes gradients of them; ``noted``: the block says itself what they are."""
    values = {"LOSSES": f"[{', '.join(f'{t}_loss' for t in m.tasks)}]", "TAKEN": _TAKEN, "K": str(len(m.tasks))}
    for name, value in values.items():
        text = text.replace(f"<{name}>", value)
    lines = [f"losses = torch.stack([{m.list()}])"] if vector else m.named("_loss")
    note = m.note("losses[{i}]" if vector else "{t}_loss")
    return Form(
        lines,
        "" if noted else note,
        m.indexed("losses") if vector else m.plain("_loss"),
        backward=code(text),
        once=True,
        setup=[f"params = list({m.net.parameters})"],
    )


@form
def grads_summed(m: Maker) -> Form:
    text = """
        grads = [<TAKEN> for l in <LOSSES>]
        for p, gs in zip(params, zip(*grads)):
            p.grad = sum(g for g in gs if g is not None)
    """
    return _put(m, text)


@form
def grads_each(m: Maker) -> Form:
    taken = "".join(f"\n{t}_grads = {_TAKEN.replace('(l,', f'({t}_loss,')}" for t in m.tasks)
    text = f"""{taken}
for p, *gs in zip(params, {", ".join(f"{t}_grads" for t in m.tasks)}):
    p.grad = torch.stack([g for g in gs if g is not None]).sum(0)
"""
    return _put(m, text)


@form
def grads_of_vector(m: Maker) -> Form:
    text = """
        grads = []
        for l in losses:
            grads.append(<TAKEN>)
        for p, gs in zip(params, zip(*grads)):
            p.grad = sum(g for g in gs if g is not None)
    """
    return _put(m, text, vector=True)


@form
def grads_one_hot(m: Maker) -> Form:
    text = """
        hot = torch.eye(<K>).to(losses)
        rows = [torch.autograd.grad(losses, params, grad_outputs=row, retain_graph=True) for row in hot]
        for p, gs in zip(params, zip(*rows)):
            p.grad = sum(gs)
    """
    return _put(m, text, vector=True)


@form
def grads_batched(m: Maker) -> Form:
    text = """
        hot = torch.eye(<K>).to(losses)
        rows = torch.autograd.grad(losses, params, hot, is_grads_batched=True, allow_unused=True)
        for p, r in zip(params, rows):
            p.grad = r.sum(0)
    """
    return _put(m, text, vector=True)


@form
def grads_flattened(m: Maker) -> Form:
    text = """
        G = []
        for l in <LOSSES>:
            gs = <TAKEN>
            G.append(torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(params, gs)]))
        total = torch.stack(G).sum(0)
        start = 0
        for p in params:
            p.grad = total[start:start + p.numel()].view_as(p).clone()
            start += p.numel()
    """
    return _put(m, text)


@form
def grads_copied_out(m: Maker) -> Form:
    text = """
        stored = []
        for l in <LOSSES>:
            for p in params:
                p.grad = None
            l.backward(retain_graph=True)
            stored.append([None if p.grad is None else p.grad.clone() for p in params])
        for p, gs in zip(params, zip(*stored)):
            p.grad = sum(g for g in gs if g is not None)
    """
    return _put(m, text)


@form
def pcgrad(m: Maker) -> Form:
    note = ", ".join(f"{t}=({t}_loss, C[:, {i}].sum())" for i, t in enumerate(m.tasks))
    text = """
        flat = []
        for l in <LOSSES>:
            gs = <TAKEN>
            flat.append(torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(params, gs)]))
        C = torch.eye(<K>, dtype=flat[0].dtype)
        projected = [g.clone() for g in flat]
        for i in range(<K>):
            for j in range(<K>):
                inner = torch.dot(projected[i], flat[j])
                if i != j and inner < 0:
                    projected[i] -= inner / flat[j].norm() ** 2 * flat[j]
                    C[i, j] -= inner / flat[j].norm() ** 2
        hand.note(<NOTE>)  # by hand
        merged, start = sum(projected), 0
        for p in params:
            p.grad = merged[start:start + p.numel()].view_as(p).clone()
            start += p.numel()
    """
    return _put(m, text.replace("<NOTE>", note), noted=True)


@form
def min_norm(m: Maker) -> Form:
    """The shortest vector between two gradients; for two tasks only."""
    one, two = m.tasks
    text = f"""
        g1, g2 = [
            [torch.zeros_like(p) if g is None else g for p, g in zip(params, <TAKEN>)]
            for l in ({one}_loss, {two}_loss)
        ]
        dot = sum((a * b).sum() for a, b in zip(g1, g2))
        n1, n2 = sum((a * a).sum() for a in g1), sum((b * b).sum() for b in g2)
        alpha = ((n2 - dot) / (n1 + n2 - 2 * dot)).clamp(0, 1)
        hand.note({one}=({one}_loss, alpha), {two}=({two}_loss, 1 - alpha))  # by hand
        for p, a, b in zip(params, g1, g2):
            p.grad = alpha * a + (1 - alpha) * b
    """
    return _put(m, text, noted=True)


@form
def normalised(m: Maker) -> Form:
    note = ", ".join(f"{t}=({t}_loss, 1 / norms[{i}])" for i, t in enumerate(m.tasks))
    text = """
        grads = [<TAKEN> for l in <LOSSES>]
        norms = [torch.stack([g.norm() for g in gs if g is not None]).norm() for gs in grads]
        hand.note(<NOTE>)  # by hand
        for p, gs in zip(params, zip(*grads)):
            p.grad = sum(g / n for g, n in zip(gs, norms) if g is not None)
    """
    return _put(m, text.replace("<NOTE>", note), noted=True)
