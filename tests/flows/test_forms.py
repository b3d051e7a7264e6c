"""What the run forms of the dashboard show, and what becomes of what they send."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from uuid import uuid4

import pytest
import yaml
from prefect import Flow, flow
from prefect.utilities.callables import parameter_schema

from bcd.errors import BcdError
from bcd.evaluation.outcome import OutcomeRule
from bcd.gate.options import GateOptions
from bcd.scoring.options import ScoreOptions
from bcd.search.options import SearchOptions
from bcd.settings import Settings
from flows.forms import Gate, Scoring, Search, Text

ROOT = Path(__file__).parents[2]
ENTRYPOINTS = [each["entrypoint"] for each in yaml.safe_load((ROOT / "deployment.yaml").read_text())["deployments"]]
CONFIGURED = """
[gate]
approval = true
margin = 0.03

[search]
trials = 7
workers = 2

[outcome]
level = 0.9
min_patches = 40
"""


@flow
def example(snapshot: Text = "", *, gate: Gate = None, search: Search = None, scoring: Scoring = None) -> None:
    """A flow of three sections."""


def load_flow(entrypoint: str) -> Flow:
    module, _, name = entrypoint.rpartition(".")
    return getattr(importlib.import_module(module), name)


def defaults(section: str) -> dict[str, object]:
    fields = parameter_schema(example).definitions[section]["properties"]
    return {name: field["default"] for name, field in fields.items()}


@pytest.fixture
def configured(settings: Settings) -> Settings:
    settings.home.mkdir(parents=True)
    (settings.home / "bcd.toml").write_text(CONFIGURED)
    return settings


@pytest.mark.usefixtures("configured")
def test_a_section_shows_what_the_home_says_and_the_default_of_the_rest() -> None:
    gate, search = defaults("GateOptions"), defaults("SearchOptions")
    assert (gate["approval"], gate["margin"], gate["min_patients"]) == (True, 0.03, 10)
    assert (search["trials"], search["workers"], search["epochs"]) == (7, 2, 2)


@pytest.mark.usefixtures("settings")
def test_a_home_that_says_nothing_shows_the_defaults() -> None:
    assert defaults("GateOptions") == GateOptions().model_dump()


@pytest.mark.usefixtures("configured")
def test_what_a_form_leaves_open_stays_as_configured() -> None:
    # The fault: the margin was touched, and approval was switched off without a word.
    sent = {"gate": {"margin": 0.05}, "search": {"epochs": 3}}
    got = example.validate_parameters(sent)
    assert got["gate"] == GateOptions(margin=0.05, approval=True)
    assert got["search"] == SearchOptions(trials=7, workers=2, epochs=3)


@pytest.mark.usefixtures("configured")
def test_a_section_within_a_section_stays_as_configured_too() -> None:
    got = example.validate_parameters({"scoring": {"outcome": {"level": 0.8}, "opacity": 0.5}})
    assert got["scoring"] == ScoreOptions(outcome=OutcomeRule(level=0.8, min_patches=40), opacity=0.5)
    assert (defaults("OutcomeRule")["level"], defaults("OutcomeRule")["min_patches"]) == (0.9, 40)


@pytest.mark.usefixtures("configured")
def test_what_a_form_sends_wins() -> None:
    assert example.validate_parameters({"gate": {"approval": False}})["gate"] == GateOptions(margin=0.03)


@pytest.mark.usefixtures("configured")
def test_an_opened_section_in_which_nothing_is_touched_is_as_configured() -> None:
    opened = example.validate_parameters({"gate": defaults("GateOptions")})["gate"]
    assert opened == example.validate_parameters({"gate": {}})["gate"] == GateOptions(margin=0.03, approval=True)


@pytest.mark.usefixtures("configured")
def test_options_made_by_a_command_are_taken_as_they_are() -> None:
    assert example.validate_parameters({"gate": GateOptions()})["gate"] == GateOptions()


@pytest.mark.parametrize(
    ("sent", "fault"), [({"margni": 0.05}, "margni"), ({"margin": 5}, "margin = 5"), ({"margin": "x"}, "x")]
)
@pytest.mark.usefixtures("configured")
def test_what_no_option_can_be_is_refused_in_a_sentence_about_the_form(sent: dict, fault: str) -> None:
    with pytest.raises(BcdError, match=fault) as caught:
        example.validate_parameters({"gate": sent})
    assert "bcd.toml" not in caught.value.fix


@pytest.mark.usefixtures("settings")
def test_text_is_trimmed() -> None:
    assert example.validate_parameters({"snapshot": " 4f1c \n"})["snapshot"] == "4f1c"


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
@pytest.mark.usefixtures("settings")
def test_forms_show_no_sections_of_docstrings(entrypoint: str) -> None:
    shown = json.dumps(parameter_schema(load_flow(entrypoint)).model_dump_for_openapi())
    assert not [word for word in ("Raises:", "Returns:", "Args:", "Attributes:", "Example:") if word in shown]


@pytest.mark.parametrize("entrypoint", ENTRYPOINTS)
@pytest.mark.usefixtures("settings")
def test_every_identifier_of_a_form_is_trimmed(entrypoint: str) -> None:
    deployed = load_flow(entrypoint)
    schema = parameter_schema(deployed)
    texts = [
        name for name, field in schema.properties.items() if field.get("type") == "string" and "enum" not in field
    ]
    assert texts or not schema.properties
    numbers = dict.fromkeys(set(schema.required or []) - {*texts}, 1)
    given = deployed.validate_parameters(numbers | dict.fromkeys(texts, " a "))
    assert given.items() >= dict.fromkeys(texts, "a").items()


@pytest.mark.parametrize(("patient", "everyone"), [("", False), ("8867", True)])
@pytest.mark.usefixtures("settings")
def test_scoring_wants_a_patient_or_all_that_wait_but_not_both(patient: str, everyone: bool) -> None:
    from flows.score import score

    with pytest.raises(BcdError, match="all_that_wait"):
        score.fn.__wrapped__(patient=patient, all_that_wait=everyone)


@pytest.mark.parametrize("by_schedule", [True, False])
@pytest.mark.usefixtures("settings")
def test_a_schedule_chooses_all_that_wait_whatever_the_server_made_of_its_parameters(by_schedule: bool) -> None:
    from prefect.client.schemas.objects import FlowRun
    from prefect.context import FlowRunContext

    from flows.reporting import is_scheduled_flow_run
    from flows.score import score

    assert not is_scheduled_flow_run()
    with FlowRunContext.model_construct(flow_run=FlowRun(flow_id=uuid4(), auto_scheduled=by_schedule)):
        assert is_scheduled_flow_run() == by_schedule
        # A home without a champion: who may score everyone is told so, and who may not is told that first.
        with pytest.raises(BcdError, match="champion" if by_schedule else "all_that_wait"):
            score.fn.__wrapped__()
