"""A refused file is admitted after a human decision: that rule alone is waived, and who and why stays on record."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from bcd.admission.admit import admit
from bcd.admission.release import Release, release
from bcd.admission.report import admission_report_path
from bcd.admission.rules import NOT_RELEASABLE, RELEASABLE, RULES
from bcd.errors import BcdError, NotFoundError
from bcd.patches import Hospital, PatientId
from bcd.store import tables
from bcd.store.batches import read_batch_pixels
from bcd.store.conflicts import list_conflicts
from bcd.store.delivery_queries import list_stored_deliveries, list_stored_refusals, match_stored_delivery
from bcd.store.patients import list_stored_patches
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

EAST = Hospital("east")
BLANK = "P9/0/P9_idx5_x1_y51_class0.png"


@dataclass
class Ward:
    """Delivers to a hospital, and releases what was refused there."""

    store: Store
    folder: Path
    good: dict[str, bytes]

    def deliver(self, files: dict[str, bytes], name: str = "first") -> str:
        """Admits files, among others that are good, and returns the delivery's id."""
        delivered = {**self.good, **files} if name == "first" else files
        for path, data in delivered.items():
            (self.folder / name / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name / path).write_bytes(data)
        return admit(self.store, self.folder / name, EAST).id

    def release(self, *files: str, **options: object) -> Release:
        said = {"sign_off": SignOff("Ada", "it is mucin"), **options}
        return release(self.store, "first", files, **said)  # type: ignore[arg-type]

    def patches(self, patient: str) -> pd.DataFrame:
        return list_stored_patches(self.store, EAST, PatientId(patient))

    def labels(self, patient: str) -> dict[int, int]:
        """Returns a patient's labels by x."""
        patches = self.patches(patient)
        return dict(zip(patches["x"], patches["label"], strict=True))


@pytest.fixture
def ward(store: Store, tmp_path: Path, patch_files: Callable[..., dict[str, bytes]]) -> Ward:
    return Ward(store, tmp_path, patch_files("P1"))


@pytest.fixture
def white(encode: Callable[[np.ndarray], bytes]) -> bytes:
    return encode(np.full((50, 50, 3), 245, np.uint8))


def dump(store: Store) -> list[list[tuple[object, ...]]]:
    with store.read() as connection:
        return [
            [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key))]
            for table in (tables.deliveries, tables.batches, tables.patches, tables.refusals, tables.releases)
        ]


def test_every_rule_can_be_released_or_says_why_not() -> None:
    assert RELEASABLE.isdisjoint(NOT_RELEASABLE)
    assert RELEASABLE | NOT_RELEASABLE.keys() == RULES.keys()


def test_a_blank_patch_is_admitted_and_the_decision_is_kept(ward: Ward, white: bytes) -> None:
    first = ward.deliver({BLANK: white})
    done = ward.release(BLANK)
    assert done.released == [BLANK]
    assert ward.labels("P9") == {1: 0}
    pixels = read_batch_pixels(ward.store.settings, ward.patches("P9"))
    assert (pixels == 245).all()
    [refused] = list_stored_refusals(ward.store, first)
    assert re.fullmatch(r"released by Ada on \d{4}-\d\d-\d\d: it is mucin", refused.state)
    made = match_stored_delivery(ward.store, "release of first")
    assert (made.id, made.files, made.admitted, made.refused) == (done.made, 1, 1, {})
    assert match_stored_delivery(ward.store, first).released == 1
    for delivery in (first, made.id):
        assert "Research use only" in admission_report_path(ward.store.settings, delivery).read_text("utf-8")
    assert refused.state in admission_report_path(ward.store.settings, first).read_text("utf-8")


def test_the_same_release_twice_changes_nothing(ward: Ward, white: bytes) -> None:
    ward.deliver({BLANK: white})
    ward.release(BLANK)
    before = dump(ward.store)
    again = ward.release(BLANK, sign_off=SignOff("Ben", "no, me"))
    assert (again.released, again.before, again.made) == ([], [BLANK], None)
    assert dump(ward.store) == before


