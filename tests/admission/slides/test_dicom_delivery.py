"""A folder of DICOM files is one slide a series, each admitted or refused by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from delivering import read_refusals

from bcd.admission.admit import admit
from bcd.admission.preview import look_at
from bcd.errors import BcdError
from bcd.patches import Hospital, PatientId
from bcd.store.patients import list_stored_patches
from bcd.store.store import Store

EAST = Hospital("east")


def _tissue(seed: int, patches: int) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(60, 256, (400, 400 * patches, 3), dtype=np.uint8)
    pixels[..., 1] //= 3
    return pixels


def _slides(store: Store, patient: str) -> dict[str, int]:
    patches = list_stored_patches(store, EAST, PatientId(patient))
    return {str(slide): int(n) for slide, n in patches.groupby("slide", observed=True).size().items()}


@pytest.mark.parametrize("handed_over", ["d", "d/8867"])
def test_the_series_of_a_patient_are_slides_in_the_order_of_their_numbers(
    store: Store, as_dicom, tmp_path: Path, handed_over: str
) -> None:
    as_dicom(_tissue(1, 1), spacing=0.5, folder="d/8867", series=(9, 1))
    as_dicom(_tissue(2, 2), _tissue(2, 2)[::2, ::2], spacing=0.5, folder="d/8867", series=(4, 2))
    admission = admit(store, tmp_path / handed_over, EAST)
    assert (admission.files, admission.admitted_files, admission.refused) == (3, 3, {})
    assert _slides(store, "8867") == {"1": 1, "2": 2}


def test_a_single_series_of_a_patient_is_slide_0(store: Store, as_dicom, tmp_path: Path) -> None:
    as_dicom(_tissue(1, 1), spacing=0.5, folder="d/8867")
    admit(store, tmp_path / "d", EAST)
    assert _slides(store, "8867") == {"0": 1}


def test_each_series_is_refused_by_itself(store: Store, as_dicom, tmp_path: Path) -> None:
    as_dicom(np.full((400, 400, 3), 240, np.uint8), spacing=0.5, folder="d/8867", series=(9, 1))
    as_dicom(_tissue(2, 2), spacing=0.5, folder="d/8867", series=(4, 2))
    (tmp_path / "d/8867/NOTE.dcm").write_bytes(b"no DICOM")
    admission = admit(store, tmp_path / "d", EAST)
    assert _slides(store, "8867") == {"2": 2}
    rules = {name: rule for name, (rule, _) in read_refusals(store, admission).items()}
    assert rules == {"8867/IMG10.dcm": "no-tissue", "8867/NOTE.dcm": "unreadable"}


def test_a_folder_of_one_slide_with_several_series_is_refused(
    *, store: Store, as_dicom, patch_files, as_folder, tmp_path: Path
) -> None:
    as_folder(patch_files("8868"), tmp_path / "d")
    as_dicom(_tissue(1, 1), spacing=0.5, folder="d/8867_idx5", series=(9, 1))
    as_dicom(_tissue(2, 2), spacing=0.5, folder="d/8867_idx5", series=(4, 2))
    admission = admit(store, tmp_path / "d", EAST)
    assert (admission.admitted, admission.refused) == (4, {"name": 2})
    assert all("2 series" in message for _, message in read_refusals(store, admission).values())


def test_a_table_names_each_series_by_a_file_of_it(store: Store, as_dicom, tmp_path: Path) -> None:
    as_dicom(_tissue(1, 1), spacing=0.5, folder="d/export 7", series=(9, 1))
    as_dicom(_tissue(2, 2), spacing=0.5, folder="d/export 7", series=(4, 2))
    as_dicom(_tissue(3, 3), spacing=0.5, folder="d/export 8", series=(5, 1))
    table = "file,patient,slide\nIMG20.dcm,A,7\nexport 7/IMG10.dcm,A,8\nexport 8,B,1\n"
    (tmp_path / "d/slides.csv").write_text(table)
    assert admit(store, tmp_path / "d", EAST).refused == {}
    assert _slides(store, "A") == {"7": 2, "8": 1}
    assert _slides(store, "B") == {"1": 3}


def test_dicom_files_in_an_archive_need_a_folder(store: Store, as_dicom, as_zip, tmp_path: Path) -> None:
    last = as_dicom(_tissue(1, 1), spacing=0.5, folder="8867")
    with pytest.raises(BcdError, match="name 1"):
        admit(store, as_zip({"IMG0.dcm": last.read_bytes()}), EAST)
    assert admit(store, as_zip({"8867/IMG0.dcm": last.read_bytes()}), EAST).admitted == 1


def _without_endings(folder: Path) -> None:
    for path in folder.rglob("*.dcm"):
        path.rename(path.with_suffix(""))


def test_dicom_files_are_known_by_what_they_say_and_not_by_their_names(
    store: Store, as_dicom, tmp_path: Path
) -> None:
    as_dicom(_tissue(1, 1), spacing=0.5, folder="d/8867", series=(9, 1))
    as_dicom(_tissue(2, 2), _tissue(2, 2)[::2, ::2], spacing=0.5, folder="d/8867", series=(4, 2))
    _without_endings(tmp_path / "d")
    (tmp_path / "d/8867/IMG20").rename(tmp_path / "d/8867/1.2.840.10008.17")
    (tmp_path / "d/DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "d/8867/note").write_bytes(b"x" * 200)
    admission = admit(store, tmp_path / "d", EAST)
    assert (admission.files, admission.admitted_files, admission.ignored) == (5, 3, 1)
    assert {name: rule for name, (rule, _) in read_refusals(store, admission).items()} == {"8867/note": "name"}
    assert _slides(store, "8867") == {"1": 1, "2": 2}


def test_a_dicom_file_without_an_ending_is_found_alone_in_an_archive_and_by_a_table(
    store: Store, as_dicom, as_zip, tmp_path: Path
) -> None:
    alone = as_dicom(_tissue(1, 1), spacing=0.5, folder="a").rename(tmp_path / "8867_idx5")
    assert admit(store, alone, EAST).admitted == 1
    data = as_dicom(_tissue(2, 1), spacing=0.5, folder="b").read_bytes()
    assert admit(store, as_zip({"8868/IM000001": data}), EAST).admitted == 1
    data = as_dicom(_tissue(3, 1), spacing=0.5, folder="c").read_bytes()
    table = b"file,patient,slide\nIM000001,8869,7\n"
    assert admit(store, as_zip({"export 7/IM000001": data, "slides.csv": table}), EAST).refused == {}
    assert _slides(store, "8869") == {"7": 1}


def test_a_refused_dicom_file_is_never_kept_whatever_its_name(
    *, store: Store, as_dicom, patch_files, as_folder, tmp_path: Path
) -> None:
    as_folder(patch_files("8868"), tmp_path / "d")
    as_dicom(_tissue(1, 1), spacing=0.5, patient="Mustermann^Erika", folder="d/Erika M")
    _without_endings(tmp_path / "d")
    admission = admit(store, tmp_path / "d", EAST)
    assert admission.refused == {"name": 1}
    kept = (store.settings.quarantine / admission.id).rglob("*")
    assert not any(b"Mustermann" in path.read_bytes() for path in kept if path.is_file())


@pytest.mark.parametrize("folder", ["SE000001", "ser2", "STUDY1", "IMAGES", "DICOM"])
def test_the_folders_that_an_export_counts_are_no_patients(
    store: Store, as_dicom, tmp_path: Path, folder: str
) -> None:
    """Regression: two series of a patient were two patients, who might come into two splits."""
    as_dicom(_tissue(1, 1), spacing=0.5, folder=f"d/8867/{folder}")
    with pytest.raises(BcdError, match=rf'"{folder}".*slides\.csv'):
        admit(store, tmp_path / "d", EAST)
    (tmp_path / "d/slides.csv").write_text(f"file,patient,slide\n{folder},8867,1\n")
    admit(store, tmp_path / "d", EAST)
    assert _slides(store, "8867") == {"1": 1}


@pytest.mark.parametrize("handed_over", ["d", "d/My Export_2"])
def test_a_look_at_a_series_of_any_name_calls_its_patient_after_the_folder(
    as_dicom, tmp_path: Path, handed_over: str
) -> None:
    as_dicom(_tissue(1, 2), spacing=0.5, folder="d/My Export_2")
    with pytest.raises(BcdError, match='"My Export_2"'), look_at(tmp_path / handed_over, EAST):
        pass
    with look_at(tmp_path / handed_over, EAST, any_name=True) as seen:
        assert set(seen.patches["patient"]) == {"My-Export-2"}
        assert seen.frames[("My-Export-2", "0")].spacing_x == pytest.approx(0.5)
