"""Recorder: records a training loop of one's own."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from dominance.config import RecordOptions, parse_share, parse_size
from dominance.errors import BadOption, RecordingFailed, RunExists
from dominance.record.evaluation import Evaluation, hear_no_more, listen
from dominance.record.guest.parallel import of_this_rank
from dominance.record.messages import close
from dominance.record.metrics import told
from dominance.record.parameters import ParameterTable
from dominance.record.sharded_models import views
from dominance.record.step_recorder import StepRecorder
from dominance.record.tasks.named import activate, deactivate
from dominance.record.write.sink import Sink, note
from dominance.schema import AFFINITY
from dominance.store.lock import RunLock, left_by_another, occupied
from dominance.store.metadata import check_told


class Recorder:
    """Records the per-task gradients and updates of a model while it trains; the training is not changed.

    Use it as a context manager around the training loop. Tasks are found in the autograd graph of what ``backward()``
    is called on; ``observe`` names them where the graph cannot tell.

    In a training of several processes, under ``DistributedDataParallel`` or ``fully_shard``, each makes a Recorder with
    the same path: rank 0 writes the run, of the averaged gradients, and the others nothing.

    Args:
        path: the run directory, which must not exist unless ``overwrite`` or ``resume`` is given.
        model: its parameters are recorded, under their ``named_parameters()`` paths, without prefixes of wrappers.
        optimizer: one optimizer or several; steps of others are not recorded.
        tasks: names of the tasks; terms of other names are then residual.
        every: one step in this many is recorded, and more of the first ones; 1 records all and is exact; None: one in
            ten of a short training, one in 40 at step 10,000, one in 400 at step 1,000,000.
        burst: consecutive steps recorded in a row, at even distances from the first step on; by default 20 and later up
            to 100 for optimizers with momentum, 1 for others, more often at first, and prepared by some steps before.
        overhead: of the training's own time, what recording may take, like "5%" or 0.05: steps are then recorded as
            rarely as that asks for, but no more often than by ``every``. A run of less than a minute counts as one.
        params: glob over parameter names.
        budget: bytes on disk that the run may take, like "500MB", whatever its length.
        averages: keep AU of every shared coordinate in the end, for ``au(run, exact=True)`` and ``noise_importance``.
        light: work out the tasks' momenta and steps at the kept coordinates alone, and estimate the norms of their
            updates from these; large parameters only. Inner products of their gradients stay exact.
        exact: keep all mantissa bits of the stored coordinates; otherwise 10 (relative error 4.9e-4).
        attribution: "additive", "solo" or "both".
        overwrite: replace the run at ``path``.
        resume: go on with the run at ``path``.
        attrs: what else is known of the run, for its attributes: names to numbers, strings, lists and dicts of them.
            Names that dominance uses itself, such as "seed", have the values that it gives them.
        first_step: number of the training step that comes first; by default 0, with ``resume`` the one after the last
            recorded. What the run holds of this step and later ones is dropped: it goes on from an older checkpoint.
        to: a logger that is sent the run's numbers meanwhile: "tensorboard", "wandb" or "mlflow"; see ``send``.
        quiet: say nothing on stderr.

    Raises:
        RunExists: ``path`` is there, and neither ``overwrite`` nor ``resume`` is given; on entering: another recording
            writes into it.
        BadOption: an argument has a value that cannot be used.

    >>> import tempfile, torch, dominance
    >>> trunk, a, b = torch.nn.Linear(4, 8), torch.nn.Linear(8, 1), torch.nn.Linear(8, 1)
    >>> model = torch.nn.ModuleDict({"trunk": trunk, "a": a, "b": b})
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> folder = tempfile.TemporaryDirectory()
    >>> with Recorder(folder.name + "/run", model, optimizer, every=1) as recorder:
    ...     for _ in range(3):
    ...         z = trunk(torch.randn(16, 4))
    ...         loss_a, loss_b = a(z).square().mean(), (b(z) - 1).square().mean()
    ...         optimizer.zero_grad()
    ...         (loss_a + loss_b).backward()
    ...         optimizer.step()
    >>> run = dominance.open_run(folder.name + "/run")
    >>> run["update/update"].sizes["task"], run["step"].values.tolist()
    (2, [0, 1, 2])
    >>> run.close(); folder.cleanup()
    """

    def __init__(
        self,
        path: str | PathLike[str],
        model: nn.Module,
        optimizer: Optimizer | Sequence[Optimizer],
        *,
        tasks: Sequence[str] | None = None,
        every: int | None = 1,
        burst: int | None = None,
        overhead: str | float | None = None,
        params: str = "*",
        budget: str | int = "1GB",
        averages: bool = False,
        light: bool = False,
        exact: bool = False,
        attribution: str = "additive",
        overwrite: bool = False,
        resume: bool = False,
        attrs: Mapping[str, Any] | None = None,
        first_step: int | None = None,
        to: str | None = None,
        quiet: bool = False,
    ) -> None:
        if isinstance(model, type) or not isinstance(model, nn.Module):
            raise BadOption(f"model is {_kind(model)}", fix="give the torch.nn.Module that is trained")
        optimizers = [optimizer] if isinstance(optimizer, Optimizer) else optimizer
        if not isinstance(optimizers, Sequence) or not all(isinstance(one, Optimizer) for one in optimizers):
            raise BadOption(f"optimizer is {_kind(optimizer)}", fix="give a torch.optim.Optimizer, or a list of them")
        if overwrite and resume:
            raise BadOption("overwrite and resume contradict each other", fix="give one of them")
        options = RecordOptions(
            tasks=None if tasks is None else tuple(tasks),
            every=every,
            burst=burst,
            overhead=None if overhead is None else parse_share(overhead),
            params=params,
            budget=parse_size(budget),
            averages=averages,
            light=light,
            exact=exact,
            attribution=attribution,
            to=to,
        )
        self.path = of_this_rank(Path(path))
        # Of several processes the one that writes the run ends by it, and the others would wait for it.
        there = occupied(self.path) or (self.path != Path(path) and left_by_another(Path(path)))
        if there and not (overwrite or resume):
            raise RunExists(f"{path} exists", fix="give overwrite=True, resume=True, or another path")
        check_told(attrs or {})
        table = ParameterTable()
        table.add_model(model)
        known = {"script": sys.argv[0] if sys.argv else "", "argv": sys.argv, "script_path": sys.argv[0]}
        self._sink = Sink(
            self.path,
            options,
            {**known, **(attrs or {})},
            overwrite=overwrite,
            resume=resume,
            first_step=first_step,
        )
        self._say = (lambda text: None) if quiet else note
        self._watch = StepRecorder(options, self._sink, table, self._say, views(optimizers))
        self._open = False
        self._evaluation: Evaluation | None = None

    def __enter__(self) -> Recorder:
        self._sink.lock = RunLock(self.path)
        try:
            self._watch.start()
        except BaseException:
            self._sink.lock.release()
            raise
        activate(self._watch)
        listen(self)
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stopped = kind is not None and issubclass(kind, KeyboardInterrupt)
        self._end("complete" if kind is None else "interrupted" if stopped else "failed")

    def observe(self, losses: Mapping[str, Tensor]) -> None:
        """Name the tasks of the loss that the next ``backward()`` is called on; call it before, at every step.

        Args:
            losses: task name -> its loss as it enters the sum, a tensor that needs gradient.
        """
        self._watch.observe(losses)

    def log_metrics(
        self,
        metrics: Mapping[str, float] | None = None,
        /,
        *,
        task: str | None = None,
        split: str = "train",
        **named: float,
    ) -> None:
        """Store metrics of one task (or of the whole model) at the present step.

        Takes and raises what ``dominance.log`` does, which reaches every recording in progress; this reaches one.
        """
        self._watch.log(task, split, told(metrics, named))

    def log_affinity(self, affinity: Mapping[str, Mapping[str, float]]) -> None:
        """Store what ``dominance.probes.lookahead`` returns, at the step taken last; ``dominance.affinity`` reads it.

        Measure before ``optimizer.step()`` and store after it: both then stand at the step that they are about. Each Z
        of task i on task j becomes a metric called j of the task i, under the split "affinity".

        Raises:
            RecordingFailed: no step has been recorded yet, so there is no step that it could be about.
        """
        if self._sink.writer is None:
            raise RecordingFailed("log_affinity before the first recorded step", fix="call it after optimizer.step()")
        for task, others in affinity.items():
            self._watch.log(task, AFFINITY, told(others, {}))

    def evaluation(self, registered: Evaluation) -> None:
        """Keep the directions of the metrics; ``dominance.evaluate`` calls it."""
        self._evaluation = registered

    def epoch(self, n: int) -> None:
        """Say which epoch the steps from now on belong to."""
        self._watch.recording.epoch = n

    @property
    def failure(self) -> str | None:
        """Why the recording ended before the training; None: it did not."""
        return self._watch.failure

    def flush(self) -> None:
        """Return when every finished step is on disk. Call it between two training steps."""
        self._watch.settle()
        if self._sink.writer is not None:
            self._sink.writer.flush()

    def close(self) -> None:
        """Take the hooks away and end the run. Safe to call twice; leaving the ``with`` block does it too."""
        self._end("complete")

    def _end(self, ended: str) -> None:
        if not self._open:
            return
        self._open = False
        try:
            self._close(ended)
        finally:
            if self._sink.lock is not None:
                self._sink.lock.release()

    def _close(self, ended: str) -> None:
        deactivate(self._watch)
        hear_no_more(self)
        self._watch.stop(whole=ended == "complete")
        failure = self._watch.failure
        recording = self._watch.recording
        attrs: dict[str, Any] = {}
        if failure is not None:
            attrs["failure"] = failure
        if self._evaluation is not None and self._sink.writer is not None:
            attrs |= self._evaluation.attributes(self._sink.writer.tasks)
        close(recording, ended=ended, complete=ended == "complete" and failure is None, **attrs)
        for line in self._sink.sent():
            self._say(line)


def _kind(thing: object) -> str:
    return f"the class {thing.__name__}, not an instance" if isinstance(thing, type) else f"a {type(thing).__name__}"
