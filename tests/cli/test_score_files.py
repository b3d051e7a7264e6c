"""`bcd score … --to FOLDER`: files that are not admitted, with whatever model, and nothing else is touched."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from html import unescape
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
from delivering import name_pixels, write_folder
from released_model import TISSUE

from bcd.drift.patient import PatientDrift
from bcd.drift.state import UNTRUSTED
from bcd.evaluation.policy.context import Context
from bcd.evaluation.policy.neighbours import find_neighbours
from bcd.preprocessing.options import PrepareOptions
from bcd.preprocessing.prepare import prepare
from bcd.settings import Settings
from bcd.store.store import open_store

RESULT = {
    "scores.parquet",
    "scores.csv",
    "drift.json",
    "slide-0.webp",
    "heatmap-0.webp",
    "patches-0.geojson",
    "report.html",
}


pytestmark = pytest.mark.usefixtures("settings")  # a home that is not there


def write_patches(folder: Path, pixels: np.ndarray, *, patient: str = "A", label: int | None = None) -> Path:
    return write_folder(folder, name_pixels(patient, pixels, slide="0", labels=[label]))


def draw_picture(rows: int = 3, columns: int = 4) -> np.ndarray:
    """Patches of tissue side by side, each pixel of 4 µm four times four: a picture at 1 µm per pixel."""
    patches = TISSUE[: rows * columns].reshape(rows, columns, 50, 50, 3)
    return patches.swapaxes(1, 2).reshape(rows * 50, columns * 50, 3).repeat(4, 0).repeat(4, 1)


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """A tiled TIFF that says its spacing and is called as no patient is."""
    path = tmp_path / "my slide_7.tiff"
    said = {"resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, draw_picture(), tile=(64, 64), photometric="rgb", metadata=None, **said)
    return path


ALONE = """
import socket, sys
def refuse(*_): raise OSError("no network here")
socket.socket.connect = socket.socket.bind = refuse
from bcd.cli.main import main
from bcd.drift.patient import PatientDrift
try:
    main()
finally:
    print("LOADED", *sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_a_slide_is_scored_without_home_server_or_network_and_leaves_only_its_result(
    slide: Path, made_released: Path, tmp_path: Path
) -> None:
    (tmp_path / "user").mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "user"), "TMPDIR": str(tmp_path / "tmp")}
    environment["PYTHONPATH"] = os.environ.get("PYTHONPATH", str(Path(__file__).parents[2]))
    (tmp_path / "tmp").mkdir()
    isolate = ["unshare", "--map-root-user", "--net"]
    can_isolate = subprocess.run([*isolate, "true"], capture_output=True, check=False).returncode == 0
    words = ["score", str(slide), "--to", "out", "--model", str(made_released / "bundle")]
    command = [*(isolate if can_isolate else []), sys.executable, "-c", ALONE, *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "out" / "my-slide-7"
    assert {path.name for path in folder.iterdir()} == RESULT
    scores = pd.read_parquet(folder / "scores.parquet")
    assert len(scores) == 12
    assert len(pd.read_csv(folder / "scores.csv")) == 12
    report = (folder / "report.html").read_text()
    assert "this hospital's patients" in unescape(report)
    assert json.loads((folder / "patches-0.geojson").read_text())["bcd"]["microns_per_pixel"] == [1.0, 1.0]
    left = {path.relative_to(tmp_path / "user").parts[0] for path in (tmp_path / "user").rglob("*")}
    assert left <= {".cache", ".config"}  # of matplotlib, which keeps a list of fonts
    assert list((tmp_path / "tmp").iterdir()) == []
    [loaded] = [line.split() for line in done.stdout.splitlines() if line.startswith("LOADED")]
    assert {"keras", "mlflow", "optuna", "prefect", "sklearn", "tensorflow"}.isdisjoint(loaded)


def test_without_a_champion_the_released_model_scores_and_no_home_is_begun(
    bcd, slide: Path, released: Path, tmp_path: Path, settings: Settings
) -> None:
    code, out, _ = bcd("score", slide, "--to", tmp_path / "out")
    assert (code, "Scored by bcd-idc/released" in out) == (0, True)
    assert not settings.home.exists()


def test_folders_and_archives_are_scored_together_a_report_a_patient(
    bcd, released: Path, slide: Path, tmp_path: Path
) -> None:
    folder = write_patches(tmp_path / "a", TISSUE[:12], patient="A", label=1)
    packed = write_patches(tmp_path / "b", TISSUE[12:20], patient="B")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for file in packed.iterdir():
            archive.write(file, file.name)
    code, out, _ = bcd("score", folder, tmp_path / "b.zip", slide, "--to", tmp_path / "out")
    assert code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"A", "B", "my-slide-7"}
    labelled = pd.read_parquet(tmp_path / "out/A/scores.parquet")
    assert labelled["label"].eq(1).all()
    assert {"batch", "row"} <= set(labelled)
    assert out.count("report.html") == 3


