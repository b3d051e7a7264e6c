"""`bcd status` names who could not be scored, with reason and attempts, until a later success."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from stored import new_store

from bcd.patches import Hospital, PatientId
from bcd.settings import Settings
from bcd.store.ledger import LedgerEntry, record_in_ledger


def test_who_could_not_be_scored_is_shown_until_a_success(settings: Settings, bcd) -> None:
    store, begun = new_store(settings), datetime(2026, 1, 2, tzinfo=UTC)

    def enter(status, minutes, error=None) -> None:
        at = begun + timedelta(minutes=minutes)
        named = (Hospital("east"), PatientId("1001"), "bcd-idc/7", "c")
        record_in_ledger(store, LedgerEntry(*named, status, at, "scores/east/1001/bcd-idc-7-c", error))

    for minutes in (0, 2):
        enter("started", minutes)
        enter("failed", minutes + 1, "OSError: No space left on device")
    (failing,) = json.loads(bcd("status", "--json")[1])["failing"]
    assert (failing["patient"], failing["attempts"]) == ("1001", 2)
    assert failing["error"] == "OSError: No space left on device"
    shown = bcd("status")[1]
    assert "east/1001" in shown
    assert "OSError" in shown

    enter("started", 4)
    enter("scored", 5)
    facts = json.loads(bcd("status", "--json")[1])
    assert facts["failing"] == []
    assert [each["status"] for each in facts["scores"]] == ["scored", "failed", "failed"]
