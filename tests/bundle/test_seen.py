"""A bundle from elsewhere knows its training patients by name and by their pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from bcd.bundle.seen import Seen


def make(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["hospital", "patient", "pixel_sha256"])


KNOWN = make(("public", "1", "0" * 15 + "1" + "a" * 48), ("public", "1", "f" * 64), ("public", "2", "b" * 64))


def test_a_patient_is_known_by_hospital_and_name_and_not_by_the_name_alone() -> None:
    seen = Seen.of(KNOWN)
    assert seen.patients == ("public/1", "public/2")
    assert seen.find(make(("public", "2", "c" * 64), ("north", "2", "d" * 64))) == ["public/2"]
    assert [seen.knows_name("2"), seen.knows_name("3")] == [True, False]


def test_a_patient_is_known_by_any_of_the_pixels_whatever_the_name() -> None:
    patches = make(("north", "77", "e" * 64), ("north", "77", "f" * 64), ("north", "78", "e" * 64))
    assert Seen.of(KNOWN).find(patches) == ["north/77"]
    assert Seen.of(KNOWN).find_pixels(patches).tolist() == [False, True, False]


def test_the_file_holds_the_same_and_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    seen = Seen.of(KNOWN)
    for name in ("a.npz", "b.npz"):
        seen.write(tmp_path / name)
    read = Seen.read(tmp_path / "a.npz")
    assert read.patients == seen.patients
    assert np.array_equal(read.pixels, seen.pixels)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
