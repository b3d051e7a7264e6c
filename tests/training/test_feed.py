"""The feed: all batches, in order, gathered ahead, and what waiting cost."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest

from bcd.training import feed
from bcd.training.feed import AHEAD, Feed


@pytest.mark.parametrize("n", [0, 1, AHEAD, AHEAD + 1, 9])
def test_all_batches_come_in_order(n: int) -> None:
    chosen = [np.array([i]) for i in range(n)]
    assert [int(batch[0]) for batch in Feed(lambda rows: rows * 10, chosen)] == [10 * i for i in range(n)]


def test_the_next_batches_are_gathered_while_one_is_used() -> None:
    gathered = [threading.Event() for _ in range(5)]

    def gather(rows: np.ndarray) -> int:
        gathered[rows[0]].set()
        return int(rows[0])

    for batch in Feed(gather, [np.array([i]) for i in range(5)]):
        for following in gathered[batch : batch + AHEAD + 1]:
            assert following.wait(10)


def test_waiting_is_counted_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(feed.time, "perf_counter", lambda: next(clock))  # type: ignore[attr-defined]  # every look at it takes a second
    batches = Feed(lambda rows: rows, [np.array([i]) for i in range(4)])
    assert len(list(batches)) == 4
    assert batches.waited == 4


def test_a_fault_of_gathering_is_raised_to_whoever_iterates() -> None:
    def gather(rows: np.ndarray) -> None:
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(Feed(gather, [np.array([0])]))
