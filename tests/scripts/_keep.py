"""Keeps what a training script leaves behind: written at exit, to the file that STATE_OUT names.

The scripts in this folder import this module, which seeds all generators, and know nothing of dominance.
"""

from __future__ import annotations

import atexit
import os
import random
import sys
from typing import Any

import numpy as np
import torch
from torch import nn

random.seed(0)
np.random.seed(0)
torch.manual_seed(0)
_things: dict[str, Any] = {}
_owner = os.getpid()


def keep(**things: Any) -> None:
    """Remember models, optimizers, tensors, plain values: as they are at exit, they are the state of the script."""
    if not _things:
        atexit.register(write)
    _things.update(things)


def write() -> None:
    if os.getpid() == _owner and "STATE_OUT" in os.environ:
        torch.save({name: describe(thing) for name, thing in _things.items()} | surroundings(), os.environ["STATE_OUT"])


def describe(thing: Any) -> Any:
    if isinstance(thing, nn.Module):
        return {
            "parameters": {name: describe(parameter) for name, parameter in thing.named_parameters()},
            "buffers": {name: buffer.detach() for name, buffer in thing.named_buffers()},
            "modules": {name: describe_module(module) for name, module in thing.named_modules()},
        }
    if isinstance(thing, torch.optim.Optimizer):
        hooks = [len(thing._optimizer_step_pre_hooks), len(thing._optimizer_step_post_hooks)]
        return {"state": thing.state_dict(), "attributes": sorted(vars(thing)), "hooks": hooks}
    if isinstance(thing, torch.Tensor):
        return {
            "data": thing.detach(),
            "grad": thing.grad if thing.is_leaf else None,
            "requires_grad": thing.requires_grad,
            "attributes": sorted(vars(thing)),
            "hooks": len(thing._backward_hooks or ()),
        }
    if isinstance(thing, torch.Generator):
        return thing.get_state()
    if isinstance(thing, dict):
        return {key: describe(value) for key, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [describe(value) for value in thing]
    return thing


def describe_module(module: nn.Module) -> dict[str, Any]:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return {
        "class": type(module).__name__,
        "training": module.training,
        "attributes": sorted(vars(module)),
        "hooks": [len(getattr(module, kind)) for kind in kinds],
    }


def surroundings() -> dict[str, Any]:
    return {
        "torch random": torch.get_rng_state(),
        "numpy random": np.random.get_state(),
        "python random": random.getstate(),
        "grad enabled": torch.is_grad_enabled(),
        "anomaly mode": torch.is_anomaly_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "default dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "numpy errors": np.geterr(),
        "arguments": sys.argv[1:],
        "folder": os.getcwd(),
        "environment": {key: value for key, value in sorted(os.environ.items()) if key != "STATE_OUT"},
    }
