"""Faults of the machine while a delivery is admitted: it is not to blame, and waits until they are fixed."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from bcd.errors import UnavailableError
from bcd.settings import Settings

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO})
_SHORT = frozenset({errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.EBUSY})
_AWAY = frozenset({errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN})

_NO_THREAD = "can't start new thread"


@contextmanager
def explain_machine_faults(settings: Settings) -> Iterator[None]:
    """Turns a fault of the machine into an error that a user can fix; what was written by then is removed.

    Raises:
        UnavailableError: A disk is full or forbidden, memory or a package is missing, or the database fails.
    """
    try:
        yield
    except (OSError, MemoryError, ImportError, RuntimeError, sa.exc.DBAPIError) as error:
        told = _tell_machine_fault(settings, error)
        if told is None:
            raise
        raise UnavailableError(*told) from error


def ran_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error says that there was no memory left."""
    if isinstance(error, UnavailableError):
        error = error.__cause__
    is_memory = isinstance(error, OSError) and error.errno == errno.ENOMEM
    return (
        is_memory or isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _NO_THREAD in str(error))
    )


def _tell_machine_fault(settings: Settings, error: Exception) -> tuple[str, str] | None:
    """Returns what is wrong with the machine and what to do; None where the error says nothing of the machine."""
    if ran_out_of_memory(error):
        return (
            "Memory ran out while the delivery was admitted: nothing of it is admitted.",
            "Free memory, or hand it over in parts. In the inbox it is tried three times, and then set aside.",
        )
    if isinstance(error, ImportError):
        return (
            f"The package {error.name or 'that is needed'} is missing: nothing of the delivery is admitted.",
            "Install bcd with the extra that needs it (`bcd doctor` says which) and run the same command again.",
        )
    if isinstance(error, sa.exc.DBAPIError) and not isinstance(error, sa.exc.IntegrityError | sa.exc.DataError):
        reason = str(error.orig).strip().rstrip(".")
        return (
            f"The catalog cannot be used ({reason}): nothing of the delivery is admitted.",
            "Fix the database and run the same command again.",
        )
    return _tell_disk(settings, error) if isinstance(error, OSError) else None


def _tell_disk(settings: Settings, error: OSError) -> tuple[str, str] | None:
    if error.errno in _FULL:
        return (
            f"The disk of {settings.home} is full: nothing of the delivery is admitted.",
            "Make room (`bcd model prune --keep 5 --dry-run` lists what may go) and run the same command again.",
        )
    if error.errno in _FORBIDDEN | _AWAY:
        return (
            f"The store cannot be written: {error.strerror} ({error.filename or settings.home}).",
            "Nothing of the delivery is admitted; fix the disk or its permissions and run the command again.",
        )
    if error.errno in _SHORT:
        return (
            f"The machine is short of what admission needs: {error.strerror}.",
            "Nothing of the delivery is admitted; end what takes it up and run the command again.",
        )
    return None
