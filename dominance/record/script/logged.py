"""Scalars that the script hands to a logger while it runs become metrics of the run, as ``dominance.log`` keeps them.

Which task and split a scalar is of is read from its name. The loggers are told what they are told without us, and none
of their packages is imported here: each is looked at when the script has imported it.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from inspect import ismethod
from typing import TYPE_CHECKING, Any, NamedTuple

from dominance.record.fail_safe import harmless
from dominance.record.metrics import known_number
from dominance.record.patches import replace
from dominance.record.script.import_hook import when_imported
from dominance.record.tasks.scalar_names import Meaning, may_count, meaning

if TYPE_CHECKING:
    from torch import Tensor

    from dominance.record.recording import Recording
    from dominance.record.step_recorder import StepRecorder

_OWN = "dominance.sinks."
_MOST_WAITING = 10_000
"""Scalars kept until the tasks are known: there may never be any."""

Pairs = list[tuple[str, Any]]
Reads = Callable[[tuple[Any, ...], Mapping[str, Any]], Pairs]


class _Waiting(NamedTuple):
    """A scalar, and when it was logged."""

    recording: Recording
    step: int
    epoch: int | None
    logger: str
    tag: str
    value: float


class Logged:
    """Hears what the script logs. Importing and listening load no torch. Implements ``Observer``."""

    def __init__(self) -> None:
        self.failure: str | None = None
        self._watch: StepRecorder | None = None
        self._arrivals = ExitStack()
        self._listening = False
        self._undo: list[Callable[[], None]] = []
        self._within = threading.local()
        self._waiting: list[_Waiting] = []
        self._told: set[tuple[str | None, str, str]] = set()
        """What the script logs by ``dominance.log`` itself: (task, split, metric)."""
        self._of: dict[Meaning, str] = {}
        """The logger that each metric is taken from: a script may tell several the same."""
        self._kept: dict[str, int] = {}
        self._deactivate: Callable[[Logged], None] | None = None

    def listen(self) -> None:
        """Notice the loggers that the script imports from now on, and those that are there."""
        if not self._listening:
            self._listening = True
            for package, look in _LOOKS.items():
                self._arrivals.enter_context(when_imported(package, functools.partial(self._arrived, look, package)))

    def start(self, watch: StepRecorder) -> None:
        """Hand what is logged from now on to the recording in progress."""
        from dominance.record.tasks.named import activate, deactivate

        self.listen()
        self._watch, self._deactivate = watch, deactivate
        activate(self)

    def stop(self) -> None:
        """Keep what waits, say how many it were, and leave the loggers alone."""
        self._arrivals.close()
        for undo in reversed(self._undo):
            undo()
        self._undo = []
        if self._deactivate is not None:
            self._deactivate(self)
            self._deactivate = None
        self._keep()
        watch, self._watch = self._watch, None
        if watch is not None and self._kept:
            count = sum(self._kept.values())
            scalars = f"{count} scalar{'s' * (count != 1)}"
            watch.recording.say(f"metrics of the run: {scalars} that the script logged to {', '.join(self._kept)}")

    def fail(self, error: BaseException) -> None:
        """Take no more, and say why; logger, script and recording go on."""
        self.failure = f"{type(error).__name__}: {error}".splitlines()[0]
        if self._watch is not None:
            say = self._watch.recording.say
            say(f"scalars that the script logs are no metrics of the run from here on: {self.failure}")

    # What dominance.observe and dominance.log tell

    def observe(self, losses: Mapping[str, Tensor]) -> None:
        """Nothing that concerns a logger."""

    def log(self, task: str | None, split: str, metrics: Mapping[str, float]) -> None:
        """What the script says of the run itself is not to be taken from its loggers."""
        self._told.update((task, split, name) for name in metrics)

    def aside(self) -> AbstractContextManager[None]:
        """Passes that nobody looks at: nothing that concerns a logger."""
        return nullcontext()

    # What is logged

    @harmless
    def _arrived(self, look: Callable[[Logged, Any], None], package: str) -> None:
        look(self, sys.modules[package])

    def put(self, owner: Any, name: str, logger: str, reads: Reads) -> None:
        """Stand in the place of a function that logs scalars, where there is one."""
        if callable(getattr(owner, name, None)):
            self._undo.append(replace(owner, name, functools.partial(self._around, logger, reads)))

    def put_after(self, owner: Any, name: str, logger: str, reads: Reads) -> None:
        """The same, of a function after which they are known."""
        if callable(getattr(owner, name, None)):
            self._undo.append(replace(owner, name, functools.partial(self._after, logger, reads)))

    def _around(self, logger: str, reads: Reads, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def log(*args: Any, **kwargs: Any) -> Any:
            if self._watch is None or getattr(self._within, "logger", False):
                return original(*args, **kwargs)
            ours = str(sys._getframe(1).f_globals.get("__name__")).startswith(_OWN)
            pairs = None if ours else self._read(reads, args, kwargs)
            # What a logger's function logs by another one is the same.
            self._within.logger = True
            try:
                answer = original(*args, **kwargs)
            finally:
                self._within.logger = False
            if pairs:
                self._take(logger, pairs)
            return answer

        return log

    def _after(self, logger: str, reads: Reads, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            answer = original(*args, **kwargs)
            if self._watch is not None and (pairs := self._read(reads, args, kwargs)):
                self._take(logger, pairs)
            return answer

        return call

    @harmless
    def _read(self, reads: Reads, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Pairs:
        return [(tag, value) for tag, value in reads(args, kwargs) if may_count(tag)]

    @harmless
    def _take(self, logger: str, pairs: Pairs) -> None:
        """The logger has taken these scalars."""
        watch = self._watch
        if watch is None or watch.failure is not None:
            return
        here = watch.recording
        if self._waiting and self._waiting[-1].step != here.step.number and here.sink.laid_out:
            self._keep()
        for tag, value in pairs:
            number = known_number(value)
            if number is not None and len(self._waiting) < _MOST_WAITING:
                self._waiting.append(_Waiting(here, here.step.number, here.epoch, logger, tag, number))

    @harmless
    def _keep(self) -> None:
        """Those that waited to see whether the script logs the same by ``dominance.log``, too."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            found = meaning(each.tag, each.recording.sink.tasks)
            if found is None or found in self._told or self._of.setdefault(found, each.logger) != each.logger:
                continue
            self._kept[each.logger] = self._kept.get(each.logger, 0) + 1
            each.recording.sink.log(
                {found.metric: each.value}, step=each.step, epoch=each.epoch, task=found.task, split=found.split
            )


