from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.report.figures import PICTURES
from bcd.validation.page import write_validation
from bcd.validation.result import Validation, evaluate_models


@pytest.fixture
def models(scores: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {"one/1": scores, "the other": scores.assign(probability=scores["probability"].to_numpy() ** 2)}


def evaluate(models: dict[str, pd.DataFrame], protocol: str = "") -> Validation:
    options = EvaluateOptions(resamples=100, at_prevalence=0.5)
    return evaluate_models(models, options, title="Two <networks>", notes=["A note."], protocol=protocol)


@pytest.fixture(scope="module")
def page(make_scores: Callable[..., pd.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of two models at the protocol of the founding work."""
    scores = make_scores([400, 90, *range(5, 41, 2)], decimals=1)
    both = {"one/1": scores, "the other": scores.assign(probability=scores["probability"].to_numpy() ** 2)}
    folder = write_validation(evaluate(both, protocol="founding"), both, tmp_path_factory.mktemp("page"))
    return (folder / "index.html").read_text()


def test_one_page_holds_everything_and_needs_nothing(page: str) -> None:
    assert "Research use only" in page
    assert "Two &lt;networks&gt;" in page
    assert "A note." in page
    assert page.count("data:image/png;base64,") == 2 * len(PICTURES) + 1
    assert "founding work" in page
    assert re.findall(r'(?:src|href)="(?!data:|#)', page) == []
    assert "<script" not in page


def test_the_page_is_read_without_being_seen(page: str, read_page: Callable[[str], Any]) -> None:
    read = read_page(page)
    assert len(read.pictures) == 2 * len(PICTURES) + 1
    assert not set(read.pictures) & set(PICTURES)
    assert re.match(r"ROC .*AUROC \.\d{3} \[\.\d{3}, \.\d{3}\], AUPRC", read.pictures[1])
    assert len(read.captions) == page.count("<table")
    assert len(read.contents) == len(re.findall(r"<h[23]", page))


def test_the_page_is_no_wider_than_a_telephone_or_a_printed_page(
    page: str, measure_page: Callable[[str], None]
) -> None:
    measure_page(page)


def test_the_folder_holds_what_the_page_was_made_from(models: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    validation = evaluate(models)
    folder = write_validation(validation, models, tmp_path)
    assert Validation.model_validate_json((folder / "evaluation.json").read_text()) == validation
    table = pd.read_parquet(folder / "scores.parquet")
    assert table["the other probability"].tolist() == models["the other"]["probability"].tolist()
    assert {path.name for path in (folder / "1-one-1").iterdir()} == {f"{name}.png" for name in PICTURES}
    assert (folder / "differences.png").exists()


def test_the_same_evaluation_again_is_found_written(models: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    alone = {"one/1": models["one/1"]}
    folder = write_validation(evaluate(alone), alone, tmp_path)
    changed_at = (folder / "index.html").stat().st_mtime_ns
    assert write_validation(evaluate(alone), alone, tmp_path) == folder
    assert (folder / "index.html").stat().st_mtime_ns == changed_at
    assert "Pair by pair" not in (folder / "index.html").read_text()
    other = {"one/1": models["the other"]}
    assert write_validation(evaluate(other), other, tmp_path) != folder
