"""Passes of our own through the graph of a model that FSDP2 has sharded.

Its hooks gather the parameters of a module when a pass comes to it, and then give their memory back and reduce the
gradients that they find: also in a pass that is not the script's. So all parameters are gathered before, its hooks are
kept quiet, and the memory is given back after.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from dominance.record.sharded_models import Piece, groups_of, refusal


def groups_below(leaves: Iterable[Tensor], modules: Iterable[nn.Module]) -> list[Any]:
    """Those of the models, where any of these leaf tensors is of a sharded parameter; none where none is.

    Args:
        leaves: what a pass reaches, as pieces.
        modules: the models.
    """
    if not any(isinstance(leaf, Piece) for leaf in leaves):
        return []
    return groups_of(inner for module in modules for inner in module.modules())


def cannot_gather(groups: Sequence[Any]) -> str | None:
    """Why a pass of our own through the graph of these cannot be made now, in words; None: it can."""
    for group in groups:
        if (reason := refusal(group.fsdp_params)) is not None:
            return reason
        if group.is_sharded_post_forward:
            return "FSDP2 reshards to a smaller mesh after the forward (reshard_after_forward=N): left alone"
        if group.gradient_divide_factor is not None or group._all_reduce_hook is not None:
            return "FSDP2 does not take the mean of the gradients (set_gradient_divide_factor, or a hook): left alone"
    return None


def to_be_gathered(groups: Sequence[Any]) -> str:
    """Which of them a pass has to gather: all processes have to agree in it."""
    return "".join(str(int(group.is_unsharded)) for group in groups)


@contextmanager
def gathered(groups: Sequence[Any]) -> Iterator[None]:
    """Inside, the whole parameters are there, and passes do not set off what FSDP2 does in them.

    Collective: all processes have to come here with the same of their parameters in pieces.
    """
    with ExitStack() as stack:
        for group in [group for group in groups if not group.is_unsharded]:
            group.unshard()
            group.wait_for_unshard()
            stack.callback(group._to_sharded)
        for group in groups:
            group.post_backward = _nothing
            stack.callback(group.__dict__.pop, "post_backward", None)
        for state in {id(state): state for group in groups for state in map(_state, group.modules)}.values():
            # A checkpoint that computes a module again finds it as in the backward pass of the script.
            stack.callback(setattr, state, "_training_state", state._training_state)
            state._training_state = type(state._training_state).PRE_BACKWARD
        yield


def _state(module: Any) -> Any:
    return module._get_fsdp_state()


def _nothing(*_: object) -> None:
    """Reduce no gradients: the pass leaves none."""
