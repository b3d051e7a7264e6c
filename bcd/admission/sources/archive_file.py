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
        if start < 0 or start + length > ahead.length:
            if length > PIECE:
                piece = bytearray(length)
                return bytes(memoryview(piece)[: self._fill(piece, place, length)])
            ahead.length = 0  # whatever becomes of the next piece, the old one is gone
            ahead.length = self._fill(ahead.piece, place, length)
            ahead.place, start = place, 0
        return bytes(ahead.view[start : start + length])

    def pieces(self, length: int, place: int) -> Iterator[bytes]:
        """Yields `length` bytes from `place`, piece by piece."""
        for start in range(place, place + length, PIECE):
            yield self.read(min(PIECE, place + length - start), start)

    def _fill(self, piece: bytearray, place: int, wanted: int) -> int:
        """Fills a piece from `place`, with `wanted` bytes at least, and returns how many they are."""
        try:
            length = os.preadv(self._descriptor, [piece], place)
        except OSError as error:
            raise UnreadableFileError(error.strerror or str(error)) from error
        except OverflowError as error:
            raise UnreadableFileError("its place is beyond 63 bits") from error
        if length < wanted:
            raise UnreadableFileError("the archive ends before it does")
        return length


class _Ahead(threading.local):
    """The piece of one thread: the same memory for each that is read, which else would come fresh from the system."""

    def __init__(self) -> None:
        self.piece = bytearray(PIECE)
        self.view = memoryview(self.piece)
        self.place = self.length = 0
