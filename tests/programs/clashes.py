"""Values of the axes that do not go together."""

from __future__ import annotations

from collections.abc import Iterator

from programs.forms import Clash
from programs.pieces import Parts

GROUPED = ("chunks_2", "chunks_4", "every_2", "every_3", "unequal")
RETURNED = ("training_step", "step_dict", "generator", "trainer_self")
"""Shapes in which the loss comes out of a function."""
SCHEDULED = ("step_lr", "cosine_lr", "lambda_lr", "one_cycle")
SEVERAL = ("two_optimizers", "optimizer_each", "two_rates", "sparse_adam")
"""Optimizers that are more than one."""


def check(p: Parts) -> None:
    """Raise Clash where the values do not go together."""
    for rules in (_forms, _steppers, _wrappers, _nets, _precisions, _shapes, _extras):
        for place, clash in enumerate(rules(p)):
            if clash:
                raise Clash(f"{rules.__name__.strip('_')}, rule {place}")


def _closure(p: Parts) -> bool:
    return bool(p.stepper.closure or p.wrapper.sam)


def _forms(p: Parts) -> Iterator[bool]:
    form, accumulation = p.form, p.axes["accumulation"]
    grouped = accumulation in GROUPED
    yield form.once and (grouped or _closure(p) or p.wrapper.scaler or accumulation == "never_zeroed")
    yield form.once and (p.net.reentrant or p.axes["wrapper"] == "divided_grads")
    yield form.alternating and (grouped or _closure(p) or p.axes["shape"] == "generator")
    yield form.backward is not None and p.axes["shape"] in RETURNED
    yield p.axes["form"] == "backward_inputs" and (not p.net.trunk or p.net.reentrant)
    # No batching rule, or a graph that is gone after the first row.
    alone = ("scripted", "scripted_norm", "checkpointed", "norm_dropout", "recurrent", "attention")
    yield p.axes["form"] in ("grads_batched", "grads_one_hot") and (p.net.compiled or p.axes["net"] in alone)


def _steppers(p: Parts) -> Iterator[bool]:
    stepper, accumulation, name = p.stepper, p.axes["accumulation"], p.axes["optimizer"]
    grouped = accumulation in GROUPED
    yield bool(stepper.closure) and bool(p.wrapper.sam or p.wrapper.plain_only or p.wrapper.before)
    yield bool(stepper.closure) and (not p.form.smooth or grouped)
    yield bool(stepper.closure) and accumulation in ("never_zeroed", "zero_last", "zeroed_in_place")
    yield stepper.heads_apart and not p.net.trunk
    # Fused SGD raises a TypeError where a parameter's first gradient comes later than the others' (torch 2.13).
    yield name == "sgd_fused" and (p.form.alternating or p.axes["form"] in ("thawed_trunk", "detached_at_first"))
    yield grouped and name in ("two_rates", "drops_grad")
    own_zeroing = accumulation in ("never_zeroed", "zero_last", "zeroed_in_place")
    yield own_zeroing and name in ("two_rates", "drops_grad", "hand_written")
    yield accumulation == "never_zeroed" and not stepper.grads_stay
    calm = ("none", "ema", "weight_clamp", "data_clamp")
    yield name == "two_rates" and (p.axes["shape"] in RETURNED or p.axes["shape"] in ("resumed", "warm_start"))
    yield name == "two_rates" and p.axes["wrapper"] not in calm


def _wrappers(p: Parts) -> Iterator[bool]:
    wrapper, stepper, accumulation = p.wrapper, p.stepper, p.axes["accumulation"]
    name, optimizer = p.axes["wrapper"], p.axes["optimizer"]
    yield wrapper.scaler and (p.form.backward is not None or not stepper.scaler or _closure(p))
    yield wrapper.scaler and p.axes["precision"] in ("float64", "double", "master", "bfloat16")
    yield bool(wrapper.sam) and (not stepper.grads_stay or accumulation != "none" or not p.form.smooth)
    yield wrapper.plain_only and stepper.step != ["opt.step()"]
    yield "opt" in " ".join(wrapper.make) and (not stepper.things or optimizer == "optimizer_each")
    yield name in (*SCHEDULED, "rate_by_hand") and not stepper.native
    yield name in (*SCHEDULED, "rate_by_hand") and optimizer in (
        "adam_tensor_lr",
        "lbfgs",
        "lbfgs_wolfe",
        "optimizer_each",
    )
    yield name == "one_cycle" and optimizer in ("rprop", "groups", "sgd_groups", "added_group")
    yield name in ("post_hook", "hook_on_optimizer") and optimizer in SEVERAL
    yield name == "hook_on_optimizer" and bool(stepper.closure)
    changed = bool(wrapper.before) or name in ("centralising_optimizer", "hook_on_optimizer")
    yield accumulation == "never_zeroed" and (changed or p.form.once or wrapper.scaler)


