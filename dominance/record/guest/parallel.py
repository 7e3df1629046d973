"""The DistributedDataParallel models of a process: which backward() averages whose gradients, and over whom.

DDP averages in the first backward() after a forward under gradients and outside ``no_sync``; passes of our own do not
run through its hooks, which sit on the accumulation into ``.grad``.
"""

from __future__ import annotations

import functools
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from dominance.record.group import Group
from dominance.record.guest.local_sgd import is_local, subgroup
from dominance.record.launch import rank

_HERE = 1.0
"""Seconds that the others of a group which has met in a collective on the CPU may take to be seen to record."""

_SOON = 60.0
"""The same where a collective may return before the others have come to it, as on GPUs."""

_LOOK = 0.01

_PATIENCE = timedelta(seconds=60)

Patch = Callable[[Any, str, Callable[[Any], Any]], None]
Tell = Callable[..., Any]


@dataclass
class _Known:
    """What is known of a process group of the script."""

    announced: bool = False
    asked: bool = False
    group: Group | None = None


@dataclass
class Ranks:
    """What this process knows of those that it trains together with.

    Args:
        patch: replaces an attribute until everything is taken away, as ``Hooks`` does.
        tell: calls a function so that no fault of it reaches the script.
    """

    patch: Patch
    tell: Tell
    pending: weakref.WeakKeyDictionary[Any, list[int]] = field(default_factory=weakref.WeakKeyDictionary)
    """The models whose next backward() averages, with what their reducer said when that was known."""
    _local: weakref.WeakKeyDictionary[Any, bool] = field(default_factory=weakref.WeakKeyDictionary)
    """The models whose last forward began a pass that averages over a part of the processes, or over none."""
    joined: Callable[[Any, Group], None] | None = None
    """Called where this process has run out of inputs and shadows a pass of the others, as under ``Join``."""
    leaving: Callable[[], None] | None = None
    """Called before the processes of the training part for good, where no error makes them."""
    _count: int | None = None
    """Collectives of all processes before the last pass; None where it averages, or that cannot be told."""
    _known: weakref.WeakKeyDictionary[Any, _Known] = field(default_factory=weakref.WeakKeyDictionary)

    def install(self) -> None:
        """See the models being made and used; where torch has no distributed package there are none."""
        if not dist.is_available():
            return
        from torch.nn.parallel import distributed

        self.patch(distributed, "_verify_param_shape_across_processes", self._compared)
        self.patch(distributed.DistributedDataParallel, "_post_forward", self._forward_over)
        self.patch(distributed._DDPJoinHook, "main_hook", self._shadowing)
        for owner in (dist.distributed_c10d, dist):
            self.patch(owner, "destroy_process_group", self._parting)

    def close(self) -> None:
        """Talk to nobody any more; whoever waits for this process hears of it."""
        for known in self._known.values():
            if known.group is not None:
                known.group.close()
                known.group = None

    # Which pass averages

    def reached(self, leaves: Callable[[], Iterable[Tensor]]) -> list[Any]:
        """The models that a pass which reaches these leaf tensors will average, as far as can be said before it."""
        if not self.pending:
            return []
        ids = {id(leaf) for leaf in leaves()}
        return [model for model in list(self.pending) if any(id(p) in ids for p in parameters_of(model))]

    def averaged(self) -> list[Any]:
        """The models whose gradients have been averaged since the last call, by the pass that is over."""
        done = []
        for model, before in list(self.pending.items()):
            if model.reducer.get_backward_stats() != before and _finalized(model):
                del self.pending[model]
                done.append(model)
        return done

    # Who records together

    def announce(self, models: Iterable[Any]) -> None:
        """Let the others know that this process records, before it meets them in a collective of the script."""
        for model in models:
            self._announce(model.process_group)

    def group_of(self, models: Sequence[Any]) -> Group | None:
        """The processes that average the gradients of these models, where all of them record; None where not.

        To be asked when all of them have met in a collective since they announced themselves.
        """
        groups = {id(group): group for group in (self._averaging(model) for model in models)}
        return next(iter(groups.values())) if len(groups) == 1 else None

    def _averaging(self, model: Any) -> Group | None:
        if not self._local.get(model):
            return self._group(model.process_group)
        part = subgroup(model)
        return None if part is None else self.together(part)

    def own(self, models: Sequence[Any]) -> bool:
        """Whether the gradients of these models are of this process alone, by the script's own choice."""
        return bool(models) and all(self._local.get(model) and subgroup(model) is None for model in models)

    def known_group(self, models: Sequence[Any]) -> Group | None:
        """The same, as far as it is known already."""
        found = {id(known.group): known.group for model in models if (known := self._known.get(model.process_group))}
        return next(iter(found.values())) if len(found) == 1 else None

    def together(self, process_group: Any) -> Group | None:
        """These processes, where all of them record; asked where all are about to make one pass."""
        self._announce(process_group)
        return self._group(process_group, _SOON)

    def _announce(self, process_group: Any) -> None:
        known = self._known.setdefault(process_group, _Known())
        if not known.announced and process_group.size() > 1:
            _store(process_group).set(str(process_group.rank()), "records")
            known.announced = True

    def _group(self, process_group: Any, wait: float = _HERE) -> Group | None:
        known = self._known.setdefault(process_group, _Known())
        if known.announced and not known.asked:
            known.asked = True
            known.group = _together(process_group, wait)
        return known.group

    # Averages that the script makes itself

    def before_pass(self, *, averages: bool) -> None:
        """A backward() begins; where it averages nothing, perhaps the script will, before the step."""
        self._count = None
        if not averages and self._several():
            self._announce(dist.group.WORLD)
            self._count = _collectives()

    def group_met(self) -> Group | None:
        """The processes, where all of them record and have met in a collective since the last ``before_pass``."""
        if not self._several() or self._count is None or _collectives() == self._count:
            return None
        return self._group(dist.group.WORLD)

    def _several(self) -> bool:
        return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1

    # What the script does with its models

    def _compared(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """In DDP's ``__init__`` the processes meet: each compares its parameters' shapes with those of the others."""

        @functools.wraps(original)
        def verify(process_group: Any, *args: Any, **kwargs: Any) -> Any:
            self.tell(self._announce, process_group)
            result = original(process_group, *args, **kwargs)
            self.tell(self._group, process_group)
            return result

        return verify

    def _forward_over(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def post_forward(model: Any, output: Any) -> Any:
            result = original(model, output)
            if model.require_forward_param_sync and torch.is_grad_enabled() and model.process_group.size() > 1:
                self.pending[model] = model.reducer.get_backward_stats()
                self._local[model] = is_local(model)
            return result

        return post_forward

    def _parting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """The script may wait for another process after this, which waits for us to put the last step together."""

        @functools.wraps(original)
        def destroy(group: Any = None) -> Any:
            of_all = group is None or group is dist.group.WORLD
            if of_all and self.leaving is not None and sys.exc_info()[0] is None:
                self.tell(self.leaving)
            return original(group)

        return destroy

    def _shadowing(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def main_hook(hook: Any) -> None:
            original(hook)
            group = self.known_group([hook.ddp])
            if hook.ddp.require_forward_param_sync and group is not None and self.joined is not None:
                self.tell(self.joined, hook.ddp, group)

        return main_hook


def this_rank() -> int:
    """The number of this process among those of the training; 0 where there is one."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank()
    return rank()


def of_this_rank(run: Path) -> Path:
    """The run directory of this process, where all were given the same: see ``launch.of_rank``."""
    number = this_rank()
    return run if not number or run.name.endswith(str(number)) else run.with_name(f"{run.name}-rank{number}")


def of_first(say: Callable[[str], None]) -> Callable[[str], None]:
    """Prints one line to the user, of the first process of the training only."""

    def say_once(text: str) -> None:
        if not this_rank():
            say(text)

    return say_once


def parameters_of(model: Any) -> list[Tensor]:
    """The parameters whose gradients a DistributedDataParallel model averages, in one order in all processes."""
    return [p for p in model._module_parameters if p.requires_grad]


def uneven(models: Iterable[Any]) -> bool:
    """Whether some processes may have run out of inputs, and only shadow what the others do."""
    return any(model._join_config.enable for model in models)


def divides_by_all(model: Any) -> bool:
    """Whether its averages divide by the number of all processes, also where some have run out of inputs."""
    return bool(getattr(model, "_divide_by_initial_world_size", True))


def _collectives() -> int | None:
    """How many collectives all processes have taken part in."""
    try:
        return int(dist.group.WORLD._get_sequence_number_for_group())  # type: ignore[union-attr]
    except RuntimeError:  # a backend that does not count
        return None


def _finalized(model: Any) -> bool:
    try:
        model.reducer._check_reducer_finalized()
    except RuntimeError:
        return False
    return True


_store_of: Any = getattr(dist, "PrefixStore", None)


def _store(process_group: Any) -> Any:
    return _store_of("dominance", process_group.get_group_store())


def _together(process_group: Any, wait: float) -> Group | None:
    """The group of these processes, if all of them record.

    Args:
        process_group: the script's.
        wait: seconds that the others may take, on the CPU.
    """
    store, size = _store(process_group), process_group.size()
    on_cpu, patience = dist.get_backend(process_group) == "gloo", _patience(process_group)
    until = time.monotonic() + min(wait if on_cpu else _SOON, patience.total_seconds())
    while not store.check([str(rank) for rank in range(size)]):
        if time.monotonic() > until:
            return None
        time.sleep(_LOOK)
    return Group(_store_of("group", store), process_group.rank(), size, patience)


def _patience(process_group: Any) -> timedelta:
    """How long one waits for the others, which are where it is: they have met in a collective just before.

    At most half of what the script's own collectives wait: where ours hang, the others do not yet.
    """
    kind = "cpu" if dist.get_backend(process_group) == "gloo" else torch.accelerator.current_accelerator()
    options = getattr(process_group._get_backend(torch.device(kind or "cpu")), "options", None)
    timeout: timedelta = getattr(options, "_timeout", timedelta(minutes=10))
    return min(timeout / 2, _PATIENCE)
