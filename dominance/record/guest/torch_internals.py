"""What the recorder uses of torch that torch promises to nobody: gathered here, and looked for before a recording."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from dominance.errors import RecordingFailed

_F = TypeVar("_F", bound=Callable[..., Any])
_ABSENT: list[str] = []


def _find(path: str) -> Any:
    """An object of torch by its full name; where this torch has none, a function that says so."""
    owner, _, name = path.rpartition(".")
    try:
        parts: Any = importlib.import_module(owner)
    except ImportError:
        parts = torch
        for part in owner.split(".")[1:]:
            parts = getattr(parts, part, None)
    if hasattr(parts, name):
        return getattr(parts, name)
    _ABSENT.append(path)

    def absent(*_args: Any, **_kwargs: Any) -> Any:
        raise _failure([path])

    return absent


# Modes of the script, and its anomaly mode and profiler.
function_modes = _find("torch._C._len_torch_function_stack")
dispatch_modes = _find("torch._C._len_torch_dispatch_stack")
pop_function_mode = _find("torch.overrides._pop_mode")
push_function_mode = _find("torch.overrides._push_mode")
without_dispatch_modes = _find("torch.utils._python_dispatch._disable_current_modes")
profiler_enabled = _find("torch._C._autograd._profiler_enabled")
record_functions = _find("torch.autograd._enable_record_function")
anomaly_enabled = _find("torch._C.is_anomaly_enabled")
anomaly_checks_nan = _find("torch._C.is_anomaly_check_nan_enabled")
set_anomaly = _find("torch._C.set_anomaly_enabled")
graph_task = _find("torch._C._current_graph_task_id")

# Gradients under vmap.
functorch_level = _find("torch._C._functorch.maybe_current_level")
functorch_wrapped = _find("torch._C._functorch.is_functorch_wrapped_tensor")
functorch_batched = _find("torch._C._functorch.is_batchedtensor")
legacy_batched = _find("torch._C._functorch.is_legacy_batchedtensor")
unwrapped = _find("torch._C._functorch.get_unwrapped")
batch_dimension = _find("torch._C._functorch.maybe_get_bdim")
remove_batch_dimension = _find("torch._remove_batch_dim")
outside_transforms = _find("torch._functorch.pyfunctorch.temporarily_clear_interpreter_stack")
dispatch_keys = _find("torch._C._dispatch_keys")

# Many tensors as one.
flatten = _find("torch._utils._flatten_dense_tensors")
unflatten = _find("torch._utils._unflatten_dense_tensors")

# Compilers.
TracingContext = _find("torch._guards.TracingContext")
set_stance = _find("torch.compiler.set_stance")
set_strategy = _find("torch._C._dynamo.eval_frame.set_code_exec_strategy")
FrameAction = _find("torch._C._dynamo.eval_frame._FrameAction")
FrameStrategy = _find("torch._C._dynamo.eval_frame._FrameExecStrategy")


def compiles() -> bool:
    """Whether anything of the script's is compiled by ``torch.compile``, or has been."""
    frames: Any = sys.modules.get("torch._dynamo.eval_frame")
    # What says "not this" to a compiler, as torch's optimizers do, is there without a backend.
    return any(backend is not None for backend in getattr(frames, "cached_backends", {}).values())


def not_compiled(function: _F) -> _F:
    """The function, which a compiler leaves alone, with all that it calls."""
    set_strategy(function.__code__, FrameStrategy(FrameAction.SKIP, FrameAction.SKIP))
    return function


def absent() -> list[str]:
    """The full names of what the recorder needs and this torch has not."""
    root = torch.ones(1, requires_grad=True)
    node: Any = (root**2).grad_fn
    saved = getattr(node, "_raw_saved_self", None)
    nodes = {
        "torch.autograd._engine_run_backward": hasattr(torch.autograd, "_engine_run_backward"),
        "torch._C._functions.AccumulateGrad": hasattr(torch._C._functions, "AccumulateGrad"),
        "Node.metadata": isinstance(getattr(node, "metadata", None), dict),
        "Node._input_metadata": hasattr(node, "_input_metadata"),
        "Node._raw_saved_self": saved is not None,
        "Node._saved_exponent": hasattr(node, "_saved_exponent"),
        "SavedTensor.unpack_hook": hasattr(saved, "unpack_hook"),
        "Tensor._post_accumulate_grad_hooks": hasattr(root, "_post_accumulate_grad_hooks"),
        "Tensor._backward_hooks": hasattr(root, "_backward_hooks"),
    }
    return [*_ABSENT, *(name for name, there in nodes.items() if not there)]


def require() -> None:
    """Make sure, before anything of torch is replaced, that all of it is there.

    Raises:
        RecordingFailed: this torch lacks something; which, and what helps.
    """
    if lacking := absent():
        raise _failure(lacking)


def _failure(lacking: list[str]) -> RecordingFailed:
    return RecordingFailed(
        f"torch {torch.__version__} has no {', '.join(lacking)}, which the recorder needs",
        fix="install a torch that it was tested with: 2.13 to 2.15",
    )
