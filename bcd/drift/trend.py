"""The trend: how the deliveries of each hospital compare with a bundle's patients, one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from bcd.drift.delivery import read_state
from bcd.drift.measure import PICTURE
from bcd.drift.state import DELIVERY_RATE, DELIVERY_SHIFT, FINE, NOT_COMPARED, UNTRUSTED, UNUSUAL, Drift
from bcd.formats import format_signed
from bcd.patches import Hospital
from bcd.store.delivery_queries import list_batches
from bcd.store.drift import list_drift

if TYPE_CHECKING:
    from pathlib import Path

    from bcd.store.store import Store

HEADER = ("hospital", "delivery", "admitted", "patients", "drift", "p", "farthest in", "shift")
"""The columns of the trend as a table."""


@dataclass(frozen=True)
class TrendRow:
    """One delivery.

    Attributes:
        hospital: Where it came from.
        delivery: The delivery's id.
        name: What it is called.
        admitted_at: When it was admitted, in UTC.
        step: Which delivery of its hospital it is, from 1.
        state: What was found.
    """

    hospital: Hospital
    delivery: str
    name: str
    admitted_at: datetime
    step: int
    state: Drift

    @property
    def statistic(self) -> str:
        """The statistic of pictures that lies farthest off; empty where nothing was compared."""
        shifts = {name: abs(shift) for name, shift in self.state.shifts.items() if name in PICTURE}
        return max(shifts, key=lambda name: shifts[name], default="")

    @property
    def shift(self) -> float | None:
        """How far it lies off, in standard deviations of a patient; None where nothing was compared."""
        return self.state.shifts.get(self.statistic)

    def cells(self) -> tuple[str, ...]:
        """Returns the row of a table under `HEADER`."""
        return (
            self.hospital,
            self.name,
            f"{self.admitted_at:%Y-%m-%d}",
            str(self.state.patients),
            self.state.title,
            "n/a" if self.state.p is None else f"{self.state.p:.3f}",
            PICTURE.get(self.statistic, "n/a"),
            "n/a" if self.shift is None else format_signed(self.shift, 2),
        )


def list_trend(store: Store, bundle: str) -> list[TrendRow]:
    """Returns the deliveries that were compared with a bundle's patients, by hospital in the order of admission."""
    records = {one.delivery: one for one in list_drift(store, bundle=bundle)}
    steps, rows = Counter[str](), list[TrendRow]()
    for each in list_batches(store):
        if each.id not in records:
            continue
        steps[each.hospital] += 1
        rows.append(
            TrendRow(
                hospital=each.hospital,
                delivery=each.id,
                name=each.name,
                admitted_at=each.admitted_at,
                step=steps[each.hospital],
                state=read_state(records[each.id]),
            )
        )
    return sorted(rows, key=lambda row: (row.hospital, row.step))


def draw_trend(rows: Sequence[TrendRow], bundle: str, path: Path) -> None:
    """Draws how far the deliveries of each hospital lie off, one after the other."""
    from bcd.charts import BLUE, GREEN, MUTED, ORANGE, PURPLE, page

    looks = {FINE: (BLUE, "o"), UNUSUAL: (PURPLE, "s"), UNTRUSTED: (ORANGE, "D"), NOT_COMPARED: (MUTED, "x")}
    hospitals = list(dict.fromkeys(row.hospital for row in rows))
    note = f"{len(rows)} deliveries of {len(hospitals)} hospitals, compared with the patients of {bundle}"
    with page(path, title="Drift of deliveries", note=note, size=(7.6, 3.4)) as figure:
        axes = figure.subplots()
        told = f"not trusted from here, if p of the pictures ≤ {DELIVERY_RATE / 2:g}"
        axes.axhline(DELIVERY_SHIFT, color=GREEN, linewidth=1, linestyle="--", label=told)
        for hospital in hospitals:
            mine = [row for row in rows if row.hospital == hospital]
            axes.plot([row.step for row in mine], [abs(row.shift or 0) for row in mine], color=MUTED, linewidth=0.8)
            axes.annotate(
                hospital, (mine[-1].step, abs(mine[-1].shift or 0)), xytext=(6, 0), textcoords="offset points"
            )
        for level, (colour, marker) in looks.items():
            found = [row for row in rows if row.state.level == level]
            if found:
                places = [row.step for row in found], [abs(row.shift or 0) for row in found]
                axes.plot(*places, linestyle="", marker=marker, color=colour, label=level)
        axes.set_xlabel("delivery of the hospital")
        axes.set_ylabel("farthest statistic of pictures,\nstandard deviations of a patient")
        axes.set_ylim(bottom=0)
        axes.set_xticks(range(1, 1 + max(row.step for row in rows)))
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.22), ncols=4, borderaxespad=0)