@pytest.mark.parametrize("moment", ["admit_source", "_record"])
def test_a_killed_release_is_completed_by_running_it_again(
    moment: str, ward: Ward, white: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    ward.deliver({BLANK: white})
    with monkeypatch.context() as killed:
        target = "bcd.admission.admit.admit_source" if moment == "admit_source" else "bcd.admission.release._record"
        killed.setattr(target, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            ward.release(BLANK)
    assert ward.release(BLANK).released == [BLANK]
    assert [each.name for each in list_stored_deliveries(ward.store)] == ["first", "release of first"]
    assert match_stored_delivery(ward.store, "first").released == 1
    assert ward.labels("P9") == {1: 0}


def test_other_rules_still_hold(ward: Ward, white: bytes, picture: Callable[..., bytes]) -> None:
    ward.deliver({BLANK: white})
    ward.deliver({BLANK: picture(77)}, "second")  # the place is taken since
    with pytest.raises(BcdError, match="duplicate-cell"):
        ward.release(BLANK)
    assert ward.labels("P9") == {1: 0}
    assert match_stored_delivery(ward.store, "first").released == 0


def test_what_is_refused_again_is_not_called_released(
    ward: Ward, white: bytes, picture: Callable[..., bytes]
) -> None:
    other = BLANK.replace("_x1_", "_x51_")
    first = ward.deliver({BLANK: white, other: white})
    ward.deliver({BLANK: picture(77)}, "second")
    done = ward.release(BLANK, other)
    assert done.released == [other]
    assert [(file.name, file.rule) for file in done.refused] == [(BLANK, "duplicate-cell")]
    assert {file.name for file in list_stored_refusals(ward.store, first) if file.released} == {other}


def test_two_labels_need_the_one_that_is_right(ward: Ward, picture: Callable[..., bytes]) -> None:
    names = [f"P9/{label}/P9_idx5_x1_y51_class{label}.png" for label in (0, 1)]
    ward.deliver(dict.fromkeys(names, picture(77)))
    with pytest.raises(BcdError, match="--label"):
        ward.release(names[0])
    assert ward.release(names[0], label=1).released == [names[0]]
    assert ward.labels("P9") == {1: 1}


def test_one_side_of_a_contradiction_is_admitted_and_both_are_not(ward: Ward, picture: Callable[..., bytes]) -> None:
    names = [f"{patient}/0/{patient}_idx5_x1_y51_class0.png" for patient in ("P8", "P9")]
    ward.deliver(dict.fromkeys(names, picture(77)))
    with pytest.raises(BcdError, match="two-patients"):
        ward.release(*names)
    assert ward.release(names[1]).released == [names[1]]
    assert ward.labels("P9") == {1: 0}
    with pytest.raises(BcdError, match="two-patients"):  # the same tissue is never two patients'
        ward.release(names[0])
    assert list_conflicts(ward.store) == []  # a person has decided: the attempt puts nothing in doubt


def test_a_name_that_is_right_against_its_folder_counts(ward: Ward, picture: Callable[..., bytes]) -> None:
    name = "P9/1/P9_idx5_x1_y51_class0.png"
    ward.deliver({name: picture(77)})
    assert ward.release(name).released == [name]
    assert ward.labels("P9") == {1: 0}


def test_an_edge_piece_cannot_be_released(ward: Ward, picture: Callable[..., bytes]) -> None:
    ward.deliver({BLANK: picture(77, height=42)})
    with pytest.raises(BcdError, match=f"size.*{NOT_RELEASABLE['size']}"):
        ward.release(BLANK)


def test_files_are_named_as_is_handy(ward: Ward, white: bytes) -> None:
    ward.deliver({BLANK.replace("_x1_", f"_x{x}_"): white for x in (1, 51, 101, 151)})
    assert len(ward.release("P9_idx5_x1_y51_class0.png").released) == 1
    assert len(ward.release("*-P9_idx5_x51_y51_class0.png").released) == 1
    assert len(ward.release("P9/*").released) == 2
    with pytest.raises(NotFoundError, match=r"\bfirst\b.*nothing\.png"):
        ward.release("nothing.png")


def test_a_file_gone_from_the_quarantine_is_told(ward: Ward, white: bytes) -> None:
    first = ward.deliver({BLANK: white})
    for path in (ward.store.settings.quarantine / first).glob("*.png"):
        path.unlink()
    with pytest.raises(BcdError, match=re.escape(BLANK)):
        ward.release(BLANK)
