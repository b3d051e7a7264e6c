"""The names of a delivery's files, close together: 48 bytes for a name of 39 characters, where a list takes 96."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, overload

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK = 4096
"""Names that are taken apart at a time."""


class MemberNames(Sequence[str]):
    """Names that are only ever appended, none of which holds a line end.

    Args:
        names: The first ones.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._text = bytearray()  # a line end before each
        self._ends = array("q", [0])
        self.extend(names)

    def extend(self, names: Iterable[str]) -> None:
        """Appends names."""
        left = iter(names)
        while block := list(islice(left, _BLOCK)):
            lines = "\n".join(["", *block])
            encoded = lines.encode()
            lengths = map(len, block if len(encoded) == len(lines) else [name.encode() for name in block])
            ends = self._ends[-1] + np.cumsum(np.fromiter(lengths, np.int64, len(block)) + 1)
            self._ends.frombytes(ends.tobytes())
            self._text += encoded

    def blocks(self) -> Iterator[tuple[int, list[str]]]:
        """Yields names, some at a time, and the place of the first of them."""
        for first in range(0, len(self), _BLOCK):
            yield first, self[first : first + _BLOCK]

    def lines(self) -> pa.LargeStringArray:
        """Returns the names as an array, a line end before each; none may be appended while that is in use."""
        import pyarrow as pa

        return pa.LargeStringArray.from_buffers(len(self), pa.py_buffer(self._ends), pa.py_buffer(self._text))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[str]:
        for _, names in self.blocks():
            yield from names

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if not isinstance(place, slice):
            place = range(len(self))[place]
            return self._text[self._ends[place] + 1 : self._ends[place + 1]].decode()
        start, stop, step = place.indices(len(self))
        if step != 1 or start >= stop:
            return [self[one] for one in range(start, stop, step)]
        return self._text[self._ends[start] + 1 : self._ends[stop]].decode().split("\n")


class ShownNames(Sequence[str]):
    """Names as they may be seen, each made when it is asked for.

    Args:
        names: As they were delivered.
        show: Makes of one what may be seen.
    """

    def __init__(self, names: Sequence[str], show: Callable[[str], str]) -> None:
        self._names, self._show = names, show

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return map(self._show, self._names)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        if isinstance(place, slice):
            return [self._show(name) for name in self._names[place]]
        return self._show(self._names[place])
