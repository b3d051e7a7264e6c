from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from bcd.errors import BcdError, NotFoundError
from bcd.patches import Hospital
from bcd.store import tables
from bcd.store.conflicts import list_conflicts, open_conflicts
from bcd.store.hospitals import declare_hospital
from bcd.store.labels import latest_labels
from bcd.store.matching import Match
from bcd.store.pseudonyms import open_pseudonyms
from bcd.store.revisions import LabelImport, import_labels
from bcd.store.sign_off import SignOff
from bcd.store.store import Store
from bcd.store.withdrawals import record_withdrawal

HEADER = "patient,slide,x,y,label\n"


@pytest.fixture(autouse=True)
def declared(store: Store) -> None:
    for hospital in ("east", "west"):
        declare_hospital(store, hospital, "pseudonyms", SignOff("Mary", "test"))


@pytest.fixture
def revise(store: Store, tmp_path: Path):
    """Imports the text of a CSV file."""

    def _revise(text: str, hospital: str | None = "east") -> LabelImport:
        file = tmp_path / "labels.csv"
        file.write_text(text, "utf-8")
        return import_labels(store, file, hospital=hospital, sign_off=SignOff("Dr Lee", "second reading"))

    return _revise


def test_labels_come_late_are_corrected_and_taken_back(store: Store, store_batch, revise) -> None:
    store_batch(["a"], labels=(None, 0, 1, 1))
    done = revise(HEADER + "a,5,1,51,1\na,5,51,51,1\na,5,101,51,\na,5,151,51,1\n")
    assert done == LabelImport(changed=3, taken_back=1, settled=0, unchanged=1, unlabelled=1, match=Match(4, 0, ""))
    assert _labels(store) == {("a", 1): 1, ("a", 51): 1, ("a", 101): None, ("a", 151): 1}


def test_a_revision_keeps_name_reason_and_time_and_the_batch_stays(store: Store, store_batch, revise) -> None:
    batch = store_batch(["a"], labels=(0,))
    before = (store.settings.batches / batch / "index.parquet").read_bytes()
    revise(HEADER + "a,5,1,51,1\n")
    with store.read() as connection:
        revision = connection.execute(sa.select(tables.label_revisions)).mappings().one()
        assert connection.scalar(sa.select(tables.patches.c.label)) == 0
    assert SignOff.of(revision) == SignOff("Dr Lee", "second reading")
    assert abs(revision["at"] - datetime.now(UTC)) < timedelta(minutes=1)
    assert (store.settings.batches / batch / "index.parquet").read_bytes() == before


def test_the_same_file_again_changes_nothing(store: Store, store_batch, revise) -> None:
    store_batch(["a"], labels=(0, 1))
    text = HEADER + "a,5,1,51,1\na,5,51,51,\n"
    revise(text)
    done = revise(text)
    assert (done.changed, done.taken_back, done.settled, done.unchanged, done.unlabelled) == (0, 0, 0, 2, 1)
    assert _count(store) == 2


def test_the_last_revision_counts_and_the_others_stay(store: Store, store_batch, revise) -> None:
    store_batch(["a"], labels=(0,))
    for label in ("1", "", "0", "1"):
        revise(HEADER + f"a,5,1,51,{label}\n")
    assert _labels(store) == {("a", 1): 1}
    assert _count(store) == 4


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,5,1,51,2", "line 3: label is '2'.* 1, idc, positive or yes, .* 0, none"),
        ("a,5,1,51,0.5", "line 3: label is '0.5'"),
        ("a,5,1,51,None", "line 3: label is 'None'"),
        ("a,5,1.5,51,1", "line 3: x is '1.5'"),
        ("a,5,1.000,51,1", "line 3: x is '1.000'"),
        ("a,5,1,,1", "line 3: y "),
        (",5,1,51,1", "line 3: patient "),
        ("a,5,51,51,0", "line 2: .* a_idx5_x51_y51; line 3"),
        ("a,5,51,51,", "line 2: .* a_idx5_x51_y51; line 3"),
    ],
)
def test_one_faulty_line_refuses_the_whole_file(store: Store, store_batch, revise, line: str, message: str) -> None:
    store_batch(["a"], labels=(0, 0))
    with pytest.raises(BcdError, match=rf"labels\.csv .*\b[12] faulty lines?\b.*{message}"):
        revise(f"{HEADER}a,5,51,51,1\n{line}\n")
    assert _count(store) == 0


def test_many_faults_are_counted_and_the_first_are_named(store_batch, revise) -> None:
    store_batch(["a"], labels=(0,))
    with pytest.raises(BcdError, match=r"\b1,000 .*line 2: .*line 6: [^;]*; and 995 more"):
        revise(HEADER + "".join(f"a,5,{1 + 50 * i},101,perhaps\n" for i in range(1000)))


