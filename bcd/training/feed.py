"""The batches of an epoch, gathered by a thread while the device computes, with the time spent waiting for them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Batch = TypeVar("Batch")

AHEAD = 2
"""Batches that are gathered before they are asked for."""


class Feed(Generic[Batch]):
    """Batches, in order, each gathered before it is needed where that is possible.

    Args:
        gather: Makes a batch of the rows that it is to hold.
        chosen: The rows of every batch.

    Attributes:
        waited: Seconds that whoever iterates has waited for batches.
    """

    def __init__(self, gather: Callable[[NDArray[np.int64]], Batch], chosen: Sequence[NDArray[np.int64]]) -> None:
        self._gather, self._chosen = gather, chosen
        self.waited = 0.0

    def __iter__(self) -> Iterator[Batch]:
        waiting = iter(self._chosen)
        with ThreadPoolExecutor(1, thread_name_prefix="feed") as reader:
            ahead = deque(reader.submit(self._gather, rows) for rows in islice(waiting, AHEAD))
            while ahead:
                started = time.perf_counter()
                batch = ahead.popleft().result()
                self.waited += time.perf_counter() - started
                if (rows := next(waiting, None)) is not None:
                    ahead.append(reader.submit(self._gather, rows))
                yield batch
