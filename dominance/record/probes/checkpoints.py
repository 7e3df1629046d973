"""A saved state_dict, matched with the model that it belongs to."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dominance.errors import BadOption

StateDict = Mapping[str, Any]

_WRAPPED = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""What wrappers put into the names of the parameters below them."""
_INSIDE = ("model", "state_dict", "model_state_dict")
"""Where a checkpoint of more than a model keeps the model."""


@dataclass(frozen=True)
class Fitted:
    """Values for every entry of a model's state_dict."""

    pairs: list[tuple[Tensor, Tensor]]

    def load(self) -> None:
        """Write them into the model, in place."""
        for place, value in self.pairs:
            place.data.copy_(value)


def fitted(model: nn.Module, state: StateDict | str | os.PathLike[str]) -> Fitted:
    """Match a state_dict with the model's own, by name, the prefixes of wrappers left out on both sides.

    Raises:
        BadOption: it cannot be read, an entry is missing or is not the model's, or has another shape.
    """
    where = "state_dict" if isinstance(state, Mapping) else os.fspath(state)
    values = {_bare(name): value for name, value in _tensors(state, where).items()}
    own = {_bare(name): place for name, place in model.state_dict(keep_vars=True).items() if isinstance(place, Tensor)}
    fix = "give the state_dict of the model that is probed"
    for name, place in own.items():
        if name not in values:
            raise BadOption(f"{where} has no {name}", fix=fix)
        if values[name].shape != place.shape:
            shapes = f"{tuple(values[name].shape)}, the model's {tuple(place.shape)}"
            raise BadOption(f"{where}: {name} has the shape {shapes}", fix=fix)
    for name in values:
        if name not in own:
            raise BadOption(f"{where}: the model has no {name}", fix=fix)
    return Fitted([(place, values[name]) for name, place in own.items()])


def _tensors(state: StateDict | str | os.PathLike[str], where: str) -> dict[str, Tensor]:
    if isinstance(state, Mapping):
        loaded: Any = state
    else:
        try:
            loaded = torch.load(state, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            fix = "name a file of torch.save(model.state_dict(), ...)"
            raise BadOption(f"{where}: cannot be loaded ({why})", fix=fix) from None
    for inside in _INSIDE:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(inside), Mapping):
            loaded = loaded[inside]
    found = {str(k): v for k, v in loaded.items() if isinstance(v, Tensor)} if isinstance(loaded, Mapping) else {}
    if not found:
        raise BadOption(f"{where}: holds no state_dict", fix="give model.state_dict(), or a file of it")
    return found


def _bare(name: str) -> str:
    """The name without what wrappers put into it.

    >>> _bare("module._orig_mod.trunk.0.weight")
    'trunk.0.weight'
    """
    return ".".join(part for part in name.split(".") if part not in _WRAPPED)
