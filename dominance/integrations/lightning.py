"""A callback for Lightning's Trainer."""

from __future__ import annotations

import sys
from os import PathLike
from typing import TYPE_CHECKING, Any

from dominance.integrations.fitting import Fitting, MetricNames

if TYPE_CHECKING:
    Callback = object
elif "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules:
    from pytorch_lightning import Callback
else:
    try:
        from lightning.pytorch import Callback
    except ImportError:
        try:
            from pytorch_lightning import Callback
        except ImportError:
            raise ImportError("Lightning is not installed; pip install lightning") from None


class DominanceCallback(Callback):
    """Records each ``fit`` of a Trainer, with the metrics of ``self.log``.

    Args:
        path: the run directory, which must not exist unless ``overwrite`` or ``resume`` is given.
        metrics: which metrics are of which task, ``{"val_auc_price": ("price", "auc")}``; all others are kept as
            metrics of the whole model, under the names that ``self.log`` has for them.
        options: further ones of ``dominance.Recorder``, such as ``every``, ``budget``, ``tasks``.

    Raises:
        RunExists: ``path`` is there.

    Example::

        from dominance.integrations.lightning import DominanceCallback

        trainer = Trainer(max_epochs=10, callbacks=[DominanceCallback("runs/first")])
        trainer.fit(module, data)
        print(dominance.verdict(dominance.open_run("runs/first")))
    """

    def __init__(self, path: str | PathLike[str], *, metrics: MetricNames | None = None, **options: Any) -> None:
        self._fitting = Fitting(path, metrics, options)
        self._before: dict[str, Any] = {}

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin: the optimizers are there, and no step has been taken."""
        self._fitting.start(pl_module, trainer.optimizers)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Steps belong to this epoch from now on."""
        self._fitting.epoch(int(trainer.current_epoch))

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """What is known before is not of the validation."""
        self._before = dict(trainer.callback_metrics)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Keep the metrics that the validation made."""
        if not trainer.sanity_checking:
            now = trainer.callback_metrics
            new = {name: value for name, value in now.items() if self._before.get(name) is not value}
            self._fitting.log(new, "val")
            self._before = dict(now)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Keep the metrics of the epoch's training."""
        now = trainer.callback_metrics
        self._fitting.log({name: value for name, value in now.items() if self._before.get(name) is not value}, "train")
        self._before = dict(now)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """End."""
        self._fitting.stop()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """End as the training did."""
        self._fitting.stop(exception)
