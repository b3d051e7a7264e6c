"""`bcd train`: what it asks for, what it shows, and what it refuses before an epoch is spent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bcd.cli.main import app
from bcd.networks.architecture import PRESETS, Architecture, Stage, Stem
from bcd.settings import Settings
from bcd.training.ensemble import TrainedEnsemble
from bcd.training.fit import TrainedNetwork
from bcd.training.options import EnsembleOptions, TrainOptions
from flows import train as flow

TINY = Architecture(stem=Stem(filters=4, stride=5), stages=[Stage(filters=4)])
TOML = "stem = {filters = 4, stride = 5}\nstages = [{filters = 4}]\n"


@pytest.fixture
def asked(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the flow was asked for; it answers with as many members as asked, kept at their second epoch."""
    given: list[dict[str, Any]] = []

    def train(**words: Any) -> TrainedEnsemble:
        given.append(words)
        ensemble: EnsembleOptions = words["ensemble"]
        row = {"loss": 0.3, "val_auroc": 0.91, "val_score": 0.9, "patches_per_second": 1234.0}
        members = [
            TrainedNetwork(
                path=Path(f"network-{number}.keras"),
                architecture=words["architecture"] or PRESETS["compact"],
                options=words["training"],
                parameters=1000,
                history=[row, {**row, "val_score": 0.95}, row],
            )
            for number in range(ensemble.members)
        ]
        return TrainedEnsemble(members=members, options=ensemble)

    monkeypatch.setattr(flow, "train", train)
    return given


def _run(*words: str) -> Any:
    return CliRunner().invoke(app, ["train", *words])


def test_options_on_the_line_go_over_those_of_the_file(asked: list[dict[str, Any]], settings: Settings) -> None:
    settings.home.mkdir(parents=True, exist_ok=True)
    (settings.home / "bcd.toml").write_text("[training]\nepochs = 5\npatience = 2\n[ensemble]\nviews = 8\n")
    assert _run("--epochs", "3", "--seed", "7", "--members", "2").exit_code == 0
    (given,) = asked
    assert given["training"] == TrainOptions(epochs=3, seed=7, patience=2)
    assert given["ensemble"] == EnsembleOptions(members=2, views=8)
    assert given["architecture"] is None


def test_an_architecture_is_a_presets_name_or_a_file(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TOML)
    assert _run("--architecture", "dissertation").exit_code == 0
    assert _run("--architecture", str(tmp_path / "mine.toml")).exit_code == 0
    assert [given["architecture"] for given in asked] == [PRESETS["dissertation"], TINY]


def test_every_member_is_shown_with_its_kept_epoch(asked: list[dict[str, Any]]) -> None:
    shown = _run("--members", "2").output
    rows = [line.split() for line in shown.splitlines() if "network-" in line]
    assert [row[0] for row in rows] == ["1", "2"]
    assert all("2 of 3" in " ".join(row) and "0.950" in row and "1,234" in row for row in rows)
    assert "No gate or test patient was read." in shown


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--architecture", "nowhere.toml"], "nowhere.toml"),
        (["--views", "3"], "views = 3: one of 1, 8"),
        (["--by", "luck"], "one of seeds, folds"),
        (["--by", "folds"], "An ensemble by folds has one member"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(
    asked: list[dict[str, Any]], words: list[str], why: str
) -> None:
    done = _run(*words)
    assert done.exit_code != 0
    assert why in f"{done.output}{done.exception}"
    assert not asked
