from __future__ import annotations

import zipfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bcd.patches import PATCH_PIXELS, PatchName, is_on_grid
from bcd.synthetic.hospital import draw_hospital
from bcd.synthetic.options import HospitalOptions
from bcd.synthetic.patient import draw_synthetic_patients

Members = dict[str, NDArray[np.uint8]]
TINY = HospitalOptions(seed=5, patients=3, large_patients=1, small_patches=9, large_patches=16)


def test_equal_options_write_equal_bytes_and_another_seed_other_ones(tmp_path: Path) -> None:
    first = [path.read_bytes() for path in draw_hospital(TINY, tmp_path / "a")]
    again = [path.read_bytes() for path in draw_hospital(TINY, tmp_path / "b")]
    other = [path.read_bytes() for path in draw_hospital(TINY.model_copy(update={"seed": 6}), tmp_path / "c")]
    assert first == again
    assert first[0] != other[0]


def test_deliveries_that_are_there_are_left_and_other_ones_replaced(tmp_path: Path) -> None:
    paths = draw_hospital(TINY, tmp_path)
    paths[1].write_bytes(b"half a zip")
    bytes_of_first = paths[0].read_bytes()
    assert draw_hospital(TINY, tmp_path) == paths
    assert paths[0].read_bytes() == bytes_of_first
    assert zipfile.is_zipfile(paths[1])
    untouched = paths[0].stat().st_mtime_ns, paths[0].stat().st_ino
    draw_hospital(TINY, tmp_path)
    assert (paths[0].stat().st_mtime_ns, paths[0].stat().st_ino) == untouched
    assert sorted(path.name for path in tmp_path.iterdir()) == ["delivery-1.zip", "delivery-2.zip"]


def test_members_follow_the_public_sets_grammar(members: Members, names: list[PatchName]) -> None:
    assert len(names) == len(members)
    for member, name in zip(members, names, strict=True):
        assert member == f"{name.patient}/{name.label}/{name.format()}"
        assert is_on_grid(name.x)
        assert is_on_grid(name.y)
        assert name.slide == "5"
        assert len(name.patient) == 5


def test_most_patches_are_whole_and_a_few_are_edge_pieces(members: Members) -> None:
    shapes = Counter(picture.shape for picture in members.values())
    whole = shapes.pop((PATCH_PIXELS, PATCH_PIXELS, 3))
    assert 1 <= shapes.total() <= 0.1 * whole
    assert all(max(shape[:2]) <= PATCH_PIXELS and shape[2] == 3 for shape in shapes)


def test_an_edge_piece_lies_at_the_end_of_its_slide(members: Members, names: list[PatchName]) -> None:
    last: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for name in names:
        last[name.patient] = max(last[name.patient][0], name.x), max(last[name.patient][1], name.y)
    for name, picture in zip(names, members.values(), strict=True):
        height, width = picture.shape[:2]
        assert width == PATCH_PIXELS or name.x == last[name.patient][0]
        assert height == PATCH_PIXELS or name.y == last[name.patient][1]


def test_background_is_absent(members: Members, names: list[PatchName]) -> None:
    for member, picture in members.items():
        assert picture.reshape(-1, 3).min(axis=0)[1] < 215, f"{member} is empty glass"
    cells = {
        patient: {(n.column, n.row) for n in names if n.patient == patient} for patient in {n.patient for n in names}
    }
    gaps = [(1 + max(c for c, _ in own)) * (1 + max(r for _, r in own)) - len(own) for own in cells.values()]
    assert sum(gap > 0 for gap in gaps) > len(gaps) / 2  # a tissue's outline is no rectangle


def test_both_labels_are_there_and_some_patients_have_no_tumour(names: list[PatchName]) -> None:
    positive = Counter[str]()
    for name in names:
        positive[name.patient] += name.label or 0
    assert 0.15 < positive.total() / len(names) < 0.6
    assert min(positive.values()) == 0
    assert sum(count > 0 for count in positive.values()) > len(positive) / 2


def test_every_patient_comes_in_one_delivery_and_large_ones_come_in_both(tmp_path: Path) -> None:
    patients = draw_synthetic_patients(HospitalOptions(patients=12, large_patients=2))
    assert Counter(patient.delivery for patient in patients) == {1: 9, 2: 5}
    large = [patient for patient in patients if patient.width > 1000]
    assert {patient.delivery for patient in large} == {1, 2}
    assert len({patient.id for patient in patients}) == 14


def test_the_default_hospital_has_slides_of_the_agreed_sizes() -> None:
    patients = draw_synthetic_patients(HospitalOptions())
    edges = sorted(max(patient.width, patient.height) for patient in patients)
    assert len(patients) == 102
    assert all(2000 <= edge <= 2700 for edge in edges[-2:])
    assert edges[-3] < 900
