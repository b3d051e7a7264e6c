"""Gate decisions: every look at the gate split and what was decided, appended and never edited."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from bcd.patches import SnapshotId
from bcd.store import tables
from bcd.store.catalog import Catalog

_COLUMNS = [column for column in tables.gate_decisions.c if column.name != "number"]


@dataclass(frozen=True)
class Decision:
    """One decision of the gate.

    Attributes:
        key: Names the look; the same key is the same decision.
        decided_at: When, in UTC.
        verdict: PROMOTE, HOLD or REJECT.
        challenger: Version of the model that was judged.
        champion: Version that it was compared with; None where there was none.
        snapshot: The snapshot whose gate patients were read.
        reasons: Why, in sentences.
        evidence: The figures, as JSON values.
    """

    key: str
    decided_at: datetime
    verdict: str
    challenger: str
    champion: str | None
    snapshot: SnapshotId
    reasons: list[str]
    evidence: dict[str, Any]


def record_decision(catalog: Catalog, decision: Decision) -> None:
    """Appends a decision; the same key twice changes nothing."""
    table = tables.gate_decisions
    with catalog.write() as connection:
        if connection.execute(sa.select(table.c.number).where(table.c.key == decision.key)).first() is None:
            connection.execute(sa.insert(table).values(**vars(decision)))


def list_decisions(catalog: Catalog) -> list[Decision]:
    """Returns all decisions, oldest first."""
    query = sa.select(*_COLUMNS).order_by(tables.gate_decisions.c.number)
    with catalog.engine.connect() as connection:
        return [Decision(**row) for row in connection.execute(query).mappings()]


def find_decision(catalog: Catalog, key: str) -> Decision | None:
    """Returns the decision of this key, or None."""
    query = sa.select(*_COLUMNS).where(tables.gate_decisions.c.key == key)
    with catalog.engine.connect() as connection:
        row = connection.execute(query).mappings().one_or_none()
    return None if row is None else Decision(**row)
