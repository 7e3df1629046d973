"""Models in DistributedDataParallel whose gradients are averaged over fewer processes than train, as by local SGD.

torch's hook for it averages over all for some iterations, and then over a subgroup, or over none; the weights are
averaged at times instead, after the optimizer's step.
"""

from __future__ import annotations

from typing import Any


def is_local(model: Any) -> bool:
    """Whether the next backward() averages over a part of the processes; to be asked before it."""
    return _state(model) is not None


def subgroup(model: Any) -> Any:
    """The processes over which a backward() that was local has averaged; None: the gradients are of this one alone."""
    state = _state(model)
    part = state.subgroup if state is not None and state.post_local_gradient_allreduce else None
    return None if part is None or part.size() == 1 else part


def _state(model: Any) -> Any:
    """What a hook keeps for it, where it has turned to local SGD."""
    states = [state for _, state in model._comm_hooks if hasattr(state, "start_localSGD_iter")]
    return next((state for state in states if state.iter >= state.start_localSGD_iter), None)
