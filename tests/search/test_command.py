"""`bcd search`: what it asks for, and how it says to go on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bcd.cli.main import app
from bcd.errors import BcdError
from bcd.networks.architecture import PRESETS, Architecture
from bcd.search.options import SearchOptions
from bcd.search.records import StudyResult, TrialEnd, TrialRecord
from bcd.search.verdict import Gain
from bcd.settings import load_settings
from bcd.store.store import open_store
from bcd.training.options import TrainOptions
from flows import preprocess as preprocess_flow
from flows import search as flow

PLAN = "4f1c0a9b2d3e"

stated: dict[str, Architecture] = {}

Asked = list[tuple[SearchOptions | None, str, int]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    """What was planned, and the plan and workers that the flow was asked for; it is interrupted."""
    given: Asked = []
    stated.clear()
    planned: list[SearchOptions] = []
    monkeypatch.setenv("BCD_HOME", str(tmp_path))
    open_store(load_settings())

    def preprocess(snapshot: str, *, search: SearchOptions) -> str:
        planned.append(search)
        return PLAN

    def search(plan: str, workers: int, architectures: dict[str, Architecture]) -> StudyResult:
        stated.update(architectures)
        given.append((planned.pop() if planned else None, plan, workers))
        raise KeyboardInterrupt

    monkeypatch.setattr(preprocess_flow, "preprocess", preprocess)
    monkeypatch.setattr(flow, "search", search)
    return given


def _run(*words: str) -> Any:
    return CliRunner().invoke(app, ["search", *words])


def test_ctrl_c_says_how_to_go_on_with_the_same_plan(asked: Asked) -> None:
    shown = _run("--trials", "9")
    assert shown.exit_code == 130
    again = re.search(r"^To go on: (/\S+/bcd) --home \S+ search --plan (\S+)$", shown.output, re.MULTILINE)
    assert again
    assert again[2] == PLAN


def test_a_plan_that_is_named_goes_on_and_takes_no_option_that_it_says_itself(asked: Asked) -> None:
    _run("--plan", PLAN, "--workers", "2")
    assert asked == [(None, PLAN, 2)]
    assert isinstance(_run("--plan", PLAN, "--trials", "9").exception, BcdError)
    assert len(asked) == 1


def test_an_architecture_of_one_s_own_is_handed_over_under_its_file_s_name(asked: Asked, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("stages = [{filters = 16, depth = 1}]\n")
    _run("--try", str(file))
    assert [stage.filters for stage in stated["mine.toml"].stages] == [16]
    file.write_text("stage = 1\n")
    assert isinstance(_run("--try", str(file)).exception, BcdError)
    assert len(asked) == 1


def test_hours_alone_end_a_search_and_with_trials_whichever_comes_first(asked: Asked) -> None:
    _run("--hours", "2.5", "--workers", "3")
    _run("--hours", "2.5", "--trials", "7")
    (alone, plan, workers), (both, _, _) = asked
    assert alone is not None
    assert both is not None
    assert (alone.trials, alone.hours, plan, workers) == (0, 2.5, PLAN, 3)
    assert (both.trials, both.hours) == (7, 2.5)


def test_the_trials_the_refits_and_the_verdict_are_shown(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    known: list[tuple[int, TrialEnd, float | None, str]] = [
        (0, "complete", 0.91, "compact"),
        (1, "pruned", 0.85, "mine.toml"),
        (2, "too large", None, ""),
        (3, "complete", 0.93, ""),
    ]
    trials = [
        TrialRecord(
            number, state, value, {}, PRESETS["compact"], TrainOptions(), 300_000, 29_000_000, 61.0, [], label=label
        )
        for number, state, value, label in known
    ]
    gain = Gain(3, 0.012, 0.003, 0.021, [0.93, 0.925], [0.915, 0.916], 41)
    study = StudyResult(
        "study-1", PRESETS["compact"], TrainOptions(), 3, trials, "Trial 3 takes its place.", gains=[gain]
    )
    monkeypatch.setattr(flow, "search", lambda plan, workers, architectures: study)
    shown = _run().output
    rows = {line.split()[0]: line for line in shown.splitlines() if line.strip()[:1].isdigit()}
    assert "0 (compact)" in shown
    assert "1 (mine.toml)" in shown
    assert "3 (chosen)" in shown
    assert "too large" not in shown
    assert "+.012 [+.003, +.021]" in rows["3"]
    assert shown.strip().endswith("Trial 3 takes its place.")
    told = json.loads(_run("--json").stdout)
    assert [(one["number"], one["state"], one["value"]) for one in told["trials"]] == [
        (0, "complete", 0.91),
        (1, "pruned", 0.85),
        (3, "complete", 0.93),
    ]
    assert (told["best"], told["gains"][0]["low"], told["note"]) == (3, 0.003, "Trial 3 takes its place.")


def test_the_flow_tells_the_same_as_a_table() -> None:
    trials = [TrialRecord(0, "complete", 0.91, {}, PRESETS["compact"], TrainOptions(), 300_000, 29_000_000, 1.0, [])]
    gain = Gain(3, 0.012, None, None, [0.93], [0.91], 1)
    told = flow.describe_study_artifact(
        StudyResult("s", PRESETS["compact"], TrainOptions(), 0, trials, "It stays.", gains=[gain])
    )
    assert told.startswith("It stays.")  # as the study says
    assert "| 3 | +.012 [n/a] |" in told
    assert "| 0 | complete | 0.910 | 300,000 | 29.0 |" in told