def test_given_patches_are_written_for_other_programs_beside_the_report(bcd, released: Path, tmp_path: Path) -> None:
    write_patches(tmp_path / "a", TISSUE[:4], patient="A")
    dicom = {"report.dcm", "slide-0.dcm", "segmentation-0.dcm", "probability-0.dcm"}
    for name, written in {"ome-tiff": {"slide-0.ome.tiff", "heatmap-0.ome.tiff"}, "dicom": dicom}.items():
        code, _, complained = bcd("score", tmp_path / "a", "--to", tmp_path / "out", "--format", name)
        assert (code, complained) == (0, "")
        assert {path.name for path in (tmp_path / "out/A").iterdir()} == RESULT | written
        if name == "ome-tiff":
            shown = tifffile.imread(tmp_path / "out/A/slide-0.ome.tiff")
            np.testing.assert_array_equal(shown[:50, 50:100], TISSUE[1])


def test_what_has_no_such_format_is_refused_before_it_is_scored(
    bcd, released: Path, slide: Path, tmp_path: Path
) -> None:
    code, _, complained = bcd("score", slide, "--to", tmp_path / "none", "--format", "ome-tiff")
    assert (code, "patches-0.geojson" in complained) == (2, True)
    assert not (tmp_path / "none").exists()
    code, _, complained = bcd("score", "1001", "--format", "ome-tiff")
    assert (code, "bcd patient export" in complained) == (2, True)


def test_patches_that_it_learned_from_are_told(bcd, released: Path, tmp_path: Path) -> None:
    write_patches(tmp_path / "a", TISSUE[:4], patient="other")
    bcd("score", tmp_path / "a", "--to", tmp_path / "out")
    report = (tmp_path / "out/other/report.html").read_text()
    assert 'class="exposure"' in report
    assert re.search(r"\b4 of the 4 patches", report)


def test_a_picture_needs_its_spacing_and_goes_by_its_name(bcd, released: Path, tmp_path: Path) -> None:
    picture = tmp_path / "scan.jpg"
    cv2.imwrite(str(picture), draw_picture()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])
    code, _, err = bcd("score", picture, "--to", tmp_path / "out")
    assert (code, "--spacing" in err) == (2, True)
    assert bcd("score", picture, "--spacing", "1", "--to", tmp_path / "out")[0] == 0
    assert (tmp_path / "out/scan/report.html").is_file()


def test_a_slide_that_does_not_say_its_spacing_is_refused_and_scored_with_it(
    bcd, released: Path, tmp_path: Path
) -> None:
    slide = tmp_path / "unsaid.tiff"
    tifffile.imwrite(slide, draw_picture(), tile=(64, 64), photometric="rgb", metadata=None)
    code, _, err = bcd("score", slide, "--to", tmp_path / "out")
    assert (code, "spacing" in err) == (2, True)
    assert not (tmp_path / "out").exists()
    assert bcd("score", slide, "--spacing", "1", "--to", tmp_path / "out")[0] == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda pixels: prepare(pixels, PrepareOptions(sharpen=True)), "sharpened"),
        (lambda pixels: pixels // 255, "scaled to 0..1"),
        (lambda pixels: pixels[:, :40], "size"),
        (
            lambda pixels: np.stack([cv2.resize(patch[20:24, 20:24], (50, 50)) for patch in pixels]),
            "finer magnification",
        ),
    ],
)
def test_patches_that_are_not_as_they_were_cut_are_refused_with_the_reason(
    bcd, released: Path, tmp_path: Path, change: Callable[[np.ndarray], np.ndarray], said: str
) -> None:
    write_patches(tmp_path / "a", np.ascontiguousarray(change(TISSUE)))
    code, _, err = bcd("score", tmp_path / "a", "--to", tmp_path / "out")
    assert code == 2
    assert said in err
    assert not (tmp_path / "out/A").exists()


def test_a_patient_who_cannot_be_scored_keeps_no_other_from_it(bcd, released: Path, tmp_path: Path) -> None:
    write_patches(tmp_path / "a", prepare(TISSUE[:4], PrepareOptions(sharpen=True)), patient="A")
    write_patches(tmp_path / "b", TISSUE[12:16], patient="B")
    code, out, err = bcd("score", tmp_path / "a", tmp_path / "b", "--to", tmp_path / "out")
    assert code == 2
    assert "Patient A" in err
    assert (tmp_path / "out/B/report.html").is_file()
    assert str(tmp_path / "out/B/report.html") in out.replace("\n", "")
    assert not (tmp_path / "out/A").exists()


