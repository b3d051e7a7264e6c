"""Decisions about versions: every look at the gate patients and every word of a person, appended and never edited."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from bcd.patches import SnapshotId
from bcd.store import tables
from bcd.store.catalog import retry_while_database_away
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

Kind = Literal["gate", "forced", "rollback", "approval", "adopted", "recheck", "look"]

LOOKS: tuple[Kind, ...] = ("gate", "recheck", "look")
"""The kinds for which gate patients were looked at."""


@dataclass(frozen=True)
class Decision:
    """One decision.

    Attributes:
        key: Names the decision; the same key is the same one.
        decided_at: When, in UTC.
        verdict: PROMOTE, HOLD or REJECT; LOOK, where gate patients were looked at and nothing was decided.
        challenger: Version of the model that it is about.
        champion: Version that it was compared with, or takes the place of; None where there was none.
        snapshot: The snapshot whose gate patients were read, or that the challenger was trained on.
        reasons: Why, in sentences.
        evidence: The figures, as JSON values.
        kind: `gate`: the rule decided; `forced`, `rollback`, `approval`, `adopted`: a person; `recheck`: the champion
            on new patients; `look`: a comparison on gate patients.
        sign_off: Who decided, and why; None where no person did.
    """

    key: str
    decided_at: datetime
    verdict: str
    challenger: str
    champion: str | None
    snapshot: SnapshotId
    reasons: list[str]
    evidence: dict[str, Any]
    kind: Kind = "gate"
    sign_off: SignOff | None = None

    @property
    def by(self) -> str:
        """Who decided: a person, or `the gate`."""
        return "the gate" if self.sign_off is None else self.sign_off.by

    @property
    def awaits_approval(self) -> bool:
        """Whether the gate left the last word to a person."""
        return self.kind == "gate" and bool(self.evidence.get("awaits_approval"))

    @property
    def level(self) -> float:
        """What its look spent of the gate's budget (`bcd.gate.budget`); 0 where it spent nothing."""
        return float(self.evidence.get("level", 0.0))

    @property
    def anchor(self) -> str | None:
        """The version that is anchor from this decision on; None where it was not known (`bcd.gate.anchor`)."""
        known = self.evidence.get("anchor")
        return None if known is None else str(known["version"])

    @property
    def promotes(self) -> bool:
        """Whether the champion becomes another one by it."""
        return self.verdict == "PROMOTE" and self.kind not in {"recheck", "look"} and not self.awaits_approval


def store_decision(store: Store, decision: Decision) -> None:
    """Appends a decision; the same key twice changes nothing."""
    table = tables.gate_decisions

    def append() -> None:
        with store.write() as connection:
            if connection.execute(sa.select(table.c.number).where(table.c.key == decision.key)).first() is None:
                connection.execute(sa.insert(table).values(_decision_as_row(decision)))

    retry_while_database_away(append)


def list_stored_decisions(store: Store) -> list[Decision]:
    """Returns all decisions, oldest first."""
    query = sa.select(tables.gate_decisions).order_by(tables.gate_decisions.c.number)
    return [_decision_of_row(row._mapping) for row in store.rows(query)]


def find_stored_decision(store: Store, key: str) -> Decision | None:
    """Returns the decision of this key, or None."""
    query = sa.select(tables.gate_decisions).where(tables.gate_decisions.c.key == key)
    return next((_decision_of_row(row._mapping) for row in store.rows(query)), None)


def list_stored_looks(store: Store, gate_digest: str) -> list[Decision]:
    """Returns the decisions for which these very gate patients were looked at before, oldest first."""
    # By hand rather than in SQL: JSON is asked otherwise on SQLite and PostgreSQL, and there are few.
    decisions = list_stored_decisions(store)
    return [one for one in decisions if one.kind in LOOKS and one.evidence["gate_digest"] == gate_digest]


def _decision_as_row(decision: Decision) -> dict[str, Any]:
    sign_off = decision.sign_off
    signed = {"by": "", "reason": ""} if sign_off is None else {"by": sign_off.by, "reason": sign_off.reason}
    return {name: value for name, value in vars(decision).items() if name != "sign_off"} | signed


def _decision_of_row(row: sa.RowMapping) -> Decision:
    values = {name: value for name, value in row.items() if name not in {"number", "by", "reason"}}
    sign_off = SignOff(row["by"], row["reason"], row["decided_at"]) if row["by"] else None
    return Decision(**values, sign_off=sign_off)
