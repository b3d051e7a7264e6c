"""`bcd evaluate`, as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_scores import ScoreModel, draw_synthetic_scores

from bcd.settings import Settings
from bcd.store.store import open_store
from bcd.validation.result import Validation


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    file = tmp_path / "predictions.csv"
    scores = draw_synthetic_scores(ScoreModel(), 15, seed=4).rename(columns={"probability": "ours"})
    scores["theirs"] = scores["ours"] ** 2
    scores.drop(columns="logit").to_csv(file, index=False)
    return file


def test_json_is_printed_and_nothing_else(settings: Settings, bcd, predictions: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--resamples", "100", "--to", str(out), "--protocol", "founding"]
    code, said, _ = bcd("evaluate", "--predictions", str(predictions), *options, "--json")
    assert code == 0
    validation = Validation.model_validate(json.loads(said))
    assert list(validation.evaluations) == ["ours", "theirs"]
    assert validation.evaluations["ours"].at_prevalence.prevalence == 0.5
    (folder,) = out.iterdir()
    assert json.loads((folder / "evaluation.json").read_text()) == json.loads(said)


def test_a_person_sees_tables_and_where_the_page_is(settings: Settings, bcd, predictions: Path) -> None:
    arguments = ["--predictions", str(predictions), "--column", "ours", "--resamples", "100", "--prevalence", "0.1"]
    code, said, _ = bcd("evaluate", *arguments)
    assert code == 0
    for title in ("Metrics at the sample's own prevalence", "Threshold table", "Outcomes", "At a stated prevalence"):
        assert title in said

    assert "Descriptive only" in said
    assert "Research use only" in said
    assert len(list((settings.home / "evaluations").glob("evaluation-*/index.html"))) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--predictions", "a.csv", "--data", "b"], "--predictions and --data"),
        (["--predictions", "a.csv", "--model", "champion"], "--beside"),
        (["--data", "b", "--snapshot", "1a"], "--snapshot"),
        (["--column", "ours"], "--column"),
        (["--predictions", "nowhere.csv"], "nowhere.csv"),
        (["--protocol", "imagenet"], "imagenet"),
        (["--data", "nowhere", "--model", "nowhere.keras"], "nowhere.keras"),
        ([], "There is no champion"),
    ],
)
def test_what_cannot_be_evaluated_is_told_in_a_sentence(
    arguments: list[str], message: str, settings: Settings, bcd
) -> None:
    open_store(settings)  # a home
    code, _, complained = bcd("evaluate", *arguments)
    assert code == 2
    assert message in complained


def test_half_a_file_of_a_network_is_told_in_a_sentence(settings: Settings, bcd, tmp_path: Path) -> None:
    open_store(settings)  # a home
    (tmp_path / "half.keras").write_bytes(b"PK\x03\x04" + bytes(3000))
    code, _, complained = bcd("evaluate", "--model", str(tmp_path / "half.keras"), "--pixels", "0..1")
    assert code == 2
    assert "half.keras" in complained
    assert "Traceback" not in complained
