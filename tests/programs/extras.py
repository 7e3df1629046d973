"""What else goes on in a training script: modes, profilers, hooks, evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field

from programs.nets import Lines, code


@dataclass
class Extra:
    """Statements around the loop; ``{params}`` is the expression for the parameters."""

    top: Lines = field(default_factory=list)
    """Right after the imports."""
    make: Lines = field(default_factory=list)
    """Before the loop."""
    around: str = ""
    """A ``with`` statement around the loop."""
    around_step: str = ""
    """A ``with`` statement around forward and backward."""
    begin: Lines = field(default_factory=list)
    """At the beginning of each step."""
    finish: Lines = field(default_factory=list)
    """At the end of each step."""
    end: Lines = field(default_factory=list)
    """After the loop."""
    compiles: bool = True
    sparse: bool = True
    changes: bool = False
    """Whether gradients differ from those of autograd.grad."""
    truth_differs: bool = False
    """Whether what it counts is other in the run that makes the truth."""
    scripted: bool = True
    closure: bool = True


EXTRAS: dict[str, Extra] = {
    "none": Extra(),
    "anomaly_on": Extra(
        top=["torch.autograd.set_detect_anomaly(True)"],
    ),
    "anomaly_no_nan": Extra(
        top=["torch.autograd.set_detect_anomaly(True, check_nan=False)"],
    ),
    "anomaly_off": Extra(
        top=["torch.autograd.set_detect_anomaly(False)"],
    ),
    "anomaly_around": Extra(
        around_step="with torch.autograd.detect_anomaly():",
    ),
    "flops": Extra(
        top=["from torch.utils.flop_counter import FlopCounterMode"],
        around="with FlopCounterMode(display=False) as flops:",
        end=["print('flops', flops.get_total_flops())"],
        compiles=False,
        truth_differs=True,
        scripted=False,
    ),
    "flops_step": Extra(
        top=["from torch.utils.flop_counter import FlopCounterMode"],
        around_step="with FlopCounterMode(display=False) as flops:",
        finish=["print('flops', step, flops.get_total_flops())"],
        compiles=False,
        truth_differs=True,
        scripted=False,
    ),
    "dispatch_mode": Extra(
        top=code("""
            from torch.utils._python_dispatch import TorchDispatchMode
            class Counting(TorchDispatchMode):
                calls = 0
                def __torch_dispatch__(self, func, types, args=(), kwargs=None):
                    Counting.calls += 1
                    return func(*args, **(kwargs or {{}}))
        """),
        around="with Counting():",
        end=["print(Counting.calls, 'calls')"],
        compiles=False,
        truth_differs=True,
        scripted=False,
    ),
    "profiler": Extra(
        top=["from torch.profiler import ProfilerActivity, profile"],
        around="with profile(activities=[ProfilerActivity.CPU]) as prof:",
        end=code("""
            counted = ('aten::addmm', 'aten::mm', 'aten::tanh_backward')
            print(sorted((e.key, e.count) for e in prof.key_averages() if e.key in counted))
        """),
        truth_differs=True,
    ),
    "record_function": Extra(
        around_step='with torch.profiler.record_function("train_step"):',
    ),
    "parameter_hooks": Extra(
        make=code("""
            seen = []
            for p in {params}:
                p.register_hook(lambda g: seen.append(1))
        """),
        end=["print(len(seen), 'hooks')"],
        truth_differs=True,
    ),
    "accumulate_hooks": Extra(
        make=code("""
            seen = []
            for p in {params}:
                p.register_post_accumulate_grad_hook(lambda p: seen.append(1))
        """),
        end=["print(len(seen), 'hooks')"],
        compiles=False,
        truth_differs=True,
    ),
    "scaling_hooks": Extra(
        make=code("""
            for p in {params}:
                p.register_hook(lambda g: g * 0.5)
        """),
        sparse=False,
    ),
    "forward_hooks": Extra(
        make=code("""
            outs = []
            handle = torch.nn.modules.module.register_module_forward_hook(lambda m, i, o: outs.append(type(o).__name__))
        """),
        end=["handle.remove()", "print(len(outs), 'forwards')"],
        compiles=False,
    ),
    "module_backward_hooks": Extra(
        make=code("""
            outs = []
            for p in [m for m in gather() if isinstance(m, nn.Linear)]:
                p.register_full_backward_hook(lambda m, gi, go: outs.append(1))
        """),
        end=["print(len(outs), 'backward hooks')"],
        compiles=False,
        truth_differs=True,
        scripted=False,
    ),
    "saved_tensor_hooks": Extra(
        around_step="with torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t):",
        compiles=False,
    ),
    "save_on_cpu": Extra(
        around_step="with torch.autograd.graph.save_on_cpu():",
        compiles=False,
    ),
    "evaluation": Extra(
        finish=code("""
            if step % 2:
                with torch.no_grad():
                    score = sum(p.double().square().sum().item() for p in {params})
                print(step, score)
        """),
    ),
    "print_loss_gradients": Extra(
        finish=code("""
            print(step, sum(p.grad.to_dense().double().abs().sum().item() for p in {params} if p.grad is not None))
        """),
    ),
    "logged_gradient": Extra(
        finish=code("""
            norm = sum(p.square().sum() for p in {params})
            print(step, sum(g.double().sum().item() for g in torch.autograd.grad(norm, list({params}))))
        """),
        sparse=False,
    ),
    "validation": Extra(finish=["held_out = sum(p.square().mean() for p in {params})", "print(held_out.item())"]),
    "random_numbers": Extra(
        top=["import random", "import numpy as np"],
        make=["drawn = []"],
        begin=["drawn.append(random.random() + np.random.rand() + torch.rand(()).item())"],
        finish=["print(drawn[-1])"],
    ),
    "deterministic": Extra(
        top=["torch.use_deterministic_algorithms(True)"],
    ),
    "default_device": Extra(
        top=['torch.set_default_device("cpu")'],
    ),
    "set_to_none_false": Extra(
        finish=code("""
            for p in {params}:
                if p.grad is not None and not p.grad.is_sparse:
                    p.grad = p.grad.clone()
        """),
    ),
    "gc_each_step": Extra(
        top=["import gc"],
        finish=["gc.collect()"],
    ),
    "no_grad_default": Extra(
        top=["torch.set_grad_enabled(False)"],
        around_step="with torch.enable_grad():",
    ),
    "warnings_are_errors": Extra(
        top=["import warnings", "warnings.simplefilter('error')"],
        compiles=False,
        scripted=False,
    ),
    "locals_logged": Extra(
        finish=code("""
            log = {{k: float(v.detach()) for k, v in list(locals().items()) if torch.is_tensor(v) and v.dim() == 0}}
            print(sorted(log.items()))
        """),
    ),
    "deepcopied": Extra(
        top=["import copy"],
        finish=["best = [copy.deepcopy(p) for p in {params}]"],
    ),
    "threads": Extra(
        top=["import threading"],
        finish=code("""
            t = threading.Thread(target=lambda: sum(p.detach().double().sum().item() for p in {params}))
            t.start(); t.join()
        """),
    ),
}
