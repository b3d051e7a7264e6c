from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from bcd.evaluation.judgement import Judgement, judge_models
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.page import write_judgement
from bcd.evaluation.plots import PICTURES


@pytest.fixture
def models(scores: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {"one/1": scores, "the other": scores.assign(probability=scores["probability"].to_numpy() ** 2)}


def judge(models: dict[str, pd.DataFrame], protocol: str = "") -> Judgement:
    options = EvaluateOptions(resamples=100, at_prevalence=0.5)
    return judge_models(models, options, title="Two <networks>", notes=["A note."], protocol=protocol)


def test_one_page_holds_everything_and_needs_nothing(models: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    folder = write_judgement(judge(models, protocol="founding"), models, tmp_path)
    page = (folder / "index.html").read_text()
    assert "Research use only" in page
    assert "Two &lt;networks&gt;" in page
    assert "A note." in page
    assert page.count("data:image/png;base64,") == 2 * len(PICTURES) + 1
    assert "founding work" in page
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert "<script" not in page


def test_the_folder_holds_what_the_page_was_made_from(models: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    judgement = judge(models)
    folder = write_judgement(judgement, models, tmp_path)
    assert Judgement.model_validate_json((folder / "evaluation.json").read_text()) == judgement
    table = pd.read_parquet(folder / "scores.parquet")
    assert table["the other probability"].tolist() == models["the other"]["probability"].tolist()
    assert {path.name for path in (folder / "1-one-1").iterdir()} == {f"{name}.png" for name in PICTURES}
    assert (folder / "differences.png").exists()


def test_the_same_judgement_again_is_found_written(models: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    alone = {"one/1": models["one/1"]}
    folder = write_judgement(judge(alone), alone, tmp_path)
    changed_at = (folder / "index.html").stat().st_mtime_ns
    assert write_judgement(judge(alone), alone, tmp_path) == folder
    assert (folder / "index.html").stat().st_mtime_ns == changed_at
    assert "Pair by pair" not in (folder / "index.html").read_text()
    other = {"one/1": models["the other"]}
    assert write_judgement(judge(other), other, tmp_path) != folder
