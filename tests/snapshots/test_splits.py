from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bcd.errors import NotFoundError
from bcd.patches import Hospital, PatientId
from bcd.snapshots.splits import (
    SPLITS,
    SplitOptions,
    deal_patients,
    deal_splits,
    pick_split_below_share,
    published_list,
    reserve_patients_for_train,
    split_of,
    suggest_protocol,
)
from bcd.store import tables
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

HELD_OUT = SplitOptions(protocol="leave-one-hospital-out", held_out="west")

# Batches of patients, each patient in one of them.
BATCHES = st.lists(
    st.tuples(st.sampled_from(["east", "west"]), st.text("0123456789abcDEF-", min_size=1, max_size=6)),
    unique=True,
    max_size=60,
).flatmap(
    lambda patients: st.lists(st.integers(0, max(len(patients), 1)), max_size=4).map(
        lambda cuts: [
            patients[start:end] for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(patients)], strict=True)
        ]
    )
)

SHARES = {"train": 0.5, "val": 0.15, "gate": 0.15, "test": 0.2}


def _recorded(store: Store, protocol: str = "dealt") -> dict[str, str]:
    query = sa.select(tables.splits.c.patient, tables.splits.c.split).where(tables.splits.c.protocol == protocol)
    with store.read() as connection:
        return {row.patient: row.split for row in connection.execute(query)}


@given(
    st.lists(st.integers(1, 100), min_size=2, max_size=5).map(
        lambda parts: {f"split {i}": part / sum(parts) for i, part in enumerate(parts)}
    ),
    st.integers(1, 400),
)
def test_every_split_stays_within_one_patient_of_its_share(shares: dict[str, float], patients: int) -> None:
    counts: Counter[str] = Counter()
    for _ in range(patients):
        counts[pick_split_below_share(shares, counts)] += 1
    for split, share in shares.items():
        assert abs(counts[split] - share * patients) < len(shares) - 1 + 1e-6


@given(BATCHES, st.sampled_from(["dealt", "cruz-roa-2014-dev", "leave-one-hospital-out"]), st.text("ab", min_size=1))
def test_dealt_patients_approach_the_shares_under_every_protocol(batches, protocol: Any, key: str) -> None:
    options = SplitOptions(protocol=protocol, key=key, held_out="west")
    dealt = deal_patients(batches, options, {})
    assert sorted(patient for patient, _ in dealt) == sorted(patient for batch in batches for patient in batch)
    shares = SHARES if protocol == "dealt" else {"train": 0.7, "val": 0.15, "gate": 0.15}
    counts = Counter(
        split for (hospital, _), split in dealt if protocol != "leave-one-hospital-out" or hospital == "east"
    )
    for split, share in shares.items():
        assert abs(counts[split] - share * counts.total()) < len(shares) - 1 + 1e-6


@given(BATCHES, st.randoms(use_true_random=False))
def test_the_order_within_a_batch_is_of_no_weight(batches, random) -> None:
    shuffled = [random.sample(batch, len(batch)) for batch in batches]
    assert deal_patients(shuffled, HELD_OUT, {}) == deal_patients(batches, HELD_OUT, {})


@given(BATCHES, st.integers(0, 4))
def test_what_comes_later_moves_nobody(batches, known: int) -> None:
    before = deal_patients(batches[:known], SplitOptions(), {})
    counts = Counter(split for _, split in before)
    later = deal_patients(batches[known:], SplitOptions(), counts)
    assert before + later == deal_patients(batches, SplitOptions(), {})


def test_a_hospital_of_five_patients_fills_every_split(store: Store, store_batch) -> None:
    store_batch(["1", "2", "3", "4", "5"])
    assert deal_splits(store, SplitOptions()) == 5
    assert set(_recorded(store).values()) == set(SPLITS)


def test_a_patient_is_dealt_once_and_later_batches_inherit(store: Store, store_batch) -> None:
    store_batch([str(number) for number in range(20)])
    deal_splits(store, SplitOptions())
    before = _recorded(store)
    store_batch([str(number) for number in range(100, 130)])
    deal_splits(store, SplitOptions(train=0.7, test=0.1, val=0.1, gate=0.1, key="another"))
    after = _recorded(store)
    assert {patient: after[patient] for patient in before} == before
    assert len(after) == 50
    assert deal_splits(store, SplitOptions()) == 0


def test_dealing_after_each_batch_or_after_both_gives_the_same(store: Store, store_batch, tmp_path) -> None:
    store_batch([str(number) for number in range(13)])
    deal_splits(store, SplitOptions())
    store_batch([str(number) for number in range(20, 37)])
    deal_splits(store, SplitOptions())
    step_by_step = _recorded(store)
    with store.write() as connection:
        connection.execute(sa.delete(tables.splits))
    deal_splits(store, SplitOptions())
    assert _recorded(store) == step_by_step


