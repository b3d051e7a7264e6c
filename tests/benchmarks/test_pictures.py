"""The benchmark of pictures: WebP leaves a third of what a patient left with PNG, and looks the same."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from delivering import patch_files, write_zip
from pictures import draw_look, make_subject, measure_look, read_subject, tell_disk, tell_look, tell_night

from bcd.bundle.released import load_released
from bcd.errors import BcdError
from bcd.scoring.result import Subject

PATCHES = 200


@pytest.fixture(scope="module")
def subject() -> Subject:
    return make_subject(PATCHES)


@pytest.fixture(scope="module")
def left(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a made-up patient leaves with each setting, a folder each."""
    folder = tmp_path_factory.mktemp("pictures")
    tell_disk(load_released(), subject, folder)
    return folder


def weigh(folder: Path, pattern: str = "*") -> int:
    return sum(file.stat().st_size for file in folder.glob(pattern))


def test_pictures_in_full_are_a_third_of_png(left: Path) -> None:
    assert 0 < weigh(left / "full", "*.webp") < weigh(left / "before", "*.png") / 3


def test_each_setting_leaves_less_than_the_one_before(left: Path) -> None:
    weights = [weigh(left / setting) for setting in ("before", "full", "report", "none")]
    assert weights == sorted(weights, reverse=True)


def test_it_looks_the_same(subject: Subject, left: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tell_look(subject, left)
    told = re.findall(r"(\w+) as WebP: ([\d.]+) .* ([\d.]+) dB", capsys.readouterr().out)
    assert [name for name, _, _ in told] == ["heatmap", "slide"]
    assert all(float(decibels) > 30 for _, _, decibels in told)


def test_a_picture_is_as_far_off_another_as_its_patches_are(subject: Subject, left: Path, tmp_path: Path) -> None:
    png = left / "before/slide.png"
    assert measure_look(subject, png, png) == 0
    lighter = tmp_path / "lighter.png"
    cv2.imwrite(str(lighter), cv2.imread(str(png)) // 2 + 5)
    cv2.imwrite(str(tmp_path / "darker.png"), cv2.imread(str(png)) // 2)
    assert measure_look(subject, lighter, tmp_path / "darker.png") == pytest.approx(5)


def test_both_are_drawn_beside_each_other(left: Path, tmp_path: Path) -> None:
    draw_look(left, tmp_path / "look.png", side=60)
    assert cv2.imread(str(tmp_path / "look.png")).std() > 10


def test_a_patient_of_a_delivery_is_read_from_its_zip(tmp_path: Path) -> None:
    delivery = write_zip(tmp_path / "one.zip", patch_files("1001", [3, 4]) | patch_files("1002", [5]))
    subject = read_subject(delivery, "1001")
    assert subject.patches[["patient", "slide", "x", "y", "label"]].values.tolist() == [
        ["1001", "5", 1, 1, 1],
        ["1001", "5", 51, 1, 0],
    ]
    first = cv2.imdecode(np.frombuffer(next(iter(patch_files("1001", [3]).values())), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(subject.read(subject.patches)[0], first[..., ::-1])
    with pytest.raises(BcdError, match="1003"):
        read_subject(delivery, "1003")


def test_a_night_scores_everybody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tell_night(load_released(), tmp_path, patients=2, patches=12)
    told = capsys.readouterr().out
    assert "2 patients" in told
    assert len(list(tmp_path.glob("home/scores/*/*/*/report.html"))) == 2
