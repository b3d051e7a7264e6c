"""Who is asked about: train patients, and nobody by whom a model is evaluated."""

from __future__ import annotations

import pandas as pd
import pytest
import sqlalchemy as sa

from bcd.errors import (
    BcdError,
    DamagedError,
    InsufficientEvidenceError,
    LeakageError,
    NotFoundError,
    UnavailableError,
)
from bcd.review.gather import gather_labelled, gather_unlabelled
from bcd.snapshots.freeze import freeze_snapshot
from bcd.snapshots.options import SplitOptions
from bcd.store import tables
from bcd.store.sign_off import SignOff
from bcd.store.store import Store
from bcd.store.withdrawals import record_withdrawal

NUMBERS = [str(number) for number in range(100, 140)]


def splits_of(store: Store) -> dict[str, str]:
    columns = tables.splits.c
    with store.read() as connection:
        return dict(connection.execute(sa.select(columns.patient, columns.split)).tuples().all())


def deal(store: Store) -> dict[str, str]:
    freeze_snapshot(store, SplitOptions())
    return splits_of(store)


def people(patches: pd.DataFrame) -> set[str]:
    return set(patches["patient"])


def test_only_train_patients_are_asked_about_however_hard_the_others_are(store: Store, admit) -> None:
    admit(NUMBERS, [0.5, 0.5], labels=[1, None])
    admit(["a"], [0.9, 0.9], labels=[0, None])  # labelled, and dealt by no retraining so far
    dealt = deal(store)
    admit(["late"], [0.5, 0.5], labels=[1, None])
    found = gather_unlabelled(store)
    assert set(dealt.values()) == {"train", "val", "gate", "test"}
    assert people(found.patches) == {patient for patient, split in dealt.items() if split == "train"}
    assert found.patches["label"].isna().all()
    evaluated = sum(split != "train" for split in dealt.values())
    assert sorted(found.left_out.values()) == sorted([evaluated, 1, 42])


def test_a_patient_of_an_evaluation_split_under_another_protocol_is_not_asked_about(store: Store, admit) -> None:
    admit(NUMBERS, [0.5, 0.5], labels=[1, None])
    dealt = deal(store)
    train = sorted(patient for patient, split in dealt.items() if split == "train")
    row = {"protocol": "leave-one-hospital-out:east", "hospital": "east", "patient": train[0], "split": "test"}
    with store.write() as connection:
        connection.execute(sa.insert(tables.splits).values(row))
    assert people(gather_unlabelled(store).patches) == set(train[1:])


def test_whom_nobody_labelled_a_coin_sets_apart_and_not_the_scores(store: Store, admit) -> None:
    admit(NUMBERS[:20], [0.5])
    admit(NUMBERS[20:], [0.999])
    first = gather_unlabelled(store)
    reserved = splits_of(store)
    assert set(reserved.values()) == {"train"}
    assert people(first.patches) == set(reserved)
    assert 8 <= len(reserved) <= 32  # the share of train is one half
    assert set(reserved) & set(NUMBERS[20:])
    with store.write() as connection:
        connection.execute(sa.delete(tables.splits))
    scores = list(store.settings.scores.glob("east/*/*/scores.parquet"))
    for path in scores:
        pd.read_parquet(path).assign(probability=0.01).to_parquet(path)
    gather_unlabelled(store)
    assert splits_of(store) == reserved


def test_withdrawn_patients_are_not_asked_about(store: Store, admit) -> None:
    admit(NUMBERS, [0.5])
    chosen = people(gather_unlabelled(store).patches)
    gone = min(chosen)
    record_withdrawal(store, gone, hospital="east", sign_off=SignOff("Mary", "a letter"))
    assert people(gather_unlabelled(store).patches) == chosen - {gone}


def test_scores_of_another_bundle_than_the_champion_choose_nothing(store: Store, admit) -> None:
    admit(NUMBERS, [0.5], bundle="bcd-idc/1")
    with pytest.raises(BcdError, match="bcd score"):
        gather_unlabelled(store)


def test_suspicious_labels_are_of_train_patients_by_a_model_that_never_saw_them(store: Store, admit) -> None:
    admit(NUMBERS, [0.99, 0.2], labels=[0, 0])
    dealt = deal(store)
    found = gather_labelled(store)
    assert people(found.patches) == {patient for patient, split in dealt.items() if split == "train"}
    assert found.patches["x"].unique().tolist() == [1]
    assert list(found.left_out.values()) == [len(found.patches)]


def test_a_patient_whom_the_newest_model_saw_has_the_scores_of_an_older_one(store: Store, admit, keep) -> None:
    scores = admit(["20"], [0.9], labels=[0], hospital="h1")  # trained on by the second version, not by the first
    with store.write() as connection:
        row = {"protocol": "dealt", "hospital": "h1", "patient": "20", "split": "train"}
        connection.execute(sa.insert(tables.splits).values(row))
    with pytest.raises(InsufficientEvidenceError):
        gather_labelled(store)
    keep(scores.assign(probability=0.7), "bcd-idc/1")
    found = gather_labelled(store).patches
    assert (found["bundle"].tolist(), found["probability"].tolist()) == (["bcd-idc/1"], [0.7])


@pytest.mark.parametrize(
    ("met", "told"),
    [
        (NotFoundError, InsufficientEvidenceError),
        (DamagedError, InsufficientEvidenceError),
        (UnavailableError, UnavailableError),
        (LeakageError, LeakageError),
    ],
)
def test_only_a_model_whose_snapshot_is_gone_is_passed_over(
    store: Store, admit, monkeypatch: pytest.MonkeyPatch, met: type[BcdError], told: type[BcdError]
) -> None:
    admit(NUMBERS, [0.99], labels=[0])
    deal(store)

    def fail(*_: object) -> None:
        raise met("It is so.", "Do this.")

    monkeypatch.setattr("bcd.snapshots.freeze.load_snapshot", fail)
    with pytest.raises(told):
        gather_labelled(store)
