"""`bcd network`, as a person types them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from delivering import patch_files, write_folder

from bcd.admission.admit import admit
from bcd.cli.augmentation import ROWS, TIMES, choose_preview_patches, draw_preview, preview_augmentation
from bcd.patches import Hospital
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepare import prepare
from bcd.settings import Settings
from bcd.snapshots.freeze import freeze_snapshot
from bcd.snapshots.options import SplitOptions
from bcd.store.batches import read_batch_pixels
from bcd.store.store import open_store

TOML = "stem = {filters = 4, stride = 5}\nstages = [{filters = 4}]\n"


def test_an_architecture_is_shown_layer_by_layer_with_its_cost(settings: Settings, bcd, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TOML)
    code, shown, _ = bcd("network", "show", str(tmp_path / "mine.toml"))
    assert code == 0
    words = [line.split() for line in shown.splitlines()]
    assert ["stem", "Conv2D", "10x10x4", "304", "30,000"] in words
    assert ["stage1_pool", "MaxPooling2D", "5x5x4"] in words
    assert ["in", "all", "653", "58,804"] in words
    assert "0.1 MFLOPs a patch" in shown
    assert "Latency on cpu" in shown or "Latency on gpu" in shown
    assert [line[0] for line in words if len(line) == 3 and line[0] in {"1", "256"}] == ["1", "256"]


def test_json_is_nothing_but_json(settings: Settings, bcd, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TOML)
    code, shown, _ = bcd("network", "show", str(tmp_path / "mine.toml"), "--json")
    told = json.loads(shown)
    assert code == 0
    assert told["description"] == "stem 4 of 5x5/5, 2x4, average"
    assert told["architecture"]["stages"][0]["filters"] == 4
    assert told["flops"] == 2 * told["multiply_adds"] == 2 * sum(layer["multiply_adds"] for layer in told["layers"])
    assert told["parameters"] == sum(layer["parameters"] for layer in told["layers"])
    assert [each["batch_size"] for each in told["latency"]] == [1, 256]
    assert all(each["milliseconds"] > 0 for each in told["latency"])


def test_the_presets_are_listed_with_their_size(settings: Settings, bcd) -> None:
    code, shown, _ = bcd("network", "list")
    assert code == 0
    assert [line.split()[-2:] for line in shown.splitlines() if line.split()[:1] == ["compact"]] == [
        ["299,841", "57.9"]
    ]
    assert "1,664,641" in shown


@pytest.mark.parametrize("named", ["compakt", "none.toml"])
def test_an_architecture_that_is_not_there_is_told_before_anything_is_built(
    named: str, settings: Settings, bcd
) -> None:
    code, shown, told = bcd("network", "show", named)
    assert (code, shown) == (2, "")
    assert repr(named) in told
    assert "Traceback" not in told


def test_a_preview_of_synthetic_tissue_is_a_picture_of_patches_and_their_augmentation(
    settings: Settings, bcd, tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "preview.png"
    code, shown, told = bcd("network", "preview", "--to", str(out), "--stain", "2", "--light", "0", "--seed", "5")
    assert (code, told) == (0, "")
    assert re.search(r"stain jitter 2, light jitter 0, seed 5", shown)
    assert "synthetic" in shown
    assert str(out) in shown
    picture = cv2.imread(str(out))
    assert picture.shape[0] > ROWS * 150
    assert picture.shape[1] > (TIMES + 1) * 150
    again = tmp_path / "again.png"
    bcd("network", "preview", "--to", str(again), "--stain", "2", "--light", "0", "--seed", "5")
    assert again.read_bytes() == out.read_bytes()


def test_the_picture_shows_every_pixel_of_each_patch_in_its_place(tmp_path: Path) -> None:
    augmented = np.random.default_rng(0).integers(0, 256, (2, 1 + TIMES, 50, 50, 3), dtype=np.uint8)
    draw_preview(tmp_path / "a.png", augmented, np.array([0, 1]), title="t", note="n")
    drawn = cv2.cvtColor(cv2.imread(str(tmp_path / "a.png")), cv2.COLOR_BGR2RGB)
    places = []
    for patch in augmented.reshape(-1, 50, 50, 3):
        large = patch.repeat(3, axis=0).repeat(3, axis=1)
        fit = cv2.matchTemplate(drawn, large, cv2.TM_SQDIFF)
        y, x = np.unravel_index(fit.argmin(), fit.shape)
        np.testing.assert_array_equal(drawn[y : y + 150, x : x + 150], large)
        places.append((int(y), int(x)))
    assert len({y for y, _ in places}) == 2
    assert places == sorted(places)
    assert [x for _, x in places[:9]] == [x for _, x in places[9:]]


def test_the_first_column_is_the_patch_as_prepared() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 50, 50, 3), dtype=np.uint8)
    augmented = preview_augmentation(pixels, 1.0, 1.0, seed=1)
    assert augmented.shape == (2, 1 + TIMES, 50, 50, 3)
    np.testing.assert_array_equal(augmented[:, 0], pixels)
    assert len({one.tobytes() for one in augmented[0]}) == 1 + TIMES


def test_a_preview_takes_the_strengths_of_training_unless_told(settings: Settings, bcd, tmp_path: Path) -> None:
    settings.home.mkdir(parents=True)
    (settings.home / "bcd.toml").write_text("[training]\nstain_jitter = 1.5\nlight_jitter = 0.5\n")
    shown = bcd("network", "preview", "--to", str(tmp_path / "a.png"), "--light", "2")[1]
    assert "stain jitter 1.5, light jitter 2" in shown


@pytest.mark.parametrize(
    ("options", "what"),
    [(["--to", "a.jpg"], "a.jpg"), (["--stain", "9"], "stain_jitter"), (["--snapshot", "abc"], "'abc'")],
)
def test_a_preview_that_cannot_be_made_says_why(options: list[str], what: str, settings: Settings, bcd) -> None:
    code, _, told = bcd("network", "preview", *options)
    assert code == 2
    assert what in told
    assert "Traceback" not in told


def test_a_preview_of_a_snapshot_shows_train_patches_of_both_classes(settings: Settings, bcd, tmp_path: Path) -> None:
    bcd("hospital", "declare", "north", "--identifiers", "pseudonyms", "--by", "Mary", "--reason", "test")
    store = open_store(settings)
    files: dict[str, bytes] = {}
    for patient in range(12):
        files |= patch_files(str(patient), range(4 * patient, 4 * patient + 4))
    admit(store, write_folder(tmp_path / "delivery", files), Hospital("north"))
    snapshot = freeze_snapshot(store, SplitOptions())
    pixels, labels, source = choose_preview_patches(settings, "", seed=2)
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert source.endswith(snapshot.id[:12])
    prepared = prepare(read_batch_pixels(settings, snapshot.of("train")), PrepareOptions())
    known = {patch.tobytes(): label for patch, label in zip(prepared, snapshot.of("train")["label"], strict=True)}
    assert [known.get(patch.tobytes()) for patch in pixels] == labels.tolist()
    assert not np.array_equal(pixels, choose_preview_patches(settings, snapshot.id[:8], seed=3)[0])
    shown = bcd("network", "preview", "--snapshot", snapshot.id[:8], "--to", str(tmp_path / "a.png"))[1]
    assert f"snapshot {snapshot.id[:12]}" in shown
