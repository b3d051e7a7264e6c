"""The bytes of an archive, read by their place in it by several threads at once.

They are read ahead rather than mapped into memory: an archive that shrinks meanwhile, or whose disk fails, is then an
error and not the end of the process. Each thread has its own piece, since a chunk of members is read by one thread.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

from bcd.admission.sources.source import UnreadableFileError

PIECE = 256 << 10
"""Bytes that are read ahead, about forty patches, and pieces in which a large member is copied."""


class ArchiveFile:
    """An open file that threads may share.

    Args:
        descriptor: Its file descriptor, which stays its owner's to close.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._ahead = _Ahead()

    def read(self, length: int, place: int) -> bytes:
        """Reads exactly `length` bytes from `place`.

        Raises:
            UnreadableFileError: The archive ends before that, or cannot be read.
        """
        ahead = self._ahead
        start = place - ahead.place
        if start < 0 or start + length > len(ahead.data):
            if length > PIECE:
                return self._checked(self._pread(length, place), length)
            ahead.data = b""  # the old piece goes before the new one comes
            ahead.data, ahead.place, start = self._pread(PIECE, place), place, 0
        return self._checked(ahead.data[start : start + length], length)

    def pieces(self, length: int, place: int) -> Iterator[bytes]:
        """Yields `length` bytes from `place`, piece by piece."""
        for start in range(place, place + length, PIECE):
            yield self.read(min(PIECE, place + length - start), start)

    def _pread(self, length: int, place: int) -> bytes:
        try:
            return os.pread(self._descriptor, length, place)
        except OSError as error:
            raise UnreadableFileError(error.strerror or str(error)) from error
        except OverflowError as error:
            raise UnreadableFileError("its place is beyond 63 bits") from error

    @staticmethod
    def _checked(data: bytes, length: int) -> bytes:
        if len(data) != length:
            raise UnreadableFileError("the archive ends before it does")
        return data


class _Ahead(threading.local):
    place = 0
    data = b""
