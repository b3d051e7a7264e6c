"""Shifts of the pixels: each does what it says, and the unchanged patches lose nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import robustness
from delivering import encode, write_zip
from released_training import FOLDS, Patients, Recipe, fold_folder, gather_scores, open_patients, read_natural
from robustness import RELEASED, draw, evaluate_shift, measure, score_shifted, tabulate, train_folds
from shifts import SHIFTS, move, rescale, restain

from bcd.bundle.probes import draw_tissue_probes
from bcd.bundle.released.figures import Shift
from bcd.errors import BcdError
from bcd.networks.architecture import Architecture, Head, Stage, Stem
from bcd.preprocessing.options import PrepareOptions
from bcd.training.options import TrainOptions

PATIENTS, PATCHES = 9, 8
TINY = Recipe(
    Architecture(stem=Stem(filters=4, stride=3), stages=[Stage(filters=4, depth=1)], head=Head()),
    TrainOptions(epochs=1, batch_size=8, keep="last", min_val_patients=0, min_train_patients=2),
    PrepareOptions(),
    turns=1,
)


@pytest.fixture(scope="module")
def patch() -> np.ndarray:
    return draw_tissue_probes(1)[0]


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_gives_a_patch_of_the_same_shape_and_other_pixels(name: str, patch: np.ndarray) -> None:
    changed = SHIFTS[name](patch)
    assert (changed.shape, changed.dtype) == (patch.shape, np.uint8)
    assert (changed != patch).any()
    assert np.abs(changed.astype(int) - patch).mean() < 40


def test_more_stain_is_darker_and_none_more_is_the_same(patch: np.ndarray) -> None:
    assert restain(0.2)(patch).mean() < restain(0.1)(patch).mean() < patch.mean() < restain(-0.1)(patch).mean()
    assert np.array_equal(restain(0.0)(patch), patch)


def test_a_moved_patch_has_its_pixels_one_further(patch: np.ndarray) -> None:
    assert np.array_equal(move(1)(patch)[1:, 1:], patch[:-1, :-1])


def test_a_magnified_patch_has_its_centre_where_it_was(patch: np.ndarray) -> None:
    assert np.array_equal(rescale(1.0)(patch), patch)
    dot = np.zeros_like(patch)
    dot[24:26, 24:26] = 255
    assert dot.sum() < rescale(1.1)(dot).sum() < 1.3 * dot.sum()


def test_unchanged_logits_lose_nothing_and_turned_ones_lose_all() -> None:
    draw = np.random.default_rng(5)
    patient = np.repeat(np.arange(30), 12)
    label = draw.integers(0, 2, len(patient))
    logit = draw.normal(2.0 * label - 1, 1.0).astype(np.float32)
    scores = pd.DataFrame({"hospital": "h", "patient": patient.astype(str), "label": label, "logit_1": logit})
    scores = scores.assign(fold=patient % robustness.FOLDS, natural=np.tile(np.arange(12) < 8, 30))
    natural = logit[scores["natural"]]
    same = evaluate_shift(scores, "none", natural)
    assert same.loss == 0
    turned = evaluate_shift(scores, "turned", -natural)
    assert turned.auroc == pytest.approx(1 - same.auroc)
    assert turned.calibration_error > same.calibration_error


TRIED = ("brightness -20 of 255", "JPEG 50")


@dataclasses.dataclass(frozen=True)
class Trained:
    """A tiny recipe, trained without each fold, and its natural sample."""

    patients: Patients
    folder: Path
    natural: pd.DataFrame

    def measure(self) -> list[Shift]:
        return measure(self.patients, TINY, self.folder, 1, self.natural, only=TRIED)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("robust")
    files = {}
    for number, pixels in enumerate(draw_tissue_probes(PATIENTS * PATCHES)):
        patient, label = 9000 + number // PATCHES, number % 2
        name = f"{patient}_idx5_x{1 + 50 * (number % PATCHES)}_y1_class{label}.png"
        files[f"{patient}/{label}/{name}"] = encode(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    write_zip(folder / "data/delivery.zip", files)
    (folder / "natural.txt").write_text("\n".join(name.rpartition("/")[2] for name in files if "_x1_" not in name))
    patients = open_patients(folder / "data", folder / "home", TINY)
    train_folds(patients, TINY, folder)
    return Trained(patients, folder, read_natural(folder / "natural.txt"))


def test_each_patch_is_scored_by_the_copy_that_never_saw_its_patient(trained: Trained) -> None:
    scores = gather_scores(trained.folder, 1, trained.natural)
    natural = scores[scores["natural"]]
    assert (len(scores), len(natural)) == (PATIENTS * PATCHES, PATIENTS * (PATCHES - 1))
    logit = score_shifted(trained.patients, TINY, trained.folder, scores, "none", change=lambda pixels: pixels)
    assert np.allclose(logit, natural["logit_1"], atol=1e-5)


def test_a_second_run_scores_nothing_again_until_a_network_is_another(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trained.measure()
    assert [shift.name for shift in first] == list(TRIED)
    scored, predict = [], robustness.predict_logits

    def count_and_predict(*some: Any, **more: Any) -> Any:
        scored.append(some)
        return predict(*some, **more)

    monkeypatch.setattr(robustness, "predict_logits", count_and_predict)
    assert trained.measure() == first
    assert scored == []
    other = (fold_folder(trained.folder, 0, 1) / "network.keras").read_bytes()
    (fold_folder(trained.folder, 0, 0) / "network.keras").write_bytes(other)
    trained.measure()
    assert len(scored) == len(TRIED) * FOLDS


def test_a_folder_without_members_is_refused(trained: Trained) -> None:
    with pytest.raises(BcdError, match="no member"):
        measure(trained.patients, TINY, trained.folder, 0, trained.natural)


def test_the_recipes_beside_the_released_one_differ_from_it_in_one_thing() -> None:
    released = robustness.RECIPE
    plain, founding = robustness.COMPARED["unaugmented"], robustness.COMPARED["dissertation"]
    assert (plain.architecture, plain.preparation) == (released.architecture, released.preparation)
    assert (plain.training.stain_jitter, plain.training.light_jitter) == (0, 0)
    assert dataclasses.replace(founding, architecture=released.architecture) == released
    assert founding.architecture != released.architecture


def test_table_and_plot_show_every_recipe_and_name_what_costs_most(tmp_path: Path) -> None:
    shifts = [
        Shift(name=name, auroc=0.9, loss=loss, calibration_error=0.02) for name, loss in (("a", 0), ("b", 0.05))
    ]
    measured = {RELEASED: shifts, "dissertation": shifts}
    *_, costly, mean = tabulate(measured).splitlines()
    assert costly.count("**+0.050**") == 2
    assert mean.count("+0.0250") == 2
    draw(measured, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
