"""The whole configuration is validated before anything begins, and every value says where it comes from."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from typer.testing import CliRunner

from bcd.cli.main import app
from bcd.config import TABLES, describe_settings, list_configuration_values, load_configuration
from bcd.errors import BcdError
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.outcome import OutcomeRule
from bcd.scoring.options import ScoreOptions
from bcd.settings import Settings

PAGE = Path(__file__).parents[1] / "docs/reference/settings.md"

Write = Callable[[str], None]


@pytest.fixture
def write(settings: Settings) -> Write:
    """Writes bcd.toml in the BCD_HOME of the test."""
    settings.home.mkdir()

    def write(text: str) -> None:
        (settings.home / "bcd.toml").write_text(text)

    return write


def _fault() -> str:
    with pytest.raises(BcdError) as caught:
        load_configuration()
    return caught.value.what


def test_every_table_of_the_settings_has_a_model() -> None:
    hints = get_type_hints(Settings)
    assert set(TABLES) == {name for name in Settings.model_fields if hints[name] == dict[str, Any]}


def test_what_is_valid_is_read(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        "prefect_port = 4300\n[training]\nepochs = 3\nclip = 2\n[evaluation]\nlevels = [0.8, 0.9]\n"
        "[ensemble]\nturns = 8\n"
    )
    for name, text in {
        "TRAINING__FOLDS": "5",
        "TRAINING__CLASS_WEIGHTS": "true",
        "SPLITS__HELD_OUT": "12",  # a name, not a number
        "ENSEMBLE__MEMBERS": "2",
        "EVALUATION__AT_PREVALENCE": "null",
        "EVALUATION__TARGET_ERRORS": "[0.05, 0.01]",
    }.items():
        monkeypatch.setenv(f"BCD_{name}", text)
    settings = load_configuration()
    found = {table: settings.options(table, model).model_dump() for table, model in TABLES.items()}
    assert settings.prefect_port == 4300
    assert [found["training"][key] for key in ("epochs", "clip", "folds", "class_weights")] == [3, 2.0, 5, True]
    assert found["splits"]["held_out"] == "12"
    assert found["ensemble"]["turns"] == 8
    assert found["evaluation"]["target_errors"] == [0.05, 0.01]


def test_the_outcome_of_a_patient_has_one_rule(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("[outcome]\nlevel = 0.9\nmin_patches = 40\n")
    monkeypatch.setenv("BCD_OUTCOME__MIN_IDC_PATCHES", "5")
    settings = load_configuration()
    rule = OutcomeRule(level=0.9, min_patches=40, min_idc_patches=5)
    assert settings.options("evaluation", EvaluateOptions).outcome == rule
    assert settings.options("scoring", ScoreOptions).outcome == rule


@pytest.mark.parametrize("table", TABLES)
def test_an_unknown_key_of_any_table_is_named_with_its_line_and_the_nearest(write: Write, table: str) -> None:
    known = next(iter(TABLES[table].model_fields))
    write(f"# mine\n\n[{table}]\n{known}x = 1\n")
    what = _fault()
    assert "bcd.toml, line 4:" in what
    assert re.search(rf"\[{table}\].*\b{known}x\b.*\b{known}\.$", what)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("prefect_prot = 1\n", 1, ["prefect_prot", "prefect_port"]),
        ("\n[trainin]\nepochs = 3\n", 3, ["trainin", "training"]),
        ("[training]\nepochs = 0\n", 2, ["epochs = 0", "from 1 to 1000"]),
        ("[training]\nepochs = true\n", 2, ["epochs = true", "whole number"]),
        ("[training]\nepochs = '3'\n", 2, ['epochs = "3"', "whole number"]),
        ("training = 3\n", 1, ["training = 3", "a table"]),
        ("training.clip = 0\n", 1, ["[training] clip = 0", "above 0"]),
        ("[gate]\nrule = 'better'\n", 2, ["better", "non-inferior, superior"]),
        ("[ensemble]\nturns = 4\n", 2, ["turns = 4", "one of 1, 8"]),
        ("[evaluation]\nlevels = [\n  0.9,\n  0.8,\n]\n", 2, ["[0.9, 0.8]", "rise"]),
        ("outcome = {level = 2}\n", 1, ["[outcome] level = 2", "below 1"]),
        ("[evaluation.outcome]\nlevel = 0.9\n", 2, ["outcome", "[outcome]"]),
        ("[scoring]\noutcome = {level = 0.9}\n", 2, ["outcome", "[outcome]"]),
        ("[splits]\ntrain = 0.9\n", 2, ["[splits]", " 1.4"]),
        ("[search]\nsampler = 'grid'\n", 2, ["[search]", "grid"]),
        ("epochs = 3\n", 1, ["epochs", "[search], [training]"]),
        ("home = '/elsewhere'\n", 1, ["BCD_HOME"]),
        ("prefect_port = true\n", 1, ["prefect_port = true", "from 1 to 65535"]),
    ],
)
def test_a_fault_of_the_file_is_named_with_its_line(write: Write, text: str, line: int, words: list[str]) -> None:
    write(text)
    what = _fault()
    assert f"bcd.toml, line {line}: " in what
    assert [word for word in words if word not in what] == []


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("BCD_GATE__MARGN", "0.1", ["margn", "margin"]),
        ("BCD_GATE__MARGIN", "wide", ['margin = "wide"', "above 0 and below 0.5"]),
        ("BCD_TRAINING__EPOCHS", "0", ["epochs", "from 1 to 1000"]),
        ("BCD_PREFECT_PROT", "1", ["prefect_port"]),
        ("BCD_PREFECT_PORT", "high", ["from 1 to 65535"]),
        ("BCD_EVALUATION__LEVELS", "[0.9", ["a list"]),
    ],
)
def test_a_fault_of_a_variable_is_named_with_it(
    write: Write, monkeypatch: pytest.MonkeyPatch, name: str, text: str, words: list[str]
) -> None:
    write("[gate]\nmin_patients = 12\n")
    monkeypatch.setenv(name, text)
    what = _fault()
    assert what.startswith(f"{name}: ")
    assert [word for word in words if word not in what] == []


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of secrets as systemd names it, in place of /run/secrets."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


def test_a_secret_is_read_from_its_file(write: Write, secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write('catalog_url = "sqlite:///file.db"\nstudy_url = "sqlite:///file.db"\nprefect_port = 4300\n')
    (secrets / "bcd_catalog_url").write_text("postgresql://bcd:word@db/catalog\n")
    (secrets / "BCD_STUDY_URL").write_text("postgresql://bcd:word@db/studies\n")
    (secrets / "BCD_PREFECT_PORT").write_text("\n")  # empty is not set, as with a variable
    (secrets / "bcd_training__epochs").write_text("3\n")
    (secrets / "PGPASSWORD").write_text("another program's\n")
    monkeypatch.setenv("BCD_STUDY_URL", "postgresql://variable/studies")
    settings = load_configuration()
    assert settings.catalog_url == "postgresql://bcd:word@db/catalog"
    assert settings.study_url == "postgresql://variable/studies"
    assert settings.prefect_port == 4300
    assert settings.training == {"epochs": "3"}
    shown = {value.key: value for value in list_configuration_values()}
    assert shown["catalog_url"].where == str(secrets / "bcd_catalog_url")
    assert "word" not in shown["catalog_url"].value


@pytest.mark.parametrize(("name", "content"), [("bcd_prefect_port", b"many"), ("bcd_notify_url", b"\xff\xfe")])
def test_a_fault_of_a_secret_is_named_with_its_file(write: Write, secrets: Path, name: str, content: bytes) -> None:
    write("")
    (secrets / name).write_bytes(content)
    what = _fault()
    assert str(secrets) in what
    assert ("utf-8" in what) == (name == "bcd_notify_url")


def test_all_faults_are_named_at_once(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("prefect_prot = 1\n[gate]\nmargn = 1\n[training]\nepochs = 0\n")
    monkeypatch.setenv("BCD_SCORING__OPACITY", "2")
    assert re.findall(r"line \d|BCD_\w+", _fault()) == ["line 1", "line 5", "line 3", "BCD_SCORING__OPACITY"]


def test_a_file_that_is_no_toml_is_named_with_the_line(write: Write) -> None:
    write("[gate]\nmargin = \n")
    with pytest.raises(BcdError, match=r"bcd\.toml.*line 2"):
        load_configuration()


def test_a_mark_at_the_beginning_of_the_file_is_no_fault(settings: Settings) -> None:
    settings.home.mkdir()
    (settings.home / "bcd.toml").write_text("prefect_port = 4300\n", "utf-8-sig")
    assert load_configuration().prefect_port == 4300


@pytest.mark.parametrize("command", [["doctor"], ["up"], ["retrain"], ["ingest"], ["status"], ["snapshot", "list"]])
def test_a_fault_stops_every_command_before_it_begins(write: Write, command: list[str]) -> None:
    write("[gate]\nmargn = 0.1\n")
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, BcdError)
    assert re.search(r"line 2: \[gate\].*\bmargn\b", result.exception.what)


def test_a_fault_stops_a_flow_before_it_begins(write: Write) -> None:
    from flows.stages import begin_stage_flow

    write("[gate]\nmargn = 0.1\n")
    with pytest.raises(BcdError, match="margn"):
        begin_stage_flow("")


@pytest.mark.parametrize("command", [["down"], ["retrain", "--help"], ["snapshot", "list", "--help"], []])
def test_servers_are_stopped_and_help_is_shown_in_spite_of_a_fault(write: Write, command: list[str]) -> None:
    write("prefect_prot = 1\n")
    assert CliRunner().invoke(app, command).exception.__class__ in {type(None), SystemExit}


def test_the_origin_of_every_value_is_shown(
    write: Write, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("catalog_url = 'postgresql://bcd:secret@db/bcd'\n[training]\nepochs = 3\n[outcome]\nlevel = 0.9\n")
    monkeypatch.setenv("BCD_TRAINING__CLIP", "2")
    result = CliRunner().invoke(app, ["--home", str(settings.home), "config", "show", "--json"])
    found = {(each["table"], each["key"]): (each["value"], each["where"]) for each in json.loads(result.stdout)}
    assert found["", "home"] == (str(settings.home), "--home")
    assert found["", "catalog_url"] == ("postgresql://bcd:***@db/bcd", "bcd.toml, line 1")
    assert found["training", "epochs"] == (3, "bcd.toml, line 3")
    assert found["training", "clip"] == ("2", "BCD_TRAINING__CLIP")
    assert found["outcome", "level"] == (0.9, "bcd.toml, line 5")
    assert found["gate", "margin"] == (0.02, "default")
    assert "secret" not in result.output
    shown = CliRunner().invoke(app, ["config", "show"]).output
    assert re.search(r"training +epochs +3 +bcd\.toml, line 3", shown)


def test_what_is_not_valid_is_shown_too(write: Write) -> None:
    write("[gate]\nmargn = 0.1\n")
    assert [(each.key, each.where) for each in list_configuration_values() if each.where != "default"][1:] == [
        ("margn", "bcd.toml, line 2")
    ]
    result = CliRunner().invoke(app, ["config", "show"])
    assert "margn" in result.output
    assert isinstance(result.exception, BcdError)


def test_the_page_of_settings_is_what_the_models_say() -> None:
    printed = CliRunner().invoke(app, ["config", "reference"]).output
    assert printed == describe_settings() + "\n" == PAGE.read_text()


def test_every_option_says_what_it_is() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", describe_settings(), re.MULTILINE)
    assert len(rows) > 90
    assert [key for key, cells in rows if not cells.split(" | ")[-1].endswith(".")] == []
