from __future__ import annotations

from collections import Counter

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bcd.patches import Hospital, PatientId
from bcd.store import tables
from bcd.store.catalog import Catalog
from bcd.store.splits import (
    SPLITS,
    SplitOptions,
    deal_splits,
    furthest_below,
    published_list,
    split_of,
    suggest_protocol,
)

SHARES = {"train": 0.5, "val": 0.15, "gate": 0.15, "test": 0.2}


def _recorded(catalog: Catalog, protocol: str = "dealt") -> dict[str, str]:
    query = sa.select(tables.splits.c.patient, tables.splits.c.split).where(tables.splits.c.protocol == protocol)
    with catalog.engine.connect() as connection:
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
        counts[furthest_below(shares, counts)] += 1
    for split, share in shares.items():
        assert abs(counts[split] - share * patients) < len(shares) - 1 + 1e-6


def test_a_hospital_of_five_patients_fills_every_split(catalog: Catalog, store_batch) -> None:
    store_batch(["1", "2", "3", "4", "5"])
    assert deal_splits(catalog, SplitOptions()) == 5
    assert set(_recorded(catalog).values()) == set(SPLITS)


def test_a_patient_is_dealt_once_and_later_batches_inherit(catalog: Catalog, store_batch) -> None:
    store_batch([str(number) for number in range(20)])
    deal_splits(catalog, SplitOptions())
    before = _recorded(catalog)
    store_batch([str(number) for number in range(100, 130)])
    deal_splits(catalog, SplitOptions(train=0.7, test=0.1, val=0.1, gate=0.1, key="another"))
    after = _recorded(catalog)
    assert {patient: after[patient] for patient in before} == before
    assert len(after) == 50
    assert deal_splits(catalog, SplitOptions()) == 0


def test_dealing_after_each_batch_or_after_both_gives_the_same(catalog: Catalog, store_batch, tmp_path) -> None:
    store_batch([str(number) for number in range(13)])
    deal_splits(catalog, SplitOptions())
    store_batch([str(number) for number in range(20, 37)])
    deal_splits(catalog, SplitOptions())
    step_by_step = _recorded(catalog)
    with catalog.write() as connection:
        connection.execute(sa.delete(tables.splits))
    deal_splits(catalog, SplitOptions())
    assert _recorded(catalog) == step_by_step


def test_order_within_a_batch_is_by_keyed_hash_not_by_name(catalog: Catalog, store_batch) -> None:
    store_batch([f"{number:03d}" for number in range(40)])
    deal_splits(catalog, SplitOptions())
    first_key = _recorded(catalog)
    with catalog.write() as connection:
        connection.execute(sa.delete(tables.splits))
    deal_splits(catalog, SplitOptions(key="another"))
    assert _recorded(catalog) != first_key
    assert (
        Counter(_recorded(catalog).values())
        == Counter(first_key.values())
        == {s: round(40 * SHARES[s]) for s in SPLITS}
    )


def test_a_patient_without_labels_waits_for_them(catalog: Catalog, store_batch) -> None:
    store_batch(["labelled"])
    store_batch(["unlabelled"], labels=(None,))
    deal_splits(catalog, SplitOptions())
    assert split_of(catalog, "dealt", Hospital("east"), PatientId("unlabelled")) is None
    assert split_of(catalog, "dealt", Hospital("east"), PatientId("labelled")) == "train"


def test_the_published_lists_are_complete_and_apart() -> None:
    lists = [published_list(name) for name in ("train", "val", "test")]
    assert [len(one) for one in lists] == [84, 29, 49]
    assert len(frozenset.union(*lists)) == 162


def test_the_published_protocol_follows_its_lists(catalog: Catalog, store_batch) -> None:
    store_batch(["8865", "8867", "8864", "unlisted"])
    deal_splits(catalog, SplitOptions(protocol="cruz-roa-2014"))
    assert _recorded(catalog, "cruz-roa-2014") == {"8865": "train", "8867": "val", "8864": "test", "unlisted": "gate"}


def test_the_development_protocol_tests_on_published_val_and_excludes_published_test(
    catalog: Catalog, store_batch
) -> None:
    store_batch([*sorted(published_list("train")), "8867", "8864", *(f"unlisted{i}" for i in range(16))])
    deal_splits(catalog, SplitOptions(protocol="cruz-roa-2014-dev"))
    recorded = _recorded(catalog, "cruz-roa-2014-dev")
    assert (recorded["8867"], recorded["8864"]) == ("test", "excluded")
    assert Counter(recorded.values()) == {"train": 70, "val": 15, "gate": 15, "test": 1, "excluded": 1}


def test_protocols_do_not_touch_each_other(catalog: Catalog, store_batch) -> None:
    store_batch(["8867"])
    deal_splits(catalog, SplitOptions(protocol="cruz-roa-2014"))
    deal_splits(catalog, SplitOptions())
    assert _recorded(catalog, "cruz-roa-2014") == {"8867": "val"}
    assert _recorded(catalog) == {"8867": "train"}


def test_the_public_set_is_recognised_by_its_val_patients() -> None:
    val = sorted(published_list("val"))
    assert suggest_protocol(val[:10]) == "cruz-roa-2014-dev"
    assert suggest_protocol([*val[:9], "other"]) == "dealt"


def test_shares_that_do_not_sum_to_one_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"sum to 1\.1"):
        SplitOptions(train=0.6)
