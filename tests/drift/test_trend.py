"""The trend: the deliveries of each hospital, one after the other, as a table and as a picture."""

from __future__ import annotations

from pathlib import Path

import cv2

from bcd.drift.delivery import compare_delivery
from bcd.drift.state import UNTRUSTED, Known
from bcd.drift.trend import HEADER, draw_trend, list_trend
from bcd.store.store import Store

BUNDLE = "bcd-idc/7"


def test_deliveries_stand_by_hospital_in_their_order_and_only_those_that_were_compared(
    store: Store, deliver, painted: Known, tmp_path: Path
) -> None:
    for name, hospital, light in (("b", "east", 0), ("a", "east", -30), ("c", "west", 0)):
        compare_delivery(store, BUNDLE, painted, deliver(name, hospital=hospital, light=light, seed=5))
    deliver("later", seed=6)
    rows = list_trend(store, BUNDLE)
    assert [(row.hospital, row.name, row.step) for row in rows] == [
        ("east", "b", 1),
        ("east", "a", 2),
        ("west", "c", 1),
    ]
    assert [row.state.level for row in rows] == ["fine", UNTRUSTED, "fine"]
    assert rows[1].shift is not None
    assert abs(rows[1].shift) == max(abs(shift) for shift in rows[1].state.shifts.values())
    cells = dict(zip(HEADER, rows[2].cells(), strict=True))
    assert (cells["drift"], cells["patients"]) == ("fine, foreign hospital", "10")
    draw_trend(rows, BUNDLE, tmp_path / "drift.png")
    assert cv2.imread(str(tmp_path / "drift.png")).shape[1] > 1000
    assert list_trend(store, "bcd-idc/8") == []


def test_a_delivery_that_was_not_compared_with_anybody_has_no_shift(store: Store, deliver) -> None:
    compare_delivery(store, BUNDLE, None, deliver("b"))
    [row] = list_trend(store, BUNDLE)
    assert (row.statistic, row.shift, row.cells()[5:]) == ("", None, ("n/a", "n/a", "n/a"))
