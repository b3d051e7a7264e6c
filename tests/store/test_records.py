from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

from bcd.drift.state import UNTRUSTED
from bcd.patches import Hospital, PatientId, SnapshotId
from bcd.store.decisions import (
    Decision,
    find_stored_decision,
    list_stored_decisions,
    list_stored_looks,
    store_decision,
)
from bcd.store.drift import DriftRecord, find_drift, list_drift, record_drift
from bcd.store.ledger import LedgerEntry, find_in_ledger, list_ledger, record_in_ledger
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

DECISION = Decision(
    key="retrain-1",
    decided_at=datetime(2026, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=2))),
    verdict="HOLD",
    challenger="2",
    champion="1",
    snapshot=SnapshotId("ab" * 32),
    reasons=["Recall is lower by 0.05."],
    evidence={"auroc": {"value": 0.9, "low": None}},
)
ENTRY = LedgerEntry(
    hospital=Hospital("east"),
    patient=PatientId("8867"),
    bundle="bcd-idc/3",
    content="c1",
    status="scored",
    at=datetime(2026, 1, 2, tzinfo=UTC),
    folder="scores/east/8867/bcd-idc-3",
)


def test_a_decision_comes_back_as_it_was_made(store: Store) -> None:
    store_decision(store, DECISION)
    assert find_stored_decision(store, "retrain-1") == DECISION
    assert find_stored_decision(store, "retrain-2") is None


def test_the_same_key_twice_changes_nothing(store: Store) -> None:
    store_decision(store, DECISION)
    store_decision(store, replace(DECISION, verdict="PROMOTE"))
    store_decision(store, replace(DECISION, key="retrain-2", champion=None))
    assert [decision.verdict for decision in list_stored_decisions(store)] == ["HOLD", "HOLD"]
    assert [decision.key for decision in list_stored_decisions(store)] == ["retrain-1", "retrain-2"]


def test_a_score_is_found_by_patient_bundle_and_content(store: Store) -> None:
    record_in_ledger(store, ENTRY)
    found = find_in_ledger(store, ENTRY.hospital, ENTRY.patient, "bcd-idc/3", "c1")
    assert found == ENTRY
    assert find_in_ledger(store, ENTRY.hospital, ENTRY.patient, "bcd-idc/4", "c1") is None
    assert find_in_ledger(store, ENTRY.hospital, ENTRY.patient, "bcd-idc/3", "c2") is None
    assert find_in_ledger(store, Hospital("west"), ENTRY.patient, "bcd-idc/3", "c1") is None


def test_a_failed_attempt_is_listed_and_is_no_score(store: Store) -> None:
    record_in_ledger(store, replace(ENTRY, status="failed", error="No space left."))
    assert find_in_ledger(store, ENTRY.hospital, ENTRY.patient, "bcd-idc/3", "c1") is None
    record_in_ledger(store, ENTRY)
    assert [entry.status for entry in list_ledger(store)] == ["scored", "failed"]
    assert len(list_ledger(store, limit=1)) == 1


def test_a_person_s_decision_keeps_name_reason_and_kind(store: Store) -> None:
    forced = replace(
        DECISION, key="forced", kind="forced", sign_off=SignOff("Dr Lee", "the audit"), verdict="PROMOTE"
    )
    store_decision(store, DECISION)
    store_decision(store, forced)
    assert list_stored_decisions(store) == [DECISION, forced]
    assert (DECISION.kind, DECISION.by, forced.by) == ("gate", "the gate", "Dr Lee")
    assert forced.promotes
    assert not replace(forced, kind="recheck").promotes


def test_earlier_looks_at_the_same_gate_patients_are_found(store: Store) -> None:
    seen = replace(DECISION, evidence={"gate_digest": "d"})
    store_decision(store, seen)
    store_decision(store, replace(seen, key="other", evidence={"gate_digest": "e"}))
    store_decision(store, replace(seen, key="word", kind="forced"))
    store_decision(store, replace(seen, key="again", kind="recheck"))
    assert [look.key for look in list_stored_looks(store, "d")] == ["retrain-1", "again"]


def test_of_several_comparisons_of_a_delivery_with_a_bundle_the_latest_counts(store: Store) -> None:
    def found(delivery: str, bundle: str, level: str, *, foreign: bool | None = False) -> DriftRecord:
        state = {"reasons": ["r"], "foreign": foreign, "shifts": {"tissue": 0.5}}
        return DriftRecord(
            delivery, Hospital("east"), bundle, "admission", level, state, datetime(2026, 1, 2, tzinfo=UTC)
        )

    first, again = found("d1", "bcd-idc/3", "fine"), found("d1", "bcd-idc/3", UNTRUSTED)
    other, newer = found("d2", "bcd-idc/3", "fine", foreign=True), found("d1", "bcd-idc/4", "unusual")
    for record in (first, other, again, newer):
        record_drift(store, record)
    assert list_drift(store, bundle="bcd-idc/3") == [again, other]
    assert list_drift(store, delivery="d1") == [again, newer]
    assert find_drift(store, "d1") == newer
    assert find_drift(store, "d3") is None
    assert [again.is_trusted, newer.is_trusted] == [False, True]
    assert other.title == "fine, foreign hospital"
