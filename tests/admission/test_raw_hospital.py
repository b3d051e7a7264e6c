"""A hospital whose identifiers are not pseudonyms: none of them is ever stored, logged or reported."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from bcd.admission.admit import Admission, admit
from bcd.admission.report import write_admission_report
from bcd.errors import BcdError, NotFoundError
from bcd.patches import Hospital
from bcd.progress import show_progress
from bcd.store.delivery_queries import list_stored_refusals
from bcd.store.hospitals import declare_hospital
from bcd.store.patients import list_patients
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

NORTH = Hospital("north")
SECRET = "MILLER-ADA-1950"
"""An identifier that names somebody."""


class _Told:
    """Keeps all that is said while work goes on."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def track(self, description: str, total: float | None):
        from contextlib import nullcontext

        self.lines.append(description)
        return nullcontext(lambda _amount: None)

    def say(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture
def north(store: Store) -> Hospital:
    declare_hospital(store, NORTH, "raw", SignOff("test", "test"))
    return NORTH


def _with_text(png: bytes, text: bytes) -> bytes:
    """Adds a tEXt chunk after the header of a PNG."""
    body = b"tEXt" + b"Patient\0" + text
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:33] + chunk + png[33:]


@pytest.fixture
def delivery(picture, tmp_path: Path) -> Path:
    """Two good patches and every way in which a delivery may name somebody."""
    files = {
        f"{SECRET}/0/{SECRET}_idx5_x1_y1_class0.png": picture(1),
        f"{SECRET}/1/{SECRET}_idx5_x51_y1_class1.png": picture(2),
        f"{SECRET}/1/{SECRET}_idx5_x101_y1_class0.png": picture(3),  # folder and name disagree
        f"{SECRET}/0/{SECRET}_idx5_x151_y1_class0.png": _with_text(picture(4, width=42), SECRET.encode()),
        f"{SECRET}/letter to {SECRET}.txt": f"Dear {SECRET}".encode(),
        f"{SECRET}/{SECRET}_idx5_x201_y1_class0.png": b"",
    }
    path = tmp_path / f"for {SECRET}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def _admit(store: Store, path: Path, told: _Told | None = None) -> Admission:
    with show_progress(told or _Told()):
        return admit(store, path, NORTH)


def test_no_identifier_is_found_in_anything_that_bcd_keeps_or_says(
    store: Store, north: Hospital, delivery: Path
) -> None:
    told = _Told()
    admission = _admit(store, delivery, told)
    assert (admission.admitted, admission.refused) == (2, {"empty": 1, "folder": 1, "name": 1, "size": 1})
    write_admission_report(store, admission.id)
    store.engine.dispose()
    secret = SECRET.encode()
    kept = [path for path in store.settings.home.rglob("*") if path.is_file()]
    assert any(path.name == "pixels.npy" for path in kept)
    assert not [path for path in kept if SECRET in str(path) or secret in path.read_bytes()]
    assert SECRET not in "\n".join(told.lines) + repr(admission)


def test_the_quarantine_keeps_the_picture_and_drops_what_is_written_in_it(
    store: Store, north: Hospital, delivery: Path
) -> None:
    admission = _admit(store, delivery)
    kept = {refusal.rule: refusal.kept for refusal in list_stored_refusals(store, admission.id)}
    assert kept["size"] is not None
    assert kept["folder"] is not None
    assert kept["name"] is None
    assert kept["empty"] is None


def test_a_patient_keeps_the_pseudonym_and_is_another_one_elsewhere(
    *, store: Store, north: Hospital, patch_files, as_zip, tmp_path: Path
) -> None:
    _admit(store, as_zip(patch_files("1001"), tmp_path / "first.zip"))
    later = {name.replace("_y51", "_y951"): data for name, data in patch_files("1001", seed=500).items()}
    assert _admit(store, as_zip(later, tmp_path / "later.zip")).admitted == 4
    admit(store, as_zip(patch_files("1001", seed=900), tmp_path / "east.zip"), Hospital("east"))
    patients = list_patients(store)
    assert patients["hospital"].tolist() == ["east", "north"]
    assert patients["patches"].tolist() == [4, 8]
    assert patients["patient"].tolist()[0] == "1001"
    assert "1001" not in patients["patient"].tolist()[1]


def test_a_delivery_that_cannot_be_admitted_is_told_of_without_its_name(
    store: Store, north: Hospital, picture, tmp_path: Path
) -> None:
    path = tmp_path / f"{SECRET}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{SECRET}.jpg", b"x")
    with pytest.raises(BcdError) as caught:
        _admit(store, path)
    assert SECRET not in str(caught.value)


def test_an_undeclared_hospital_is_refused_with_the_command_to_run(store: Store, patch_files, as_zip) -> None:
    with pytest.raises(NotFoundError, match="`bcd hospital declare nowhere --identifiers"):
        admit(store, as_zip(patch_files("1")), Hospital("nowhere"))
    assert not store.settings.batches.exists()
