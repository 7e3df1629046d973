"""``dominance record``: the recording of one unmodified script."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from dominance.config import RecordOptions
from dominance.errors import NothingRecorded, RunExists
from dominance.record.evaluation import Evaluation, hear_no_more, listen
from dominance.record.script.claim import PathClaim
from dominance.record.script.logged import Logged
from dominance.record.script.memory import peak_memory
from dominance.record.script.models import free_path, remove_models
from dominance.schema import MODEL_NUMBER, MODEL_OF
from dominance.store.first_look import check_replaceable, check_resumable
from dominance.store.lock import RunLock, left_by_another, occupied

if TYPE_CHECKING:
    from dominance.record.evaluated import EvaluatedLosses
    from dominance.record.parameters import ParameterTable
    from dominance.record.probes import NoiseProbe
    from dominance.record.recording import Recording
    from dominance.record.script.children import Children
    from dominance.record.step_recorder import StepRecorder
    from dominance.record.tasks.named import Observer

_TRANSFORMED = (
    "gradients were taken inside a transform (torch.func.grad, vmap), where tasks cannot be told: "
    "use torch.autograd.grad or backward() outside of it"
)


class Beside(Protocol):
    """What works beside the recording of a script."""

    def stop(self) -> None:
        """The script has ended."""


@dataclass(frozen=True)
class SessionResult:
    """What a session leaves behind."""

    steps: dict[Path, int]
    """Recorded steps of each run, in the order of the models that the script trained."""
    message: str | None
    """Something the user should know: why recording stopped early, which hooks were kept quiet."""
    elsewhere: bool = False
    """Whether another process of the training writes the run, and says all there is to say."""


class ScriptSession:
    """Records whatever trains in this process. Importing it loads no torch; ``start`` is called when the script has.

    Args:
        path: the run directory.
        options: what to record.
        script: the file or module.
        argv: the script's own command line.
        force: replace a run that is there.
        resume: go on with a run that is there.
        attrs: what else the run is to say of itself.
        beside: starts what works beside the recording, like a method, as soon as that stands.
        first: the run directory of the first process of a training, where this is another.
        flags: with which the command line would record in the same way; None: it would not.
    """

    def __init__(
        self,
        path: Path,
        options: RecordOptions,
        *,
        script: str,
        argv: list[str],
        force: bool,
        resume: bool,
        attrs: Mapping[str, Any] | None = None,
        beside: Callable[[StepRecorder], Beside | None] | None = None,
        first: Path | None = None,
        flags: Sequence[str] | None = None,
    ) -> None:
        self.path = path
        self.claim: PathClaim | None = None
        """To the run directory, once it has been looked at."""
        self._first = path if first is None else first
        self._flags = flags
        self._children: Children | None = None
        self._options = options
        self._script = script
        self._argv = argv
        self._force = force
        self._resume = resume
        self._attrs = dict(attrs or {})
        self._start_beside = beside
        self._beside: Beside | None = None
        self._logged = Logged()
        self._evaluated: EvaluatedLosses | None = None
        self._began = time.monotonic()
        self._listens()
        self._watch: StepRecorder | None = None
        self._deactivate: Callable[[Observer], None] | None = None
        self._evaluation: Evaluation | None = None
        self._table: ParameterTable | None = None
        self._listening = False
        self._lock: RunLock | None = None

    def listen(self, took: float | None = None) -> None:
        """From now on, until ``finish``, hear of ``dominance.evaluate``; no torch is needed yet.

        Args:
            took: seconds of CPU that the recording has taken to come here; None: all that the process has.
        """
        listen(self)
        self._listening = True
        self._logged.listen()
        self._listens(took)

    def _listens(self, took: float | None = None) -> None:
        """The script is about to begin."""
        self._before = time.process_time() if took is None else took
        """What it has taken to come here: imports, which wait for nothing."""
        self._script_began = time.perf_counter()

    def evaluation(self, registered: Evaluation) -> None:
        """How the script's model is evaluated; see ``dominance.evaluate``."""
        self._evaluation = registered

    def check_output(self) -> None:
        """Make the run directory and lock it, before the script starts.

        Raises:
            RunExists: the output is there and neither flag was given, or is no run; or another process writes it.
            BadOption: it cannot be made or written; or the run that is to go on was recorded with other options.
            CorruptRun: the run that is to go on cannot be read.
        """
        if self._first != self.path and left_by_another(self._first):
            # The first process ends by this: the others would wait for it in their first collective.
            self._check(self._first)
        if occupied(self.path):
            self._check(self.path)
        self._lock = RunLock(self.path)
        if self._force:
            remove_models(self.path)
        self.claim = PathClaim.of(self.path, force=self._force, resume=self._resume)

    def _check(self, path: Path) -> None:
        """Make sure that what is there may be replaced, or gone on with, as asked."""
        if not (self._force or self._resume):
            raise RunExists(
                f"{path} exists", fix="give --force to replace it, --resume to go on with it, or another -o"
            )
        if self._force:
            check_replaceable(path)
        else:
            exact, attribution = self._options.exact, self._options.attribution
            check_resumable(path, exact=exact, attribution=attribution, records=self._options.records)

    def start(self) -> None:
        """Install the hooks; torch is imported by now."""
        came = time.perf_counter()
        from dominance.record.parameters import ParameterTable
        from dominance.record.step_recorder import StepRecorder
        from dominance.record.tasks.named import activate, deactivate
        from dominance.record.write.sink import Sink, note

        main = getattr(sys.modules.get("__main__"), "__file__", None)
        attrs = {"recorded_by": "dominance record", "script": self._script, "argv": self._argv, "script_path": main}
        attrs |= self._attrs
        sink = Sink(self.path, self._options, attrs, overwrite=self._force, resume=self._resume, lock=self._lock)
        say = (lambda text: None) if self._options.quiet else note

        models = [self.path]

        def another(number: int) -> Sink:
            """The sink of one more model: its run lies beside the first."""
            models.append(free_path(self.path, number))
            told = {**attrs, MODEL_NUMBER: number, MODEL_OF: [path.name for path in models]}
            return Sink(models[-1], self._options, told, overwrite=False, resume=False)

        table = ParameterTable(keep=bool(self._options.probe))
        watch = StepRecorder(self._options, sink, table, say, another=another)
        watch.start()
        activate(watch)
        self._watch = watch
        self._logged.start(watch)
        if not self._options.training_only:
            from dominance.record.evaluated import EvaluatedLosses

            self._evaluated = EvaluatedLosses(watch)
            self._evaluated.start()
        if self._flags is not None:
            from dominance.record.script.children import Children

            self._children = Children(self.path, self._flags)
        # Held, because a script may forget modules: imported anew, they would know of no recording.
        self._deactivate = deactivate
        if self._start_beside is not None:
            self._beside = self._start_beside(watch)
        watch.recording.overhead.started(
            self._before + time.perf_counter() - came, began=self._script_began - self._before
        )

    def give_way(self) -> None:
        """Let another process of the script take the run directory, as long as there is no row of this one."""
        assert self._watch is not None
        sink = self._watch.models.all[0].sink
        if not sink.laid_out and self._lock is not None and self.claim is not None:
            sink.lock, sink.place = None, self.claim.take
            self._lock.release()

    def so_far(self) -> tuple[int, int]:
        """How many training steps were taken, and how many of them are recorded; another thread may ask."""
        watch = self._watch
        every = [] if watch is None else [*watch.models.over, *watch.models.all]
        return sum(each.step.number for each in every), sum(each.books.kept for each in every)

    def finish(self, status: Literal["complete", "failed", "interrupted"]) -> SessionResult:
        """Take the hooks away and close the run."""
        try:
            return self._finish(status)
        finally:
            if self._lock is not None:
                self._lock.release()

    def _finish(self, status: Literal["complete", "failed", "interrupted"]) -> SessionResult:
        if self._listening:
            self._listening = False
            hear_no_more(self)
        watch, self._watch = self._watch, None
        if watch is None:
            self._logged.stop()
            return SessionResult({}, None)
        self._stop(watch, whole=status == "complete")
        from dominance.record.messages import close

        attrs: dict[str, Any] = {} if watch.failure is None else {"failure": watch.failure}
        attrs |= {"seconds": time.monotonic() - self._began, "peak_memory": peak_memory()}
        for recording in watch.models.all:
            said = self._metrics(recording)
            close(recording, ended=status, complete=status == "complete" and watch.failure is None, **attrs, **said)
        if self._options.probe:
            self._table = watch.recording.table
        every = [*watch.models.over, *watch.models.all]
        for line in (line for recording in every for line in recording.sink.sent()):
            watch.recording.say(line)
        if any(recording.sink.silent for recording in every):
            return SessionResult({}, None, elsewhere=True)
        kept = {recording.sink.path: recording.books.kept for recording in every if recording.books.kept}
        taken = self.claim is not None and self.claim.taken
        if taken and not kept and watch.failure is None and not watch.hooks.kept_quiet:
            return SessionResult({}, None, elsewhere=True)
        return SessionResult(kept, self._left_out(watch, every, bool(kept)))

    def _stop(self, watch: StepRecorder, *, whole: bool) -> None:
        """Take all away that stands around the training."""
        if self._children is not None:
            self._children.stop()
        if self._beside is not None:
            self._beside.stop()
        if self._deactivate is not None:
            self._deactivate(watch)
        watch.stop(whole=whole)
        self._logged.stop()
        if self._evaluated is not None:
            self._evaluated.stop()

    @staticmethod
    def _left_out(watch: StepRecorder, every: Sequence[Recording], kept: bool) -> str | None:
        """What is to be said of steps or of gradients that are not in the run."""
        if watch.failure is not None and not kept:
            return "nothing was recorded: the recording stopped before the first step was over"
        if watch.hooks.kept_quiet:
            return (
                f"{watch.hooks.kept_quiet} calls of the script's gradient hooks were left out of the task gradients; "
                "a factor or a mask that one puts on gradients is found again, anything else is in the residual"
            )
        if not kept:
            steps = sum(recording.step.number for recording in every)
            reasons = [reason for recording in every for reason in recording.books.unrecorded]
            reasons += [recording.unfinished for recording in every if recording.unfinished is not None]
            if not steps and not reasons and watch.hooks.transformed:
                reasons = [_TRANSFORMED]
            if steps or reasons:
                counted = f" of {steps} steps that were taken" if steps else ""
                return f"nothing was recorded{counted}: {'; '.join(dict.fromkeys(reasons))}"
        return None

    def _metrics(self, recording: Recording) -> dict[str, Any]:
        """What the run is to say of its metrics: which direction is better, where that is known."""
        directions: dict[str, dict[str, str]] = {}
        if self._evaluation is not None and recording.sink.writer is not None:
            directions = self._evaluation.attributes(recording.sink.writer.tasks).get("metrics", {})
        if self._evaluated is not None:
            for task, known in self._evaluated.directions(recording).items():
                directions[task] = {**directions.get(task, {}), **known}
        return {"metrics": directions} if directions else {}

    def noise_probe(self) -> NoiseProbe:
        """A probe of the model that was recorded; after ``finish``.

        Raises:
            NothingRecorded: the script did not say how its model is evaluated.
        """
        if self._evaluation is None or self._table is None:
            raise NothingRecorded(
                "the script does not say how its model is evaluated", fix="call dominance.evaluate(fn) in it"
            )
        if self._table.in_pieces:
            raise NothingRecorded("no process has the whole of a sharded model", fix="leave --probe away")
        from dominance.record.probes import NoiseProbe
        from dominance.record.probes.restore import LiveModel

        return NoiseProbe.of(LiveModel.recorded(self._table), self._evaluation)