def test_order_within_a_batch_is_by_keyed_hash_not_by_name(store: Store, store_batch) -> None:
    store_batch([f"{number:03d}" for number in range(40)])
    deal_splits(store, SplitOptions())
    first_key = _recorded(store)
    with store.write() as connection:
        connection.execute(sa.delete(tables.splits))
    deal_splits(store, SplitOptions(key="another"))
    assert _recorded(store) != first_key
    assert (
        Counter(_recorded(store).values())
        == Counter(first_key.values())
        == {s: round(40 * SHARES[s]) for s in SPLITS}
    )


def test_a_patient_without_labels_waits_for_them(store: Store, store_batch) -> None:
    store_batch(["labelled"])
    store_batch(["unlabelled"], labels=(None,))
    deal_splits(store, SplitOptions())
    assert split_of(store, "dealt", Hospital("east"), PatientId("unlabelled")) is None
    assert split_of(store, "dealt", Hospital("east"), PatientId("labelled")) == "train"


def test_the_catalog_records_what_was_dealt_whatever_the_database(store: Store, store_batch) -> None:
    batches = [[f"{letter}{i}" for i in range(12) for letter in "aB-"], ["A", "b", "a"]]
    for batch in batches:
        store_batch(batch)
    deal_splits(store, SplitOptions())
    keyed = [[(Hospital("east"), PatientId(patient)) for patient in batch] for batch in batches]
    assert _recorded(store) == {patient: split for (_, patient), split in deal_patients(keyed, SplitOptions(), {})}


def test_a_withdrawn_patient_takes_no_seat(store: Store, store_batch) -> None:
    store_batch(["1", "2"])
    row = {"hospital": "east", "patient": "1", **vars(SignOff("a test", "a letter"))}
    with store.write() as connection:
        connection.execute(sa.insert(tables.withdrawn).values(row))
    deal_splits(store, SplitOptions())
    assert _recorded(store) == {"2": "train"}


def test_a_patient_whose_every_patch_is_in_doubt_waits(store: Store, store_batch) -> None:
    store_batch(["1", "2"], labels=(0,))
    with store.write() as connection:
        delivery = connection.scalars(sa.select(tables.deliveries.c.id)).first()
        cell = {"hospital": "east", "patient": "1", "slide": "5", "x": 1, "y": 51, "rule": "two-labels"}
        doubt = {"delivery": delivery, "message": "", "found_at": datetime.now(UTC)}
        connection.execute(sa.insert(tables.conflicts).values(cell | doubt))
    assert deal_splits(store, SplitOptions()) == 1
    with store.write() as connection:
        connection.execute(sa.delete(tables.conflicts))
    assert deal_splits(store, SplitOptions()) == 1


def test_one_hospital_is_held_out_and_the_others_are_dealt(store: Store, store_batch) -> None:
    for hospital in ("east", "west", "north"):
        store_batch([f"{hospital}{i}" for i in range(10)], hospital=hospital)
    assert deal_splits(store, HELD_OUT) == 30
    recorded = _recorded(store, "leave-one-hospital-out:west")
    assert {patient for patient, split in recorded.items() if split == "test"} == {f"west{i}" for i in range(10)}
    assert Counter(recorded.values()) == {"train": 14, "val": 3, "gate": 3, "test": 10}


def test_each_hospital_held_out_is_a_protocol_of_its_own(store: Store, store_batch) -> None:
    store_batch(["1"], hospital="east")
    store_batch(["2"], hospital="west")
    deal_splits(store, HELD_OUT)
    deal_splits(store, HELD_OUT.model_copy(update={"held_out": "east"}))
    assert _recorded(store, "leave-one-hospital-out:west") == {"1": "train", "2": "test"}
    assert _recorded(store, "leave-one-hospital-out:east") == {"1": "test", "2": "train"}


def test_a_hospital_of_a_long_name_can_be_held_out(store: Store, store_batch) -> None:
    names = ["h" * 50, "h" * 49 + "i"]  # with the protocol, longer than the catalog takes
    options = [SplitOptions(protocol="leave-one-hospital-out", held_out=name) for name in names]
    for name, each in zip(names, options, strict=True):
        store_batch(["1"], hospital=name)
        deal_splits(store, each)
    assert len({each.recorded_as for each in options}) == 2
    assert split_of(store, options[0].recorded_as, Hospital(names[0]), PatientId("1")) == "test"


def test_an_unknown_hospital_is_not_held_out(store: Store, store_batch) -> None:
    store_batch(["1"], hospital="east")
    with pytest.raises(NotFoundError, match=r"\bwest\b.*\beast\b"):
        deal_splits(store, HELD_OUT)
    assert _recorded(store, HELD_OUT.recorded_as) == {}


