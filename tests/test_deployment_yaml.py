"""Prefect drops an unknown key, or a whole file with one fault, without saying so: these tests say it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DEPLOYMENTS = yaml.safe_load((ROOT / "deployment.yaml").read_text())["deployments"]
BY_NAME = pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])


def test_all_that_a_person_may_start_from_the_dashboard_is_deployed() -> None:
    names = ["ingest", "retrain", "score", "trials", "member", "monitor", "approve"]
    names += ["search", "train", "evaluate", "promote", "reconcile", "backup"]
    assert [deployment["name"] for deployment in DEPLOYMENTS] == names


@BY_NAME
def test_every_key_is_known_to_prefect(deployment: dict) -> None:
    from prefect.cli.deploy._models import DeploymentConfig

    assert set(deployment) <= set(DeploymentConfig.model_fields)


@BY_NAME
def test_every_value_is_accepted_by_prefect(deployment: dict) -> None:
    from prefect.cli.deploy._models import DeploymentConfig

    assert DeploymentConfig.model_validate(deployment).name == deployment["name"]


@BY_NAME
def test_triggers_are_known_to_prefect(deployment: dict) -> None:
    from prefect.events import DeploymentEventTrigger

    for trigger in deployment.get("triggers", []):
        assert set(trigger) <= set(DeploymentEventTrigger.model_fields)
        DeploymentEventTrigger.model_validate(trigger)


def load_flow(deployment: dict) -> Any:
    """Loads a flow by its module, as a worker of another machine does, whose bcd lies elsewhere."""
    module, _, name = deployment["entrypoint"].rpartition(".")
    return getattr(importlib.import_module(module), name)


@BY_NAME
def test_entrypoint_is_a_flow_of_that_name(deployment: dict) -> None:
    from prefect import Flow

    flow = load_flow(deployment)
    assert isinstance(flow, Flow)
    assert flow.name == deployment["name"]


@BY_NAME
def test_parameters_of_the_form_are_typed_and_described(deployment: dict) -> None:
    from prefect.utilities.callables import parameter_schema

    schema = parameter_schema(load_flow(deployment).fn)
    for parameter, properties in schema.properties.items():
        # Prefect drops all types without a word where one annotation, the return type too, cannot be resolved.
        assert properties.keys() & {"type", "anyOf", "allOf", "$ref"}, f"{parameter} has no type in the form"
        assert properties.get("description"), f"{parameter} has no description in the form"
        limits = {"string": {"maxLength", "enum"}, "number": {"maximum"}, "integer": {"maximum"}}
        for kind in (properties, *properties.get("anyOf", [])):
            wanted = limits.get(kind.get("type"), set())
            assert not wanted or wanted & kind.keys(), f"{parameter} has no limit in the form"


def test_retraining_starts_on_the_event_that_ingest_emits() -> None:
    source = (ROOT / "flows/ingest.py").read_text()
    trigger = next(d for d in DEPLOYMENTS if d["name"] == "retrain")["triggers"][0]
    assert f'event="{trigger["expect"][0]}"' in source
    assert trigger["match"]["prefect.resource.id"] == "bcd.hospital.*"
    assert 'f"bcd.hospital.{hospital}"' in source


def test_every_schedule_has_a_name_and_no_parameters() -> None:
    """Without a name, what a person changed in it is not told from a new one; parameters, the server drops."""
    for schedule in [schedule for deployment in DEPLOYMENTS for schedule in deployment.get("schedules", [])]:
        assert schedule["slug"]
        assert "parameters" not in schedule


def test_automations_are_known_to_prefect_and_have_names_of_their_own() -> None:
    from prefect.events.schemas.automations import AutomationCore

    automations = yaml.safe_load((ROOT / "deployment.yaml").read_text())["automations"]
    nobody = "00000000-0000-0000-0000-000000000000"
    for each in automations:
        actions = [
            {**action, "block_document_id": nobody} if action["type"] == "send-notification" else action
            for action in each["actions"]
        ]
        made = AutomationCore.model_validate({**each, "actions": actions})
        assert set(each["trigger"]) <= set(type(made.trigger).model_fields)
    assert len({each["name"] for each in automations}) == len(automations)