def test_the_same_line_twice_is_no_contradiction(store_batch, revise) -> None:
    store_batch(["a"], labels=(0,))
    assert revise(HEADER + "a,5,1,51,1\na,5,1,51,1\n").changed == 1


def test_a_table_may_name_files_and_hospitals_and_be_parquet(store: Store, store_batch, tmp_path: Path) -> None:
    store_batch(["a"], labels=(0, 0, 0))
    store_batch(["a"], labels=(0,), hospital="west")
    names = ["a_idx5_x1_y51.png", "a_idx5_x51_y51_class0.png", "a_idx5_x101_y51.png", "a_idx5_x1_y51.png"]
    table = pd.DataFrame({"name": names, "label": [1.0, 1.0, None, 1.0], "hospital": ["east"] * 3 + ["west"]})
    table.to_parquet(tmp_path / "labels.parquet")
    file = tmp_path / "labels.parquet"
    import_labels(store, file, hospital=None, sign_off=SignOff("Dr Lee", "r"))
    assert _labels(store) == {("a", 1): 1, ("a", 51): 1, ("a", 101): None}
    assert _labels(store, "west") == {("a", 1): 1}


def test_a_table_of_a_spreadsheet_is_read(store: Store, store_batch, revise) -> None:
    store_batch(["a"], labels=(0, 0))
    revise("\ufeffPatient;Slide; X;Y;Label;remark\r\na;5;1;51;1;sure\r\n;;;;;\r\n\r\na;5;51;51; 1 ;\r\n")
    assert _labels(store) == {("a", 1): 1, ("a", 51): 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "label, patient, slide, x, y; "),
        ("patient,label\na,1\n", "slide, x, y; it has patient, label"),
        ("name,patient\na,1\n", "columns label"),
        ("patient,slide,x,y,label,label\na,5,1,51,1,0\n", "two columns of one name"),
        ("a\0\x89PNG", "not text"),
        (HEADER + "a,5,1,51,1,1\n", r"line 2 .*\b6\b.*\b5\b"),
        (HEADER + 'a,5,1,51,"1\n', "cannot be read"),
        ("name,label\nMiller.png,1\n", "line 2: name is 'Miller.png'"),
    ],
)
def test_what_is_no_table_of_labels_is_refused(store_batch, revise, text: str, message: str) -> None:
    store_batch(["a"])
    with pytest.raises(BcdError, match=message):
        revise(text)


@pytest.mark.parametrize(
    "text",
    [
        "Patient ID;Slide No;X;Y;Class\na;5;1,0;51;IDC\na;5,0;51;51;none\n",
        "case\tidx\txpos\typos\tidc\na\tidx5\t1\t51\tyes\na\t5\t51\t51\tno\n",
        "patch,patient,label\na_idx5_x1_y51.png,a,1\na_idx5_x51_y51.png,a,0\n",
        "File Name,Label\nC:\\export\\a_idx5_x1_y51.JPG,1.0\n/data/a_idx5_x51_y51_class1,0.0\n",
        HEADER + "a,5,1.0,51.0,IDC(+)\na,5,51.0,51.0,IDC (-)\n,,,,\nTotal,,,,1\n",
        HEADER + "a,5,1,51,Positive\na,5,51,51,NEGATIVE\n",
        HEADER + "a,5,1,51,True\na,5,51,51,False\n",
        HEADER + "a,5,1,51,WAHR\na,5,51,51,FALSCH\n",
        HEADER + "a,5,1,51,positiv\na,5,51,51,negativ\n",
    ],
)
def test_tables_are_understood_as_people_export_them(store: Store, store_batch, revise, text: str) -> None:
    store_batch(["a"], labels=(None, None))
    done = revise(text)
    assert (done.changed, done.match) == (2, Match(2, 0, ""))
    assert _labels(store) == {("a", 1): 1, ("a", 51): 0}


def test_rows_that_name_no_patch_are_counted_and_the_others_count(store: Store, store_batch, revise) -> None:
    store_batch(["a"], labels=(None, None, None))
    done = revise(HEADER + "a,5,1,51,1\na,5,901,51,1\nb,5,1,51,1\n")
    assert (done.changed, done.unlabelled, done.match.rows, done.match.unmatched) == (1, 2, 3, 2)
    assert "line 3: a_idx5_x901_y51" in done.match.note
    assert _labels(store) == {("a", 1): 1, ("a", 51): None, ("a", 101): None}


def test_a_table_of_which_no_row_names_a_patch_is_refused_with_rows_and_patches_side_by_side(
    store: Store, store_batch, revise
) -> None:
    store_batch(["00042"], labels=(None, None))
    with pytest.raises(BcdError, match=r"\b2 rows\b.*\(42 .*, 00042") as raised:
        revise(HEADER + "42,5,1,51,1\n42,5,51,51,0\n")
    assert "42_idx5_x1_y51 (line 2) | 00042_idx5_x1_y51" in str(raised.value)
    assert _count(store) == 0