def _argument(args: Sequence[Any], kwargs: Mapping[str, Any], place: int, name: str) -> Any:
    return args[place] if place < len(args) else kwargs.get(name)


def _flat(scalars: Any, above: str = "") -> Pairs:
    """The scalars of a mapping, and of the mappings in it."""
    if not isinstance(scalars, dict):
        return []
    pairs: Pairs = []
    for name, value in scalars.items():
        tag = f"{above}{name}"
        pairs += _flat(value, f"{tag}/") if isinstance(value, dict) else [(tag, value)]
    return pairs


def _one(place: int, tag: str, value: str) -> Reads:
    """Reads a function that is given the name of a scalar, and next to it its value."""
    return lambda args, kwargs: [
        (str(_argument(args, kwargs, place, tag)), _argument(args, kwargs, place + 1, value)),
    ]


def _several(place: int, name: str, above: tuple[int, str] | None = None) -> Reads:
    """Reads a function that is given a mapping of them, and perhaps a name that stands above all."""

    def reads(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Pairs:
        before = "" if above is None else f"{_argument(args, kwargs, *above)}/"
        return _flat(_argument(args, kwargs, place, name), before)

    return reads


def _writer(heard: Logged, package: Any) -> None:
    logger = "tensorboardX" if package.__name__ == "tensorboardX" else "TensorBoard"
    heard.put(package.SummaryWriter, "add_scalar", logger, _one(1, "tag", "scalar_value"))
    heard.put(package.SummaryWriter, "add_scalars", logger, _several(2, "tag_scalar_dict", (1, "main_tag")))


def _wandb(heard: Logged, package: Any) -> None:
    # Of a run that is disabled there is a class of its own, whose log() does nothing.
    for kind in [package.Run, *package.Run.__subclasses__()]:
        if "log" in vars(kind):
            heard.put(kind, "log", "wandb", _several(1, "data"))
    if ismethod(package.log):  # of a run that has begun before
        heard.put(package, "log", "wandb", _several(0, "data"))


def _mlflow(heard: Logged, package: Any) -> None:
    heard.put(package, "log_metric", "mlflow", _one(0, "key", "value"))
    heard.put(package, "log_metrics", "mlflow", _several(0, "metrics"))


def _lightning(heard: Logged, package: Any) -> None:
    # self.log() is told of each batch; what it makes of them is there when callbacks hear that the evaluation is over.
    heard.put_after(package, "_call_callback_hooks", "Lightning", _of_an_evaluation)


def _of_an_evaluation(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Pairs:
    trainer, hook = _argument(args, kwargs, 0, "trainer"), _argument(args, kwargs, 1, "hook_name")
    if hook not in ("on_validation_end", "on_test_end") or trainer.sanity_checking:
        return []
    return list(trainer.callback_metrics.items())


_LOOKS: dict[str, Callable[[Logged, Any], None]] = {
    "torch.utils.tensorboard": _writer,
    "tensorboardX": _writer,
    "wandb": _wandb,
    "mlflow": _mlflow,
    "lightning.pytorch.trainer.call": _lightning,
    "pytorch_lightning.trainer.call": _lightning,
}
"""Module -> what is to be done when the script has imported it."""