def test_a_stain_far_from_the_training_patients_is_not_to_be_relied_on_and_said_on_top(
    bcd, released: Path, tmp_path: Path
) -> None:
    write_patches(tmp_path / "a", (255 - (255 - TISSUE) // 3).astype(np.uint8))
    assert bcd("score", tmp_path / "a", "--to", tmp_path / "out")[0] == 0
    report = (tmp_path / "out/A/report.html").read_text()
    kept = PatientDrift.model_validate_json((tmp_path / "out/A/drift.json").read_bytes())
    assert kept.state.level == UNTRUSTED
    assert min(kept.state.shifts[f"density_{name}"] for name in ("red", "green", "blue")) < -6
    assert report.index("Not to be relied on.") < report.index("Split:")


def test_patients_given_together_are_compared_together_and_a_hospital_without_a_name_is_foreign(
    bcd, released: Path, tmp_path: Path
) -> None:
    write_patches(tmp_path / "a", TISSUE[:12], patient="A")
    write_patches(tmp_path / "b", TISSUE[12:20], patient="B")
    assert bcd("score", tmp_path / "a", tmp_path / "b", "--to", tmp_path / "out")[0] == 0
    kept = PatientDrift.model_validate_json((tmp_path / "out/B/drift.json").read_bytes())
    assert kept.delivery is not None
    assert (kept.delivery.patients, kept.delivery.known, kept.state.foreign) == (2, 20, True)
    report = (tmp_path / "out/B/report.html").read_text()
    assert 'class="exposure" data-drift' in report  # yellow


def test_one_patch_in_two_files_is_refused_naming_both(bcd, released: Path, tmp_path: Path) -> None:
    for name in "ab":
        write_patches(tmp_path / name, TISSUE[:4])
    code, _, err = bcd("score", tmp_path / "a", tmp_path / "b", "--to", tmp_path / "out")
    assert code == 2
    assert str(tmp_path / "a") in err
    assert str(tmp_path / "b") in err


def test_an_earlier_result_is_replaced_and_anything_else_is_not(bcd, released: Path, tmp_path: Path) -> None:
    write_patches(tmp_path / "a", TISSUE[:4])
    for patches in (4, 6):
        write_patches(tmp_path / "a", TISSUE[:patches])
        assert bcd("score", tmp_path / "a", "--to", tmp_path / "out")[0] == 0
        assert len(pd.read_parquet(tmp_path / "out/A/scores.parquet")) == patches
    shutil.rmtree(tmp_path / "out/A")
    (tmp_path / "out/A").mkdir()
    (tmp_path / "out/A/mine.txt").write_text("x")
    assert bcd("score", tmp_path / "a", "--to", tmp_path / "out")[0] == 2
    assert (tmp_path / "out/A/mine.txt").read_text() == "x"


def test_what_is_missing_is_told(
    bcd, released: Path, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_patches(tmp_path / "a", TISSUE[:4])
    monkeypatch.chdir(tmp_path)
    for words, said in [
        (["a"], "--to"),
        (["--to", "out"], "No file"),
        (["nothing.svs", "--to", "out"], "nothing.svs"),
        (["8867", "--model", "released"], "--model"),
        (["a", "--to", "out", "--model", "a"], "holds no bundle"),
        (["a", "--to", "out", "--model", "elsewhere/b"], "holds no bundle"),
        (["a", "--to", "out", "--model", "3"], "no folder"),
    ]:
        code, _, err = bcd("score", *words)
        assert (code, said in err) == (2, True), words
    assert not settings.home.exists()


def test_a_home_with_a_champion_scores_with_it(
    bcd, released: Path, registry_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bcd.gate.adoption import make_released_champion
    from bcd.store.sign_off import SignOff

    monkeypatch.setenv("BCD_HOME", str(registry_settings.home))
    make_released_champion(open_store(registry_settings), SignOff("Dr Lee", "to begin with"))
    write_patches(tmp_path / "a", TISSUE[:4])
    code, out, err = bcd("score", tmp_path / "a", "--to", tmp_path / "out")
    assert code == 0, err
    assert "Scored by bcd-idc/1" in out


def test_patches_of_a_slide_that_bcd_cut_have_a_context_and_others_have_none(
    bcd, made_released: Path, slide: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(made_released / "bundle", model)
    record = json.loads((model / "bundle.json").read_text())
    stage = Context(own=0.5, neighbours=1.0, intercept=0.0, n_patients=3)
    record["policy"]["context"] = stage.model_dump(mode="json")
    (model / "bundle.json").write_text(json.dumps(record))
    thinned = write_patches(tmp_path / "a", TISSUE[:12], patient="A")
    whole = write_patches(tmp_path / "b", TISSUE[12:20], patient="B")
    (whole / "slides.csv").write_text("file,patient,slide,complete\n,B,0,1\n")

    assert bcd("score", slide, thinned, whole, "--to", tmp_path / "out", "--model", model)[0] == 0

    found = {folder.name: pd.read_csv(folder / "scores.csv") for folder in (tmp_path / "out").iterdir()}
    assert found["A"]["context_probability"].isna().all()
    for name in ("B", "my-slide-7"):
        scores = found[name]
        logits = scores["logit"].to_numpy()
        expected = stage.apply(logits, find_neighbours(scores, logits))
        np.testing.assert_allclose(scores["context_probability"], expected)
        assert (scores["context_probability"] != scores["probability"]).all()
