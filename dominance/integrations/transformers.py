"""A callback for the Trainer of transformers, and those that are made of it."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

from dominance.integrations.fitting import Fitting, MetricNames

if TYPE_CHECKING:
    TrainerCallback = object
else:
    try:
        from transformers import TrainerCallback
    except ImportError:
        raise ImportError("transformers is not installed; pip install transformers") from None

_ABOUT_THE_RUN = ("runtime", "samples_per_second", "steps_per_second", "epoch")
"""Ends of names that say how fast an evaluation was, and not how good."""


class DominanceCallback(TrainerCallback):
    """Records each ``train`` of a Trainer, with the metrics of its evaluations.

    Args:
        path: the run directory, which must not exist unless ``overwrite`` or ``resume`` is given.
        metrics: which metrics are of which task, ``{"eval_intent_f1": ("intent", "f1")}``; all others are kept as
            metrics of the whole model, under the Trainer's names for them.
        options: further ones of ``dominance.Recorder``, such as ``every``, ``budget``, ``tasks``.

    Raises:
        RunExists: ``path`` is there.

    Example::

        from dominance.integrations.transformers import DominanceCallback

        trainer = Trainer(model, arguments, train_dataset=data, callbacks=[DominanceCallback("runs/first")])
        trainer.train()
        print(dominance.verdict(dominance.open_run("runs/first")))
    """

    def __init__(self, path: str | PathLike[str], *, metrics: MetricNames | None = None, **options: Any) -> None:
        self._fitting = Fitting(path, metrics, options)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin: model and optimizer are there, and no step has been taken."""
        optimizer = kwargs["optimizer"]
        self._fitting.start(kwargs["model"], [getattr(optimizer, "optimizer", optimizer)])  # not accelerate's around it

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Steps belong to this epoch from now on."""
        self._fitting.epoch(int(state.epoch or 0))

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the metrics of an evaluation."""
        metrics: Mapping[str, Any] = kwargs.get("metrics") or {}
        self._fitting.log({name: m for name, m in metrics.items() if not name.endswith(_ABOUT_THE_RUN)}, "val")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End."""
        self._fitting.stop()