def test_leaving_one_hospital_out_needs_its_name() -> None:
    with pytest.raises(ValidationError, match="held_out"):
        SplitOptions(protocol="leave-one-hospital-out")


def test_the_published_lists_are_complete_and_apart() -> None:
    lists = [published_list(name) for name in ("train", "val", "test")]
    assert [len(one) for one in lists] == [84, 29, 49]
    assert len(frozenset.union(*lists)) == 162


def test_the_published_protocol_follows_its_lists(store: Store, store_batch) -> None:
    store_batch(["8865", "8867", "8864", "unlisted"])
    deal_splits(store, SplitOptions(protocol="cruz-roa-2014"))
    assert _recorded(store, "cruz-roa-2014") == {"8865": "train", "8867": "val", "8864": "test", "unlisted": "gate"}


def test_the_development_protocol_tests_on_published_val_and_excludes_published_test(
    store: Store, store_batch
) -> None:
    store_batch([*sorted(published_list("train")), "8867", "8864", *(f"unlisted{i}" for i in range(16))])
    deal_splits(store, SplitOptions(protocol="cruz-roa-2014-dev"))
    recorded = _recorded(store, "cruz-roa-2014-dev")
    assert (recorded["8867"], recorded["8864"]) == ("test", "excluded")
    assert Counter(recorded.values()) == {"train": 70, "val": 15, "gate": 15, "test": 1, "excluded": 1}


def test_protocols_do_not_touch_each_other(store: Store, store_batch) -> None:
    store_batch(["8867"])
    deal_splits(store, SplitOptions(protocol="cruz-roa-2014"))
    deal_splits(store, SplitOptions())
    assert _recorded(store, "cruz-roa-2014") == {"8867": "val"}
    assert _recorded(store) == {"8867": "train"}


def test_the_public_set_is_recognised_by_its_val_patients_and_the_whole_of_it_by_its_test_patients_too() -> None:
    val, test = sorted(published_list("val")), sorted(published_list("test"))
    assert suggest_protocol([*val, *test[:10]]) == "cruz-roa-2014"
    assert suggest_protocol([*val[:10], *test[:9]]) == "cruz-roa-2014-dev"
    assert suggest_protocol([*val[:9], "other"]) == "dealt"


def test_shares_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"\b1\.1\b"):
        SplitOptions(train=0.6)


def test_a_patient_whose_label_a_model_asked_for_trains_or_is_kept_out() -> None:
    batch = [(Hospital("east" if number % 2 else "west"), PatientId(str(number))) for number in range(40)]
    asked = batch[:30]
    dealt = dict(deal_patients([batch], SplitOptions(), {}, asked=asked))
    assert {dealt[patient] for patient in asked} == {"train"}
    assert {dealt[patient] for patient in batch[30:]} == {"val", "gate", "test"}  # train has its share
    dealt = dict(deal_patients([batch], HELD_OUT, {}, asked=asked))
    assert {dealt[patient] for patient in asked if patient[0] == "east"} == {"train"}
    assert {dealt[patient] for patient in asked if patient[0] == "west"} == {"excluded"}


def test_an_answer_makes_a_patient_train_under_every_later_protocol(store: Store, store_batch) -> None:
    store_batch([str(number) for number in range(30)])
    cell = {"hospital": "east", "slide": "5", "x": 1, "y": 51, "label": 1, "asked": True}
    rows = [{**cell, "patient": str(number), **vars(SignOff("Dr Lee", "the queue"))} for number in range(15)]
    with store.write() as connection:
        connection.execute(sa.insert(tables.label_revisions), rows)
    deal_splits(store, SplitOptions())
    assert {_recorded(store)[str(number)] for number in range(15)} == {"train"}


def test_patients_set_apart_take_a_seat_only_with_their_first_label(store: Store, store_batch) -> None:
    store_batch([f"n{number}" for number in range(60)], labels=(None,))
    reserved = reserve_patients_for_train(store, SplitOptions())
    assert 15 <= reserved <= 45
    assert reserve_patients_for_train(store, SplitOptions()) == 0
    store_batch([str(number) for number in range(20)])
    deal_splits(store, SplitOptions())
    counts = Counter(split for patient, split in _recorded(store).items() if not patient.startswith("n"))
    assert counts == {"train": 10, "val": 3, "gate": 3, "test": 4}


def test_who_is_set_apart_under_a_list_is_who_it_has_in_train(store: Store, store_batch) -> None:
    train, test = min(published_list("train")), min(published_list("test"))
    store_batch([train, test, "7"], labels=(None,))
    assert reserve_patients_for_train(store, SplitOptions(protocol="cruz-roa-2014")) == 1
    assert _recorded(store, "cruz-roa-2014") == {train: "train"}
