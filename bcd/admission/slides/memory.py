"""Memory that a thread uses again."""

from __future__ import annotations

import math
import threading
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Kind = TypeVar("Kind", np.uint32, np.float32)


class ThreadMemory(threading.local, Generic[Kind]):
    """Memory of each thread's own, used again: the system hands out new memory page by page, which takes its time.

    Args:
        kind: Of its values.
    """

    def __init__(self, kind: type[Kind]) -> None:
        self._memory: NDArray[Kind] = np.empty(0, kind)

    def take(self, *shape: int) -> NDArray[Kind]:
        """Returns an array of some shape and any values, which the thread's next call overwrites."""
        size = math.prod(shape)
        if self._memory.size < size:
            self._memory = np.empty(size, self._memory.dtype)
        return self._memory[:size].reshape(shape)
