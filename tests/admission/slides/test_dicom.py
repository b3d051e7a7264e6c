"""The series of a DICOM file is read off its header, whatever stands before it, and off nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bcd.admission.slides.dicom import group_dicom_series, read_dicom_series

PINK = np.full((64, 64, 3), (220, 150, 190), np.uint8)


def test_files_are_grouped_by_series_in_the_order_of_their_numbers(as_dicom, tmp_path: Path) -> None:
    as_dicom(PINK, PINK[::2, ::2], spacing=0.5, series=(7, 2))
    as_dicom(PINK, spacing=0.5, series=(9, 1))
    as_dicom(PINK, spacing=0.5, series=(8, 3))
    (tmp_path / "1_idx1/NOTE.dcm").write_bytes(b"no DICOM")
    paths = sorted((tmp_path / "1_idx1").iterdir())
    assert [path.name for path in paths] == ["IMG10.dcm", "IMG20.dcm", "IMG21.dcm", "IMG30.dcm", "NOTE.dcm"]
    assert group_dicom_series(paths) == ([[0], [1, 2], [3]], [4])


def test_the_series_is_found_behind_sequences(as_dicom) -> None:
    assert read_dicom_series(as_dicom(PINK, spacing=0.5, patient="Mustermann^Erika", series=(7, 2))) == (2, "1.2.3.7")


@pytest.mark.parametrize("length", [0, 100, 132, 140, 200, 300, 400])
def test_a_truncated_header_says_no_series(as_dicom, length: int) -> None:
    path = as_dicom(PINK, spacing=0.5)
    path.write_bytes(path.read_bytes()[:length])
    assert read_dicom_series(path) is None


def test_damage_never_crashes_or_hangs(as_dicom) -> None:
    path = as_dicom(PINK, spacing=0.5)
    whole = path.read_bytes()[:700]
    generator = np.random.default_rng(0)
    for _ in range(300):
        spoilt = bytearray(whole)
        for place in generator.integers(128, len(spoilt), 4):
            spoilt[place] = generator.integers(256)
        path.write_bytes(spoilt)
        series = read_dicom_series(path)
        assert series is None or isinstance(series[0], int)