def _nets(p: Parts) -> Iterator[bool]:
    net, extra = p.net, p.extra
    if net.sparse:
        yield p.stepper.sparse == "no" or p.wrapper.dense or p.form.once or not extra.sparse
        yield bool(p.form.residual) or p.axes["precision"] != "float32"
        yield p.axes["wrapper"] in ("clip_norm", "clip_norm_foreach", "scaler", "scaler_clip", "divided_grads")
        yield p.axes["accumulation"] == "zeroed_in_place" or p.axes["shape"] == "resumed"
        yield p.axes["extra"] in ("parameter_hooks", "deterministic")
    yield p.stepper.sparse == "only" and not net.sparse
    yield net.reentrant and p.axes["shape"] == "generator"
    yield net.compiled and not extra.compiles
    yield net.reentrant and bool(extra.around_step) and not extra.compiles
    yield p.axes["net"].startswith("scripted") and not extra.scripted


def _precisions(p: Parts) -> Iterator[bool]:
    net, stepper, precision = p.net, p.stepper, p.axes["precision"]
    yield precision in ("bfloat16", "master") and (not net.halves or not stepper.half or _closure(p))
    deaf = ("leaves", "recurrent", "compiled", "compiled_aot", "scripted", "scripted_norm", "attention")
    yield precision == "autocast" and (p.axes["net"] in deaf or net.reentrant)
    if precision == "master":
        yield bool(p.form.extra) or p.form.once or p.axes["wrapper"] != "none" or p.axes["accumulation"] != "none"
        yield stepper.heads_apart or not stepper.things or stepper.zero != ["opt.zero_grad()"]
        yield p.axes["optimizer"] in ("sgd_groups", "optimizer_each", "added_group", "drops_grad")
        yield p.axes["extra"] in ("print_loss_gradients", "set_to_none_false") or p.axes["shape"] == "resumed"


def _shapes(p: Parts) -> Iterator[bool]:
    shape, accumulation = p.axes["shape"], p.axes["accumulation"]
    yield shape in RETURNED and _closure(p)
    yield shape == "generator" and accumulation not in ("none", "never_zeroed", "zero_last")
    yield shape == "generator" and (p.axes["precision"] == "autocast" or bool(p.extra.around_step))
    yield shape == "trainer_self" and "losses" not in " ".join(p.form.compute)
    yield shape == "resumed" and p.axes["optimizer"] not in ("sgd_momentum", "adam", "adamw", "adam_foreach")
    yield shape == "warm_start" and p.axes["net"] == "leaves"
    yield shape == "epochs" and accumulation == "unequal"


def _extras(p: Parts) -> Iterator[bool]:
    extra, net = p.axes["extra"], p.axes["net"]
    checkpointed = net in ("checkpointed", "checkpointed_reentrant")
    yield extra in ("scaling_hooks", "module_backward_hooks") and (p.form.once or p.net.reentrant)
    yield extra == "parameter_hooks" and _closure(p)
    yield extra == "accumulate_hooks" and p.net.reentrant
    yield extra == "module_backward_hooks" and "net" not in p.net.things
    yield extra == "module_backward_hooks" and p.axes["form"] in ("added_in_place", "backward_inputs")
    yield extra in ("flops_step", "anomaly_around") and bool(p.stepper.closure)
    yield extra == "print_loss_gradients" and (p.axes["optimizer"] == "drops_grad" or bool(p.wrapper.sam))
    yield extra == "set_to_none_false" and p.axes["accumulation"] == "zero_last"
    warning = p.axes["wrapper"] in SCHEDULED or p.net.reentrant or p.wrapper.scaler
    yield extra == "warnings_are_errors" and (warning or p.axes["precision"] == "autocast")
    yield extra in ("save_on_cpu", "saved_tensor_hooks") and checkpointed
    yield extra in ("anomaly_on", "anomaly_around", "anomaly_no_nan") and (p.net.reentrant or p.net.compiled)
    yield extra == "no_grad_default" and (p.axes["shape"] == "resumed" or _closure(p) or checkpointed)
