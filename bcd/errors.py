"""Errors that a user can fix: each names the thing, what is wrong with it, and what to do."""

from __future__ import annotations


class BcdError(Exception):
    """A condition that the user can fix; the command prints it without a traceback and exits with 2.

    Args:
        what: What is wrong, naming the file, patient, split or setting.
        fix: What to do about it, as an instruction.
    """

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what, fix)  # both in args, so that the error survives pickling between processes
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what} {self.fix}"


class UnavailableError(BcdError):
    """Nothing is wrong with what was asked: a disk, the database or the delivery is not to be had right now."""


class InsufficientEvidenceError(BcdError):
    """A split has too few patients, or one class only, for what was asked of it."""


class NotFoundError(BcdError):
    """Nothing, or more than one thing, has the name that was given: a patient, snapshot, version, file, choice."""


class DamagedError(BcdError):
    """A file that bcd wrote is missing, or is not what was written."""


class WithdrawnError(BcdError):
    """A patient has withdrawn, so that nothing is done any more with what is stored of them."""


class LeakageError(BcdError):
    """A patient, or its pixels, that a model learned from would also evaluate it, or that cannot be ruled out."""