def test_a_file_without_hospital_needs_one(store_batch, revise) -> None:
    store_batch(["a"])
    with pytest.raises(BcdError, match="--hospital"):
        revise(HEADER + "a,5,1,51,1\n", hospital=None)
    with pytest.raises(NotFoundError, match="north"):
        revise(HEADER + "a,5,1,51,1\n", hospital="north")


def test_a_raw_hospital_s_identifiers_become_pseudonyms_and_never_show(store: Store, store_batch, revise) -> None:
    declare_hospital(store, "north", "raw", SignOff("Mary", "test"))
    pseudonyms = open_pseudonyms(store, Hospital("north"))
    assert pseudonyms is not None
    miller = pseudonyms.patient("Miller")
    store_batch([miller], labels=(0, 0), hospital="north")
    revise(HEADER + f"Miller,5,1,51,1\n{miller},5,51,51,1\n", hospital="north")
    assert _labels(store, "north") == {(miller, 1): 1, (miller, 51): 1}
    for text in (HEADER + "Smith,5,1,51,1\n", "name,label\nSmith.png,1\n", HEADER + "Miller,5,1,Smith,1\n"):
        with pytest.raises(BcdError) as raised:
            revise(text, hospital="north")
        assert "Smith" not in str(raised.value)


def test_leading_zeros_of_a_raw_hospital_are_named_too(store: Store, store_batch, revise) -> None:
    declare_hospital(store, "north", "raw", SignOff("Mary", "test"))
    pseudonyms = open_pseudonyms(store, Hospital("north"))
    assert pseudonyms is not None
    store_batch([pseudonyms.patient("00042")], labels=(0, 0), hospital="north")
    with pytest.raises(BcdError, match="leading zeros"):
        revise(HEADER + "42,5,1,51,1\n", hospital="north")


def test_a_withdrawn_patient_gets_no_labels(store: Store, store_batch, revise) -> None:
    store_batch(["a"], labels=(0,))
    record_withdrawal(store, "a", hospital="east", sign_off=SignOff("Mary", "a letter"))
    with pytest.raises(BcdError, match="line 2: patient east/a "):
        revise(HEADER + "a,5,1,51,1\n")
    assert _count(store) == 0


def test_a_label_settles_a_doubt_even_where_it_says_the_same(store: Store, store_batch, revise) -> None:
    store_batch(["a"], labels=(1, 1))
    _doubt(store, x=1)
    _doubt(store, x=1)
    assert _in_doubt(store) == [("east", "a", "5", 1, 51)]
    done = revise(HEADER + "a,5,1,51,1\na,5,51,51,1\n")
    assert (done.changed, done.taken_back, done.settled, done.unchanged) == (0, 0, 1, 1)
    assert _in_doubt(store) == []
    assert [conflict.is_open for conflict in list_conflicts(store)] == [False, False]
    assert revise(HEADER + "a,5,1,51,1\n").unchanged == 1


def test_a_doubt_that_is_younger_than_the_label_is_open(store: Store, store_batch, revise) -> None:
    store_batch(["a"], labels=(1,))
    revise(HEADER + "a,5,1,51,0\n")
    _doubt(store, x=1)
    assert _in_doubt(store) == [("east", "a", "5", 1, 51)]


def test_a_label_settles_a_doubt_that_a_fast_clock_dated_later(store: Store, store_batch, revise) -> None:
    store_batch(["a"], labels=(1,))
    _doubt(store, x=1, found_at=datetime.now(UTC) + timedelta(hours=3))
    revise(HEADER + "a,5,1,51,1\n")
    assert _in_doubt(store) == []


def _doubt(store: Store, x: int, found_at: datetime | None = None) -> None:
    with store.write() as connection:
        delivery = connection.scalar(sa.select(tables.deliveries.c.id))
        cell = {"hospital": "east", "patient": "a", "slide": "5", "x": x, "y": 51}
        values = {**cell, "rule": "two-labels", "delivery": delivery, "message": "m"}
        connection.execute(sa.insert(tables.conflicts).values(**values, found_at=found_at or datetime.now(UTC)))


def _in_doubt(store: Store) -> list[tuple[object, ...]]:
    with store.read() as connection:
        return [tuple(row) for row in connection.execute(open_conflicts())]


def _labels(store: Store, hospital: str = "east") -> dict[tuple[str, int], int | None]:
    with store.read() as connection:
        rows = connection.execute(latest_labels()).all()
    return {(row.patient, row.x): row.label for row in rows if row.hospital == hospital}


def _count(store: Store) -> int:
    with store.read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(tables.label_revisions)) or 0
