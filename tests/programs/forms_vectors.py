"""Losses stacked into one tensor."""

from __future__ import annotations

from programs.forms import FORMS, Form, Maker, form


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
    return Form(
        [*lines, "loss = (losses * w).sum()"],
        m.note("losses[{i}]", True),
        m.indexed("losses", also=True),
        setup=[f"w = torch.tensor([{m.ws()}])"],
    )


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
