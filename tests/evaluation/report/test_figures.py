from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import calibration_curve

from bcd.evaluation.evaluation import evaluate_scores
from bcd.evaluation.metrics.sample import make_evaluation_sample
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.report.figures import draw_evaluation
from bcd.evaluation.report.reliability import reliability

NAMES = {"curves", "reliability", "confusion", "risk-coverage", "thresholds", "patients"}


def draw(scores: pd.DataFrame, options: EvaluateOptions, folder: Path) -> dict[str, bytes]:
    evaluation = evaluate_scores(scores, options, snapshot="abc", split="test")
    return {name: path.read_bytes() for name, path in draw_evaluation(scores, evaluation, folder).items()}


def test_every_picture_is_drawn_the_same_each_time(
    scores: pd.DataFrame, options: EvaluateOptions, tmp_path: Path
) -> None:
    first, second = (draw(scores, options, tmp_path / name) for name in ("first", "second"))
    assert set(first) == NAMES
    assert first == second
    assert all(png.startswith(b"\x89PNG") for png in first.values())
    assert {path.name for path in (tmp_path / "first").iterdir()} == {f"{name}.png" for name in NAMES}


@pytest.mark.parametrize("label", [0, 1])
def test_pictures_are_drawn_where_figures_are_not_available(
    label: int, make_scores: Callable[..., pd.DataFrame], options: EvaluateOptions, tmp_path: Path
) -> None:
    one_class = make_scores([4, 3]).assign(label=label).drop(columns="logit")
    assert set(draw(one_class, options, tmp_path)) == NAMES


def test_reliability_shows_the_observed_share_in_each_bin(
    make_scores: Callable[..., pd.DataFrame], options: EvaluateOptions
) -> None:
    scores = make_scores([400, *range(5, 41, 2)])
    bins = reliability(make_evaluation_sample(scores), options)
    observed, predicted = calibration_curve(scores["label"], scores["probability"], n_bins=10)
    assert [b.predicted for b in bins] == pytest.approx(predicted)
    assert sum(b.patches for b in bins) == len(scores)
    known = [i for i, b in enumerate(bins) if b.observed.value is not None]
    assert known
    assert [bins[i].observed.value for i in known] == pytest.approx(np.take(observed, known))


def test_drawing_leaves_pyplot_alone() -> None:
    code = "import sys, bcd.evaluation.report.figures, bcd.charts as s, pathlib, tempfile\n"
    code += "file = pathlib.Path(tempfile.mkdtemp()) / 'a.png'\n"
    code += "with s.page(file, title='a', note='b', size=(2, 2)) as figure: figure.subplots()\n"
    code += "print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
