"""Every hook of a recording: put in place together, and gone together when their owner leaves."""

from __future__ import annotations

import functools
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.hooks import BackwardHook, RemovableHandle

from dominance.record.compare import nonzero
from dominance.record.guest.compiled import keeping_buffers
from dominance.record.guest.forward_hooks import left_out
from dominance.record.guest.grad_access import GradAccess
from dominance.record.guest.hidden import is_hidden
from dominance.record.guest.limits import CannotLook, look_at, unaltered, unrecordable
from dominance.record.guest.parallel import Ranks
from dominance.record.guest.preserve_state import undisturbed
from dominance.record.guest.rows_of_batch import batch_of, outside
from dominance.record.guest.silence import Silence, batched, gathered_by, traced
from dominance.record.guest.starts import Starts
from dominance.record.guest.torch_internals import require
from dominance.record.guest.unseen import observed, unseen
from dominance.record.patches import replace
from dominance.record.sharded_models import leaf_of
from dominance.record.tasks.graph import Edge, Node, edge_of, leaves

Finish = Callable[[], None]


class Watcher(Protocol):
    """What hooks tell about a training run."""

    def before_backward(self, outputs: Sequence[Any], gradients: Sequence[Any], inputs: Sequence[Any]) -> Finish | None:
        """The script is about to accumulate gradients, of ``inputs`` only where there are any; what is returned is
        called when it has."""

    def before_grad(
        self, outputs: Sequence[Any], gradients: Sequence[Any], inputs: Sequence[Any]
    ) -> Callable[[Sequence[Tensor | None]], None] | None:
        """The script is about to take gradients with autograd.grad; what is returned is called with them."""

    def nested(self) -> None:
        """A gradient hook of the script accumulates gradients inside the backward() that is going on."""

    def before_rows(
        self, outputs: Sequence[Any], rows: Sequence[Sequence[Tensor | None]], inputs: Sequence[Any]
    ) -> Callable[[Sequence[Sequence[Tensor | None]]], None] | None:
        """The same for many gradients in one call; ``rows`` is what each starts from. What is returned is called with
        what each comes to."""

    def before_step(
        self, optimizer: Optimizer, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """An optimizer is about to step; every pre-hook of the script has run. Returns other arguments, or None."""

    def after_step(self, optimizer: Optimizer) -> None:
        """An optimizer has stepped; no post-hook of the script has run."""

    def rests_at_backward(self, outputs: Sequence[Any]) -> bool:
        """The script is about to accumulate gradients; whether nothing more is to be told of it."""

    def rests_at_step(self, optimizer: Optimizer) -> bool:
        """An optimizer is about to step, without a closure; whether nothing more is to be told of it."""

    def registered(self) -> None:
        """A module or an optimizer has got parameters: perhaps of a model that is to be trained next."""

    def fail(self, error: BaseException) -> None:
        """Something of the above has raised: nothing more is to be recorded."""


class Hooks:
    """Tells a ``Watcher`` of each backward pass and each optimizer step in this process, between enter and exit.

    The script's own gradient hooks are kept quiet while ``quiet`` is set: a pass that the script did not ask for must
    not be counted, printed or averaged by them.
    """

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._pid = os.getpid()
        self._thread: threading.Thread | None = None
        """The thread that trains: the first that made a backward(), while it lives. Others are left alone."""
        self._inside = False
        self._undo: list[Callable[[], None]] = []
        self._step_hooks: dict[int, list[RemovableHandle]] = {}
        """By the id of the optimizer: one that wraps another is in its step while the inner one steps."""
        self._installed = False
        self._retaining: list[weakref.ref[Tensor]] = []
        self.passes_aside = False
        """Whether passes are no backward() of the script now, see ``aside``."""
        self._silence = Silence()
        self._doubtful: list[Node] = []
        self._functions = False
        self.clock: Callable[[], float] = time.perf_counter
        self._told_since: float | None = None
        """When the watcher was told what it is being told, by the clock."""
        self._told_for = 0.0
        self.transformed = 0
        """Passes inside a transform of torch.func, which were left alone."""
        self.grads = GradAccess(self._patch, self.tell)
        self.ranks = Ranks(self._patch, self.tell)
        self.starts = Starts(self._patch, self.tell)

    def install(self) -> None:
        """Put every hook in place; none of them, where one cannot be."""
        require()
        try:
            self._install()
        except BaseException:
            self.remove()
            raise

    def _install(self) -> None:
        self._installed = True
        self._patch(torch.autograd, "_engine_run_backward", self._run_backward)
        self._patch(torch.Tensor, "register_hook", self._register_hook)
        self._patch(torch.Tensor, "retain_grad", self._retain_grad)
        self._patch(BackwardHook, "__init__", self._backward_hook_init)
        self._patch(Optimizer, "__init__", self._optimizer_init)
        self.ranks.install()
        self.starts.install()
        self._undo.append(keeping_buffers())
        self._undo.append(register_optimizer_step_pre_hook(self._before_step).remove)
        self._undo.append(register_optimizer_step_post_hook(self._after_step).remove)
        self._undo.append(register_module_parameter_registration_hook(self._registered).remove)

    def remove(self) -> None:
        """Take every hook away again, in the reverse order. Safe to call twice."""
        self._installed = False
        for optimizer in list(self._step_hooks):
            self._drop_step_hooks(optimizer)
        with ExitStack() as undone:  # each, whatever becomes of another
            for undo in self._undo:
                undone.callback(undo)
            self._undo.clear()

    @property
    def quiet(self) -> bool:
        """Set while gradients are taken on our own behalf."""
        return self._silence.thread is not None

    @quiet.setter
    def quiet(self, wanted: bool) -> None:
        self._silence.thread = threading.get_ident() if wanted else None

    @property
    def kept_quiet(self) -> int:
        """Calls of the script's gradient hooks that were left out."""
        return self._silence.calls

    @property
    def alters(self) -> bool:
        """Whether the script may have a hand in the backward() that is looked at: by a hook on some gradient, or by a
        function of its own in the graph."""
        return self._silence.known > 0 or self._functions

    @property
    def active(self) -> bool:
        """False in a forked child, inside a pass of our own, and inside a backward pass of the script."""
        if self._inside or self.passes_aside or self._silence.thread is not None or not self._installed:
            return False
        return os.getpid() == self._pid and self._of_training()

    def _of_training(self) -> bool:
        """Whether this is the thread that trains."""
        return self._thread is None or self._thread is threading.current_thread() or not self._thread.is_alive()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Passes inside are no backward() of the script; its hooks see them as they would without us."""
        outer, self.passes_aside = self.passes_aside, True
        try:
            yield
        finally:
            self.passes_aside = outer

    def look(self, nodes: Iterable[Node], modules: Iterable[nn.Module] = ()) -> None:
        """Ask, before the first pass of our own through the graph below ``nodes``, whether any may be made.

        Raises:
            CannotLook: it might change the training.
        """
        self._doubtful = []
        tree = list(modules)
        if (reason := unrecordable((), tree)) is not None:
            raise CannotLook(reason)
        self._doubtful, self._functions = look_at(nodes, tree)

    @contextmanager
    def own_pass(self, modules: Iterable[nn.Module], parameters: Iterable[Tensor]) -> Iterator[None]:
        """Passes of our own run inside: the script's hooks are silent, and what the passes disturb is put back.

        Raises:
            CannotLook: the script's own code ended the program inside, or changed what its own pass will need; that has
                been put back.
        """
        doubtful, self._doubtful = self._doubtful, []
        self.quiet = True
        try:
            tree = list(modules)
            with undisturbed(tree, parameters, self._retained()), unaltered(doubtful), left_out(tree):
                yield
        except SystemExit as stop:
            # In the script's own pass it will end the program, and print what it has to say.
            raise CannotLook("the program ends in this backward()") from stop
        finally:
            self.quiet = False

    @property
    def in_backward(self) -> bool:
        """Whether a backward pass of the script is going on."""
        return self._inside

    def _patch(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        self._undo.append(replace(owner, name, make))

    def _run_backward(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def run(outputs: Any, *args: Any, **kwargs: Any) -> Any:
            gradients, inputs, accumulates = args[0], args[3], bool(kwargs.get("accumulate_grad"))
            if accumulates and self._silence.thread is not None:
                self._within(outputs)
            if accumulates and self._nested():
                self.tell(self._watcher.nested)
            if not self.active or traced():
                return original(outputs, *args, **kwargs)
            if batched(gradients):
                return self._run_batched(original, outputs, *args, **kwargs)
            self._thread = threading.current_thread()
            if not accumulates:
                took = self.tell(self._watcher.before_grad, outputs, gradients, inputs)
                result = original(outputs, *args, **kwargs)
                if took is not None:
                    self.tell(took, result)
                return result
            finish = None
            if not self.tell(self._watcher.rests_at_backward, outputs):
                finish = self.tell(self._watcher.before_backward, outputs, gradients, inputs or ())
            self._inside = True
            try:
                result = original(outputs, *args, **kwargs)
            finally:
                self._inside = False
            if finish is not None:
                self.tell(finish)
            return result

        return run

    def _nested(self) -> bool:
        """Whether a gradient hook of the script makes a backward() inside its own; a re-entrant checkpoint is none."""
        inside = self._inside and self._silence.running > 0
        return inside and self._installed and not self.quiet and not self.passes_aside and os.getpid() == self._pid

    def _run_batched(self, original: Callable[..., Any], outputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Many gradients in one call: told row by row, where it is of training; others are left alone."""
        batch = None if kwargs.get("accumulate_grad") else self.tell(batch_of, outputs, args[0])
        if batch is None:
            self.transformed += 1
            return original(outputs, *args, **kwargs)
        with outside():
            took = self.tell(self._watcher.before_rows, outputs, batch.rows, args[3])
        result = original(outputs, *args, **kwargs)
        if took is not None:
            with outside():
                self.tell(lambda: took(batch.of(result)))
        return result

    def _within(self, outputs: Any) -> None:
        """A function that our own pass goes through runs a backward() itself, as a re-entrant checkpoint does."""
        if threading.get_ident() != self._silence.thread:
            return
        leaves_held = gathered_by()
        if leaves_held is None:
            raise CannotLook("a function in the graph runs a backward() of its own, which would be added to .grad")
        nodes = [edge_of(output)[0] if isinstance(output, Tensor) else output.node for output in outputs]
        leaves_held.hold(leaves(nodes))

    def _register_hook(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def register_hook(tensor: Tensor, hook: Callable[..., Any]) -> Any:
            return original(tensor, self._silence.over(hook))

        return register_hook

    def _retain_grad(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def retain_grad(tensor: Tensor) -> Any:
            self._retaining = [known for known in self._retaining if known() is not None]
            self._retaining.append(weakref.ref(tensor))
            return original(tensor)

        return retain_grad

    def _retained(self) -> list[Tensor]:
        """Intermediate tensors whose ``.grad`` a backward pass adds to, because the script asked for it."""
        return [tensor for known in self._retaining if (tensor := known()) is not None]

    def _backward_hook_init(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def init(self_: Any, module: Any, user_hooks: Iterable[Any], user_pre_hooks: Iterable[Any]) -> None:
            over = self._silence.over
            original(self_, module, [over(h) for h in user_hooks], [over(h) for h in user_pre_hooks])

        return init

    def _optimizer_init(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def init(self_: Any, *args: Any, **kwargs: Any) -> None:
            original(self_, *args, **kwargs)
            self._registered(self_, None, self_)

        return init

    def _registered(self, module: Any, name: Any, parameter: Any) -> None:
        if parameter is not None and self.active and not traced():
            self.tell(self._watcher.registered)

    def _before_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if os.getpid() != self._pid or is_hidden(optimizer) or not self._of_training():
            return
        alone = len(args) == 1 and not kwargs and not optimizer._optimizer_step_pre_hooks
        if alone and self.tell(self._watcher.rests_at_step, optimizer):
            return
        # Global hooks run outside those of the instance: ours must be the last before the step and the first after.
        self._drop_step_hooks(id(optimizer))
        before = optimizer.register_step_pre_hook(self._watched_step)
        after = optimizer.register_step_post_hook(lambda opt, a, k: self.tell(self._watcher.after_step, opt))
        self._step_hooks[id(optimizer)] = [before, after]
        post_hooks: Any = optimizer._optimizer_step_post_hooks
        post_hooks.move_to_end(after.id, last=False)

    def _watched_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> Any:
        # The arguments begin with the optimizer itself.
        changed = self.tell(self._watcher.before_step, optimizer, args[1:], kwargs)
        return None if changed is None else ((args[0], *changed[0]), changed[1])

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if os.getpid() == self._pid:
            self._drop_step_hooks(id(optimizer))

    def seconds(self) -> float:
        """Spent in telling the watcher, until now."""
        return self._told_for + (0.0 if self._told_since is None else self.clock() - self._told_since)

    def tell(self, what: Callable[..., Any], *args: Any) -> Any:
        """Call the watcher; the script's modes do not see what it computes, and no fault of it reaches the script."""
        before = self._told_since
        if before is None:
            self._told_since = self.clock()
        try:
            if not observed():
                return what(*args)
            with unseen():
                return what(*args)
        except Exception as error:  # noqa: BLE001  whatever it is, the script must go on as without us
            self._watcher.fail(error)
            return None
        finally:
            if before is None and self._told_since is not None:
                self._told_for += self.clock() - self._told_since
                self._told_since = None

    def _drop_step_hooks(self, optimizer: int) -> None:
        for handle in self._step_hooks.pop(optimizer, ()):
            handle.remove()


class LeafCapture:
    """Copies the gradient of one backward pass at each leaf, before it is added to ``.grad``.

    The hooks sit on the graph's accumulators and leave no trace on the parameters themselves; they go with their owner,
    also when the pass ended in an exception and nobody called ``remove``.

    Args:
        parameters: the leaves.
        as_kept: makes of a leaf and its gradient what is to be kept; None: ``dense``.
    """

    def __init__(self, parameters: Iterable[Tensor], as_kept: Callable[[Tensor, Tensor], Tensor] | None = None) -> None:
        self.gradients: dict[Tensor, Tensor] = {}
        self._accumulators: list[Node] = []
        self._handles: list[RemovableHandle] = []
        for parameter in parameters:
            edge: Edge = edge_of(leaf_of(parameter))
            self._accumulators.append(edge[0])
            # The hook must not hold this object: its end takes the hook away.
            self._handles.append(edge[0].register_prehook(functools.partial(_keep, self.gradients, as_kept, parameter)))

    def remove(self) -> None:
        """Take the hooks away; the gradients stay."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._accumulators.clear()

    def __del__(self) -> None:
        self.remove()


def _keep(
    kept: dict[Tensor, Tensor],
    as_kept: Callable[[Tensor, Tensor], Tensor] | None,
    parameter: Tensor,
    gradients: tuple[Tensor | None, ...],
) -> None:
    gradient = gradients[0]
    if gradient is None:
        return
    with unseen():  # within the script's own pass, under its modes
        # All zero: most likely the rest of a vector of losses of which one was picked; it does not tell whose it is.
        if gradient.layout is not torch.strided or nonzero(gradient):
            # A copy: a reference would keep autograd from handing its buffer to .grad as it does without us.
            copy = gradient.detach().clone()
            kept[parameter] = dense(copy) if as_kept is None else as_kept(parameter, copy)


def dense(gradient: Tensor) -> Tensor:
    """A gradient as a strided tensor, in float32 where it is of half precision."""
    strided = gradient.to_dense() if gradient.layout is not torch.strided else gradient
    return strided.float() if strided.dtype in (torch.float16, torch.bfloat16) else strided
