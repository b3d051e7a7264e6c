"""`bcd train`: what it asks for, what it shows, and what it refuses before an epoch is spent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from patients import freeze_patches, list_patches
from typer.testing import CliRunner

from bcd.cli.main import app
from bcd.networks.architecture import PRESETS, Architecture, Stage, Stem
from bcd.preprocessing.options import PrepareOptions
from bcd.retraining.plan import Choice, Retraining, read_choice, read_plan, write_choice, write_plan
from bcd.search.options import SearchOptions
from bcd.settings import Settings
from bcd.store.store import open_store
from bcd.training.ensemble import TrainedEnsemble
from bcd.training.fit import TrainedNetwork
from bcd.training.options import EnsembleOptions, TrainOptions
from flows import preprocess as preprocess_flow
from flows import train as flow

TINY = Architecture(stem=Stem(filters=4, stride=5), stages=[Stage(filters=4)])
TOML = "stem = {filters = 4, stride = 5}\nstages = [{filters = 4}]\n"


@pytest.fixture
def asked(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was planned, and the plan that was trained; it answers with two members, kept at their second epoch."""
    given: list[dict[str, Any]] = []
    open_store(settings)

    def preprocess(snapshot: str, **words: Any) -> str:
        given.append({"snapshot": snapshot, **words})
        return "new"

    def train(plan: str) -> TrainedEnsemble:
        given.append({"plan": plan})
        row = {"loss": 0.3, "val_auroc": 0.91, "val_score": 0.9, "patches_per_second": 1234.0}
        members = [
            TrainedNetwork(
                path=Path(f"network-{number}.keras"),
                architecture=PRESETS["compact"],
                options=TrainOptions(),
                parameters=1000,
                history=[row, {**row, "val_score": 0.95}, row],
            )
            for number in range(2)
        ]
        return TrainedEnsemble(members=members, options=EnsembleOptions(members=2))

    monkeypatch.setattr(preprocess_flow, "preprocess", preprocess)
    monkeypatch.setattr(flow, "train", train)
    return given


@pytest.fixture
def searched(settings: Settings, asked: list[dict[str, Any]]) -> Retraining:
    """As `bcd search --trials 40` leaves it."""
    snapshot = freeze_patches(settings, list_patches({"x": "train"}, [1]), np.zeros((1, 50, 50, 3), np.uint8))
    plan = write_plan(settings, snapshot, search=SearchOptions(trials=40))
    found = Choice(
        architecture=TINY,
        training=TrainOptions(learning_rate=0.0123),
        preparation=PrepareOptions(sharpen=False),
        study="study",
        note="Trial 39.",
    )
    write_choice(settings, plan, found)
    return plan


def _run(*words: str) -> Any:
    return CliRunner().invoke(app, ["train", *words])


def test_options_on_the_line_go_over_those_of_the_file(asked: list[dict[str, Any]], settings: Settings) -> None:
    settings.home.mkdir(parents=True, exist_ok=True)
    (settings.home / "bcd.toml").write_text("[training]\nepochs = 5\npatience = 2\n[ensemble]\nturns = 8\n")
    assert _run("--epochs", "3", "--seed", "7", "--members", "2").exit_code == 0
    given, trained = asked
    assert given["training"] == TrainOptions(epochs=3, seed=7, patience=2)
    assert given["ensemble"] == EnsembleOptions(members=2, turns=8)
    assert given["architecture"] is None
    assert trained == {"plan": "new"}


def test_an_architecture_is_a_presets_name_or_a_file(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TOML)
    assert _run("--architecture", "dissertation").exit_code == 0
    assert _run("--architecture", str(tmp_path / "mine.toml")).exit_code == 0
    assert [given["architecture"] for given in asked if "plan" not in given] == [PRESETS["dissertation"], TINY]


def test_what_the_last_search_chose_is_trained(
    asked: list[dict[str, Any]], searched: Retraining, settings: Settings
) -> None:
    write_plan(settings, searched.snapshot, search=SearchOptions(trials=2))  # a plan whose search chose nothing yet
    assert _run().exit_code == 0
    assert asked == [{"plan": searched.key}]
    chosen = read_choice(settings, read_plan(settings, searched.key))
    assert (chosen.architecture, chosen.training.learning_rate) == (TINY, 0.0123)


def test_options_change_what_the_last_search_chose_in_a_new_plan(
    asked: list[dict[str, Any]], searched: Retraining
) -> None:
    assert _run("--epochs", "3").exit_code == 0
    given, trained = asked
    assert given["snapshot"] == searched.snapshot.id
    assert given["architecture"] == TINY
    assert given["training"] == TrainOptions(learning_rate=0.0123, epochs=3)
    assert given["preparation"] == PrepareOptions(sharpen=False)
    assert trained == {"plan": "new"}


def test_every_member_is_shown_with_its_kept_epoch(asked: list[dict[str, Any]]) -> None:
    shown = _run("--members", "2").output
    rows = [line.split() for line in shown.splitlines() if "network-" in line]
    assert [row[0] for row in rows] == ["1", "2"]
    assert "No gate or test patient was read." in shown
    assert all("2 of 3" in " ".join(row) and "0.950" in row and "1,234" in row for row in rows)


def test_every_member_is_told_to_a_program(asked: list[dict[str, Any]]) -> None:
    told = json.loads(_run("--members", "2", "--json").stdout)
    assert [(one["member"], one["epoch"], one["epochs"], one["val_score"]) for one in told["members"]] == [
        (1, 2, 3, 0.95),
        (2, 2, 3, 0.95),
    ]
    assert told["members"][1]["network"] == "network-1.keras"
    assert told["architecture"] == json.loads(PRESETS["compact"].model_dump_json())


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--architecture", "nowhere.toml"], "nowhere.toml"),
        (["--turns", "3"], "turns = 3"),
        (["--differ-by", "luck"], "seeds, folds"),
        (["--differ-by", "folds"], "by folds"),
        (["--plan", "4f1c", "--epochs", "3"], "--plan"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(
    asked: list[dict[str, Any]], words: list[str], why: str
) -> None:
    done = _run(*words)
    assert done.exit_code != 0
    assert why in f"{done.output}{done.exception}"
    assert not asked
