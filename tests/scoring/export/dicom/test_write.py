"""What is written is valid, of one study, and the same thing again when it is written again."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import pytest

from bcd.drift.state import UNTRUSTED, Drift
from bcd.errors import BcdError
from bcd.scoring.export.dicom.write import write_dicom


def faults(path) -> list[str]:
    """Errors that dciodvfy finds, of David Clunie's dicom3tools."""
    said = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, check=False)
    lines = (said.stdout + said.stderr).splitlines()
    assert any(line.strip().isidentifier() for line in lines), "it names the object that it recognised"
    return [line for line in lines if line.startswith(("Error", "Fatal"))]


@pytest.fixture
def dciodvfy() -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed (Debian: dicom3tools): DICOM files cannot be validated")


def test_every_file_of_patches_is_valid(dciodvfy, scored, write, tmp_path) -> None:
    files = write(scored(["5", "11"]))
    kinds = {f"{kind}-{slide}" for kind in ("slide", "segmentation", "probability") for slide in ("5", "11")}
    assert set(files) == {*kinds, "report"}
    assert [fault for name in files for fault in faults(tmp_path / "dicom" / f"{name}.dcm")] == []


def test_the_longest_names_are_valid_too(dciodvfy, scored, write, tmp_path) -> None:
    patient = scored()
    scores = patient.scores.assign(slide="123456")
    files = write(
        replace(
            patient,
            hospital="h" * 64,
            patient="p" * 64,
            bundle="bcd-idc/" + "9" * 30,
            scores=scores,
            slides=("123456",),
            drift=Drift(level=UNTRUSTED, foreign=True),
        )
    )
    assert [fault for name in files for fault in faults(tmp_path / "dicom" / f"{name}.dcm")] == []
    assert files["report"].PatientID == "p" * 64


def test_every_file_of_a_source_is_valid(dciodvfy, make_source, delivered, write, tmp_path) -> None:
    source = make_source()
    files = write(delivered(source), source)
    assert [fault for name in files for fault in faults(tmp_path / "dicom" / f"{name}.dcm")] == []


def test_all_files_are_of_one_study_and_patient_each_of_a_series_of_its_own(scored, write) -> None:
    files = write(scored(["5", "11"])).values()
    assert len({each.StudyInstanceUID for each in files}) == 1
    assert {(each.PatientID, each.IssuerOfPatientID, str(each.PatientName)) for each in files} == {
        ("1001", "east", "1001^")
    }
    assert len({each.SeriesInstanceUID for each in files}) == len({each.SOPInstanceUID for each in files}) == 7
    assert all("Research use only" in each.SeriesDescription for each in files if each.Modality != "SM")


def test_the_same_again_has_the_same_identifiers_and_another_bundle_s_has_others(scored, write) -> None:
    patient = scored()
    first, again, other = (
        {name: each.SOPInstanceUID for name, each in write(one).items()}
        for one in (patient, patient, replace(patient, bundle="bcd-idc/8"))
    )
    assert first == again
    assert not set(first.values()) & set(other.values())


def test_one_source_is_of_one_slide(scored, tmp_path) -> None:
    with pytest.raises(BcdError, match="--slide"):
        list(write_dicom(tmp_path / "new", scored(["5", "11"]), tmp_path))
    assert not (tmp_path / "new").exists()
