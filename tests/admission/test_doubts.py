"""What a later delivery says about patches that are admitted already."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa

from bcd.admission.admit import admit
from bcd.patches import Hospital, PatientId
from bcd.settings import Settings
from bcd.snapshots.freeze import freeze_snapshot
from bcd.snapshots.options import SplitOptions
from bcd.store import tables
from bcd.store.patients import list_stored_patches
from bcd.store.store import Store

EAST, WEST = Hospital("east"), Hospital("west")


def _bytes_of_batches(settings: Settings) -> dict[str, str]:
    files = [path for path in settings.batches.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _conflicts(store: Store) -> list[tuple[str, str, int, str]]:
    columns = tables.conflicts.c
    with store.read() as connection:
        query = sa.select(columns.hospital, columns.patient, columns.x, columns.rule).order_by(columns.number)
        return [tuple(row) for row in connection.execute(query)]


def test_another_label_for_the_same_pixels_marks_the_patch_and_leaves_its_batch_alone(
    store: Store, picture, as_zip
) -> None:
    files = {f"a_idx5_x{1 + 50 * place}_y1_class{place % 2}.png": picture(place) for place in range(4)}
    admit(store, as_zip(files), EAST)
    before = _bytes_of_batches(store.settings)
    assert len(freeze_snapshot(store, SplitOptions()).patches) == 4
    later = {
        "a_idx5_x1_y1_class1.png": picture(0),
        "a_idx5_x901_y1_class0.png": picture(1),
        "b_idx5_x1_y1.png": picture(9),
    }
    admission = admit(store, as_zip(later), EAST)
    assert (admission.admitted, admission.refused) == (1, {"two-labels": 2})
    assert _conflicts(store) == [("east", "a", 1, "two-labels"), ("east", "a", 51, "two-labels")]
    kept = freeze_snapshot(store, SplitOptions()).patches
    assert kept["x"].tolist() == [101, 151]
    assert _bytes_of_batches(store.settings).items() >= before.items()


def test_a_delivery_of_nothing_but_contradictions_marks_what_it_contradicts(store: Store, picture, as_zip) -> None:
    admit(store, as_zip({"a_idx5_x1_y1_class0.png": picture(1)}), EAST)
    admission = admit(store, as_zip({"a_idx5_x1_y1_class1.png": picture(1)}), EAST)
    assert (admission.batch, admission.admitted, admission.refused) == (None, 0, {"two-labels": 1})
    assert _conflicts(store) == [("east", "a", 1, "two-labels")]


def test_the_same_pixels_of_another_patient_mark_the_patch_that_was_first(store: Store, patch_files, as_zip) -> None:
    admit(store, as_zip(patch_files("a")), EAST)
    admission = admit(store, as_zip({**patch_files("b"), **patch_files("c", seed=700)}), WEST)
    assert (admission.admitted, admission.refused) == (4, {"two-patients": 4})
    assert {row[:2] + row[3:] for row in _conflicts(store)} == {("east", "a", "two-patients")}


def test_a_label_that_comes_with_the_patch_again_is_taken(store: Store, picture, as_zip) -> None:
    admit(store, as_zip({"a_idx5_x1_y1.png": picture(1), "a_idx5_x51_y1.png": picture(2)}), EAST)
    again = {"a_idx5_x1_y1_class1.png": picture(1), "a_idx5_x51_y1.png": picture(2)}
    admission = admit(store, as_zip(again), EAST)
    assert admission.refused == {"already-admitted": 2}
    assert list_stored_patches(store, EAST, PatientId("a"))["label"].tolist()[0] == 1
    with store.read() as connection:
        [revision] = connection.execute(sa.select(tables.label_revisions)).mappings()
    assert revision["by"] == "delivery delivery.zip"


def test_a_label_that_was_corrected_since_is_what_counts(store: Store, picture, as_zip) -> None:
    admit(store, as_zip({"a_idx5_x1_y1_class0.png": picture(1)}), EAST)
    row = {"hospital": "east", "patient": "a", "slide": "5", "x": 1, "y": 1, "label": 1}
    with store.write() as connection:
        signed = {"by": "Ada", "reason": "seen again", "at": sa.func.current_timestamp()}
        connection.execute(sa.insert(tables.label_revisions).values(**row, **signed))
    other = {"b_idx5_x1_y1.png": picture(5)}
    agrees = admit(store, as_zip({"a_idx5_x1_y1_class1.png": picture(1), **other}), EAST)
    assert agrees.refused == {"already-admitted": 1}
    other = {"b_idx5_x51_y1.png": picture(6)}
    contradicts = admit(store, as_zip({"a_idx5_x1_y1_class0.png": picture(1), **other}), EAST)
    assert contradicts.refused == {"two-labels": 1}
