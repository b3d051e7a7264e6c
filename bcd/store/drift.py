"""How deliveries compare with the patients of a bundle, as it was found; append-only, the latest counts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from bcd.patches import Hospital
from bcd.store import tables
from bcd.store.store import Store

Stage = Literal["admission", "scoring"]

_COLUMNS = [column for column in tables.drift.c if column.name != "number"]


@dataclass(frozen=True)
class DriftRecord:
    """One comparison of a delivery.

    Attributes:
        delivery: The delivery's id.
        hospital: Where it came from.
        bundle: Whose patients it was compared with, such as `bcd-idc/3`.
        stage: `admission`: pictures alone; `scoring`: scores too.
        level: What was found, in a word.
        state: All that was found, as JSON values; see `bcd.drift.state.Drift`.
        at: When, in UTC.
    """

    delivery: str
    hospital: Hospital
    bundle: str
    stage: Stage
    level: str
    state: dict[str, Any]
    at: datetime

    @property
    def is_trusted(self) -> bool:
        """Whether scores of the delivery may be relied on, as far as pictures tell."""
        return self.level != "not to be trusted"

    @property
    def title(self) -> str:
        """The level, and that the hospital is foreign to the bundle."""
        return f"{self.level}, foreign hospital" if self.state["foreign"] else self.level


def record_drift(store: Store, record: DriftRecord) -> None:
    """Appends a comparison."""
    with store.write() as connection:
        connection.execute(sa.insert(tables.drift).values(**vars(record)))


def list_drift(store: Store, *, delivery: str | None = None, bundle: str | None = None) -> list[DriftRecord]:
    """Returns the latest comparison of each delivery with each bundle, oldest delivery first.

    Args:
        store: The open store.
        delivery: Only this one's.
        bundle: Only those with this one's patients.
    """
    column = tables.drift.c
    query = sa.select(*_COLUMNS).order_by(column.number)
    if delivery is not None:
        query = query.where(column.delivery == delivery)
    if bundle is not None:
        query = query.where(column.bundle == bundle)
    found = [DriftRecord(**row._mapping) for row in store.rows(query)]
    return list({(one.delivery, one.bundle): one for one in found}.values())


def find_drift(store: Store, delivery: str) -> DriftRecord | None:
    """Returns the latest comparison of a delivery, with whatever bundle; None: it was not compared."""
    column = tables.drift.c
    query = sa.select(*_COLUMNS).where(column.delivery == delivery).order_by(column.number.desc()).limit(1)
    return next((DriftRecord(**row._mapping) for row in store.rows(query)), None)
