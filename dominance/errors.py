"""The exceptions of dominance. Each says what went wrong and where, in one line, and carries the fix."""

from __future__ import annotations


class DominanceError(Exception):
    """A mistake that the user can mend: the command line prints it as one line and exits with 2.

    Args:
        message: what went wrong, and where.
        fix: what to do about it: a command, an option, or a line of code.
    """

    def __init__(self, message: str, *, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}; {self.fix}" if self.fix else self.message


class NotARun(DominanceError, ValueError):
    """The path is no run directory, or there is nothing there."""


class SchemaTooNew(DominanceError):
    """The run was written by a newer dominance than this one."""


class RunExists(DominanceError):
    """The output is already there, and neither overwriting nor resuming was asked for."""


class Unreachable(DominanceError):
    """The store in which a run lies does not answer, lets nobody in, or needs a package that is not installed."""


class CorruptRun(DominanceError):
    """A checksum does not match, or an array is shorter than the steps it claims to hold."""


class BadOption(DominanceError, ValueError):
    """An option, argument, environment variable or configuration entry has a value that cannot be used."""


class BadScript(DominanceError):
    """The script or module to record does not exist or cannot be read."""


class NothingRecorded(DominanceError):
    """The run holds no recorded step, or not the quantity that the analysis needs."""


class RecordingFailed(DominanceError):
    """The recorder could not go on; the training it watched was not touched."""


class ProbeFailed(DominanceError):
    """A probe could not be made: what evaluates the model raised, or did not return what it should."""


class TrainingFailed(DominanceError):
    """A training came to a loss or a gradient that is not finite, or its method found no weights."""


class MissingData(DominanceError):
    """A package or file that a benchmark reads is not there."""


class BadData(DominanceError):
    """A data file is not what it should be: which one, which row, and what is wrong."""


class SolverFailed(DominanceError):
    """The small problem that gives the tasks' weights has no solution, or was not solved."""
