"""A script that runs under recording, and what is said of it in the end."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from dominance.errors import BadOption
from dominance_cli import stderr
from dominance_cli.rundir import Latest

if TYPE_CHECKING:
    from dominance.config import RecordOptions
    from dominance.cure.applied import Applied
    from dominance.cure.choice import Choice
    from dominance.record.script.handing import Handing
    from dominance.record.script.running import Outcome, Prepared
    from dominance.record.script.session import ScriptSession
    from dominance.record.step_recorder import StepRecorder
    from dominance.record.write.mirrored import Mirrored


@dataclass
class RecordedScript:
    """A script that is ready to run. ``run`` is called once the option parser has left the stack."""

    prepared: Prepared
    args: list[str]
    path: Path
    default_path: bool
    options: RecordOptions
    force: bool
    resume: bool
    choice: Choice | None = None
    seed_run: int = 0
    first: Path | None = None
    """The run directory of the first process of a training, where this is another."""
    output: str | None = None
    """What was given for it, which may be an address."""
    mirrored: Mirrored | None = None
    """What keeps the run at that address."""

    def run(self) -> NoReturn:
        """Run the script under recording and leave the process as the script left.

        Raises:
            RunExists: the run directory is there already; nothing of the script has run.
            BadScript: there is no such module.
        """
        from dominance.record.launch import is_address, rank
        from dominance.record.script.beside import apart
        from dominance.record.script.ending import shielded

        if self.output is not None and is_address(self.output):
            from dominance.record.write.mirrored import Mirrored

            self.mirrored = Mirrored(self.output, replace=self.force)
            self.path, self.force = self.mirrored.path, False
        path = self.path.absolute()  # the script may change its folder
        session = self._session(path)
        session.check_output()
        session.listen()
        latest = Latest(path) if self.default_path and rank() == 0 else None
        ready = False

        def start() -> None:
            nonlocal ready
            if latest is not None and (message := latest.point()):
                self._note(message)
            with shielded():
                if self.seed_run:
                    from dominance.cure.seeds import move_torch

                    move_torch(self.seed_run)
                session.start()
                ready = True

        if self.seed_run:
            from dominance.cure.seeds import move_python

            move_python(self.seed_run)
        outcome: Outcome | None = None
        try:
            outcome = self.prepared.run(self.args, on_torch=start)
        finally:
            if outcome is None or not outcome.forked:
                with shielded(), apart():
                    self._finish(session, outcome, ready)
                if latest is not None and not path.exists():
                    latest.restore()
        outcome.leave()

    def _session(self, path: Path) -> ScriptSession:
        from dominance.record.script.session import ScriptSession

        argv = [*(["-m"] if self.prepared.module else []), self.prepared.target, *self.args]

        def beside(watch: StepRecorder) -> Applied | Handing | None:
            if self.choice is not None:
                return None if self.choice.as_it_is else self._apply(watch)
            return None if self.seed_run else self._hand_on(session, watch, argv)

        session = ScriptSession(
            path,
            self.options,
            script=self.prepared.target,
            argv=argv,
            force=self.force,
            resume=self.resume,
            attrs=self._attributes(),
            beside=beside,
            first=None if self.first is None else self.first.absolute(),
            flags=None if self.choice is not None else self._flags(),
        )
        return session

    def _flags(self) -> list[str]:
        """The flags of this recording, but where it goes, for another process of the same training."""
        from dominance.config import typed

        given = {"--force": self.force, "--resume": self.resume}
        seeds = ["--seed-run", str(self.seed_run)] if self.seed_run else []
        return [*typed(self.options), *seeds, *(flag for flag, wanted in given.items() if wanted)]

    def _attributes(self) -> dict[str, Any]:
        """What the run says of the command that recorded it."""
        from dominance.config import typed

        of_method = {} if self.choice is None else self.choice.attributes()
        told = typed(self.options, ("tasks", "columns", "groups"))
        return {**of_method, "seed_run": self.seed_run, "record_options": told}

    def _hand_on(self, session: ScriptSession, watch: StepRecorder, argv: list[str]) -> Handing | None:
        """Let processes that the script starts record, too."""
        from dominance.record.script.handing import Handing
        from dominance.record.script.spawned import Handed

        if session.claim is None:
            return None
        handed = Handed(
            self.options, session.claim, self.path, self.prepared.target, argv, self._attributes(), folder=sys.path[0]
        )
        return Handing(handed, watch, session.give_way)

    def _apply(self, watch: StepRecorder) -> Applied:
        """Begin to use the method."""
        from dominance.cure.applied import Applied

        assert self.choice is not None
        try:
            applied = Applied(
                self.choice, watch, say=self._note, error=stderr.error, tasks=self.options.tasks, seed=self.seed_run
            )
            applied.start()
        except BadOption as error:
            stderr.error(str(error))
            raise SystemExit(2) from None
        return applied

    def _finish(self, session: ScriptSession, outcome: Outcome | None, ready: bool) -> None:
        """Close the run and say what to type next."""
        from dominance.record.launch import rank
        from dominance.record.script.ending import next_command, runs_recorded, shielded

        try:
            result = session.finish(outcome.kind if outcome is not None else "failed")
        except KeyboardInterrupt:
            stderr.error("interrupted while the run was being written; what was written before can be read")
            return
        if result.elsewhere or (rank() and not result.steps):
            return
        if result.message:
            self._note(result.message)
        if result.steps:
            # As the user wrote it, not as it had to be held while the script may change its folder.
            runs = {self._as_written(path.name): steps for path, steps in result.steps.items()}
            for line in runs_recorded(runs):
                self._note(line)
            if self.options.probe:
                with shielded():
                    self._probe(session, outcome)
            if self.mirrored is not None:
                for line in self.mirrored.finish():
                    stderr.note(line)
            if not self.options.quiet:
                stderr.line(next_command(runs))
        elif outcome is not None and not outcome.torch:
            self._note("nothing was recorded: the script's own process never imported torch")
        elif outcome is not None and ready and not result.message and not (self.options.strict and outcome.code == 2):
            self._note("nothing was recorded: no training step was seen")

    def _as_written(self, name: str) -> str:
        """A run of this name beside the one that was asked for."""
        if self.mirrored is None:
            return str(self.path.with_name(name))
        return f"{self.mirrored.address.rpartition('/')[0]}/{name}"

    def _probe(self, session: ScriptSession, outcome: Outcome | None) -> None:
        """Probe the model while it lives."""
        from dominance_cli.probe import noise

        if outcome is None or outcome.kind != "complete":
            stderr.error("no noise probe: the script did not come to its end")
            return
        noise(session.path, session.noise_probe, quiet=self.options.quiet)

    def _note(self, text: str) -> None:
        if not self.options.quiet:
            stderr.note(text)
