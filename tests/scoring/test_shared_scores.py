"""Machines that share catalog and store: a patient is scored once, by any of them, and each opens the report."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from patients import store_patches
from s3 import Killed
from stored import new_store

from bcd.errors import UnavailableError
from bcd.patches import Hospital, PatientId
from bcd.scoring.export.scored import find_scored_patient
from bcd.scoring.options import ScoreOptions
from bcd.scoring.score import patients_to_score, score_patient
from bcd.scoring.shadow import list_agreements, list_unshadowed, remove_shadow, score_in_shadow
from bcd.settings import Settings
from bcd.store.bucket import Bucket
from bcd.store.copies import follow_changes
from bcd.store.ledger import list_ledger
from bcd.store.store import Store, open_store

EAST, PATIENT = Hospital("east"), PatientId("1001")
OPTIONS = ScoreOptions()


@pytest.fixture
def stores(machines: tuple[Settings, Settings], make_patches, forgetful: None) -> Iterator[tuple[Store, Store]]:
    """The store as each machine opens it, with one patient."""
    with new_store(machines[0]) as one, open_store(machines[1]) as other:
        store_patches(one, *make_patches([(0, 0), (1, 0), (2, 1)], labels=[0, 1, 0]))
        yield one, other


def score(store: Store, bundle):
    return score_patient(store, bundle, EAST, PATIENT, OPTIONS)


def test_a_patient_whom_one_machine_scored_has_the_report_on_another(stores, bundle) -> None:
    one, other = stores
    mine = score(one, bundle)
    assert patients_to_score(other, bundle, OPTIONS) == []
    theirs = score(other, bundle)
    assert theirs.skipped
    assert bundle.calls == 1
    assert theirs.report.read_bytes() == mine.report.read_bytes()
    assert theirs.report.is_relative_to(other.settings.home)
    assert theirs.pictures[0].heatmap.read_bytes() == mine.pictures[0].heatmap.read_bytes()
    assert find_scored_patient(other, EAST, PATIENT, OPTIONS).scores.equals(
        find_scored_patient(one, EAST, PATIENT, OPTIONS).scores
    )


def test_scores_that_cannot_be_put_are_no_scores_yet(stores, bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = stores

    def refuse(*_: object) -> None:
        raise UnavailableError("The store is away.", "Wait.")

    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "upload", refuse)
        with pytest.raises(UnavailableError, match=r"1001.*away"):
            score(one, bundle)
    assert [entry.status for entry in list_ledger(one)] == ["failed"]
    assert patients_to_score(one, bundle, OPTIONS) == patients_to_score(other, bundle, OPTIONS) == [(EAST, PATIENT)]
    assert not score(one, bundle).skipped
    assert bundle.calls == 1  # what lay there whole was put
    assert score(other, bundle).skipped


def test_a_process_that_was_killed_before_the_ledger_knew_leaves_the_rest_to_any_machine(
    stores, bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = stores

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("bcd.scoring.score.is_scoring_recorded", die)
        with pytest.raises(Killed):
            score(one, bundle)
    assert patients_to_score(other, bundle, OPTIONS) == [(EAST, PATIENT)]
    score(other, bundle)
    assert bundle.calls == 1
    assert [entry.status for entry in list_ledger(one)] == ["scored"]


def test_shadows_are_seen_and_removed_everywhere(stores, bundle) -> None:
    one, other = stores
    challenger = type(bundle)(name="bcd-idc/8")
    score(one, bundle)
    assert list_unshadowed(other, bundle, "bcd-idc/8", OPTIONS) == [(EAST, PATIENT)]
    agreement = score_in_shadow(other, bundle, challenger, EAST, PATIENT, OPTIONS)
    assert list_agreements(one, "bcd-idc/8") == [agreement]
    assert list_unshadowed(one, bundle, "bcd-idc/8", OPTIONS) == []
    remove_shadow(one.settings, "bcd-idc/8")
    follow_changes(other.settings)
    assert list_agreements(one, "bcd-idc/8") == list_agreements(other, "bcd-idc/8") == []
