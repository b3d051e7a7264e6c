"""Memory is measured on the patches of a search: those of a part of the deliveries, and what a study passes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import optuna
import pandas as pd
import pytest
from delivering import encode, write_zip
from search_memory import MEMORY, follow_deliveries, gain_over_deliveries, is_trained, read_tables
from search_patches import FOLDS, HELD_OUT, choose_patches, freeze_patches
from search_replay import REFERENCES, Table, replay, worths
from search_table import CURVES, EPOCHS, ROWS

from bcd.bundle.probes import draw_tissue_probes
from bcd.patches import CELL
from bcd.preprocessing.options import PrepareOptions
from bcd.search.space import propose
from bcd.settings import load_settings
from bcd.training.options import TrainOptions

DELIVERIES, PATIENTS, PATCHES = 2, 8, 6
BUDGET = 4.0 * EPOCHS


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    """Two deliveries of eight patients each, six patches of a patient, of whom the first is not natural."""
    folder = tmp_path_factory.mktemp("memory")
    pixels = iter(draw_tissue_probes(DELIVERIES * PATIENTS * PATCHES))
    names = []
    for delivery in range(DELIVERIES):
        files = {}
        for number in range(PATIENTS * PATCHES):
            patient, place = 9000 + delivery * PATIENTS + number // PATCHES, number % PATCHES
            name = f"{patient}_idx5_x{1 + 50 * place}_y1_class{place % 2}.png"
            files[f"{patient}/{place % 2}/{name}"] = encode(cv2.cvtColor(next(pixels), cv2.COLOR_RGB2BGR))
            names += [name] if place else []
        write_zip(folder / f"data/delivery-{delivery}.zip", files)
    (folder / "natural.txt").write_text("\n".join(names))
    settings = load_settings(folder / "home")
    return folder, choose_patches(settings, folder / "data", folder / "natural.txt", searched=3)


def test_a_few_natural_patches_are_taken_of_each_patient_in_the_same_group(
    chosen: tuple[Path, pd.DataFrame],
) -> None:
    _, patches = chosen
    assert patches["x"].min() > 1
    assert patches.groupby("patient")["group"].nunique().max() == 1
    assert set(patches["group"]) == {*range(FOLDS), HELD_OUT}
    assert patches[patches["group"] != HELD_OUT].groupby("patient").size().max() == 3
    assert (patches[patches["group"] == HELD_OUT].groupby("patient").size() == PATCHES - 1).all()


def test_the_first_deliveries_are_a_part_of_the_same_patches(chosen: tuple[Path, pd.DataFrame]) -> None:
    folder, patches = chosen
    assert patches.groupby("patient")["delivery"].nunique().max() == 1
    assert set(patches[patches["delivery"] == 1]["patient"]) == {str(9000 + number) for number in range(PATIENTS)}
    again = choose_patches(load_settings(folder / "home"), folder / "data", folder / "natural.txt", searched=3)
    pd.testing.assert_frame_equal(again, patches)


def test_one_fold_is_val_and_who_is_held_out_is_read_by_no_search(chosen: tuple[Path, pd.DataFrame]) -> None:
    folder, patches = chosen
    snapshot = freeze_patches(load_settings(folder / "home"), patches, val=1)
    merged = snapshot.patches.merge(patches[[*CELL, "group"]], on=CELL)
    assert set(merged[merged["split"] == "val"]["group"]) == {1}
    assert set(merged[merged["split"] == "test"]["group"]) == {HELD_OUT}
    assert set(merged[merged["split"] == "train"]["group"]) == {0, 2}


@pytest.fixture(scope="module")
def points() -> list[dict[str, Any]]:
    study, points = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3)), []
    for _ in range(60):
        trial = study.ask()
        propose(trial, TrainOptions(), PrepareOptions())
        points.append(dict(trial.params))
    return points


def make_table(points: list[dict[str, Any]], worth: np.ndarray) -> Table:
    val = worth[:, None] - 0.1 / np.arange(1, EPOCHS + 1)
    return Table(points, val, worth, np.ones(len(points)), np.full((len(points), 0, 0), np.nan))


def test_a_study_begins_with_the_best_of_the_one_before(points: list[dict[str, Any]]) -> None:
    worth = np.random.default_rng(1).normal(0.85, 0.02, len(points))
    tables = [make_table(points, worth), make_table(points, worth)]
    before, after = follow_deliveries(tables, 1, BUDGET, seed=4)
    assert after.whole[0] == before.best(tables[0], 1)[0]
    assert before == follow_deliveries(tables, 0, BUDGET, seed=4)[0]


def test_memory_gains_where_deliveries_agree_and_nothing_where_they_do_not(points: list[dict[str, Any]]) -> None:
    random = np.random.default_rng(1)
    worth = random.normal(0.85, 0.02, len(points))
    alike = [make_table(points, worth)] * 4
    unlike = [make_table(points, random.permutation(worth)) for _ in range(4)]
    gains = []
    for tables in (alike, unlike):
        last = [[follow_deliveries(tables, most, BUDGET, seed)[-1] for seed in range(60)] for most in (1, 0)]
        gains.append(np.subtract(*(worths(tables[-1], made, BUDGET).mean() for made in last)))
    assert gains[0] > 0.005
    assert abs(gains[1]) < gains[0] / 2


def test_the_gain_over_deliveries_has_an_error_over_recipes(points: list[dict[str, Any]]) -> None:
    worth = np.random.default_rng(1).normal(0.85, 0.02, 12)
    tables = [make_table(points[:12], worth)] * 3
    gain, error = gain_over_deliveries(tables, 1, BUDGET, 20, "worth")
    assert (gain[0] > 0, error[0] > 0) == (True, True)
    nothing = gain_over_deliveries(tables, 0, BUDGET, 5, "val score")
    assert np.array_equal(nothing, np.zeros((2, 3)))


def test_what_is_tried_first_is_tried_once(points: list[dict[str, Any]]) -> None:
    table = make_table(points, np.linspace(0.8, 0.9, len(points)))
    found = replay(table, "random", "none", 1e9, 1, first=[7, 3])
    assert found.whole[:2] == [7, 3]
    assert sorted(found.whole) == list(range(len(points)))


def test_the_tables_hold_the_recipes_that_are_trained_after_every_delivery(
    tmp_path: Path, points: list[dict[str, Any]]
) -> None:
    rows = range(REFERENCES + 3)
    text = [json.dumps(points[row]) for row in rows]
    pd.DataFrame({"row": rows, "multiply_adds": [10 * (row + 1) for row in rows], "point": text}).to_csv(
        tmp_path / ROWS, index=False
    )
    epochs = range(1, EPOCHS + 1)
    last = [
        {"row": row, "fold": 0, "epoch": e, "val": 0.8, "held_out": 0.7 + row / 100} for row in rows for e in epochs
    ]
    pd.DataFrame(last).to_csv(tmp_path / CURVES, index=False)
    trained = [(2, 1), (2, 2), (3, 1), (3, 2), (4, 1)]
    before = [
        {"row": row, "deliveries": k, "epoch": e, "val": 0.7, "held_out": 0.6} for row, k in trained for e in epochs
    ]
    pd.DataFrame(before).to_csv(tmp_path / MEMORY, index=False)
    tables = read_tables(tmp_path)
    assert [table.worth.tolist() for table in tables] == [[0.6, 0.6], [0.6, 0.6], [0.72, 0.73]]
    assert tables[0].cost.tolist() == [3, 4]
    assert tables[2].points[0] == points[2]
    assert is_trained(tmp_path / MEMORY, 4, 1)
    assert not is_trained(tmp_path / MEMORY, 4, 2)
