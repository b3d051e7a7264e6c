"""A plan is written once, says everything, and is found again by its id."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bcd.errors import BcdError, NotFoundError
from bcd.gate.options import GateOptions
from bcd.retraining.plan import Plan, read_plan, write_plan
from bcd.search.options import SearchOptions
from bcd.training.options import TrainOptions

PAGE = Path(__file__).parents[2] / "docs/reference/plan.md"


@pytest.fixture
def snapshot(settings, make_hospital):
    return make_hospital(settings)


def test_the_page_names_what_is_left_out_of_a_plan() -> None:
    left_out = {name for name, field in SearchOptions.model_fields.items() if field.exclude}
    assert {"pool", "workers"} <= left_out
    assert {name for name in left_out if f"`{name}`" not in PAGE.read_text()} == set()


def test_a_plan_is_a_file_that_a_person_can_read(settings, snapshot):
    made = write_plan(settings, snapshot, training=TrainOptions(epochs=7))
    said = json.loads((settings.work / made.key / "plan.json").read_text())
    assert (said["format"], said["snapshot"], said["protocol"]) == (1, snapshot.id, "dealt")
    assert said["training"]["epochs"] == 7
    assert said["architecture"] is None


def test_the_same_plan_is_written_once(settings, snapshot):
    made = write_plan(settings, snapshot)
    file = settings.work / made.key / "plan.json"
    before = file.stat()
    assert write_plan(settings, snapshot).plan == made.plan
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_another_margin_of_the_gate_is_no_other_retraining(settings, snapshot):
    made = write_plan(settings, snapshot)
    again = write_plan(settings, snapshot, gate=GateOptions(margin=0.05))
    assert again.plan == made.plan  # the gate of this retraining was planned before


@pytest.mark.parametrize("change", [{"training": TrainOptions(seed=77)}, {"search": SearchOptions(trials=40)}])
def test_whatever_else_changes_makes_another_plan(settings, snapshot, change):
    assert write_plan(settings, snapshot, **change).key != write_plan(settings, snapshot).key


def test_a_plan_is_found_by_its_id_or_the_beginning_of_it_and_the_last_one_without(settings, snapshot):
    first, second = (write_plan(settings, snapshot, training=TrainOptions(seed=seed)) for seed in (5, 6))
    assert read_plan(settings, first.key).plan == first.plan
    assert read_plan(settings, first.key[:8]).plan == first.plan
    assert read_plan(settings).plan == second.plan


def test_a_mistyped_id_names_those_near_it(settings, snapshot):
    first = write_plan(settings, snapshot).key
    mistyped = first[:11] + ("0" if first[11] != "0" else "1")
    with pytest.raises(NotFoundError, match=f"{mistyped}.*Near ones are {first}"):
        read_plan(settings, mistyped)


@pytest.mark.parametrize("name", ["", "0123456789ab", "../../etc", "*"])
def test_a_plan_that_is_not_there_is_named(settings, name):
    with pytest.raises(BcdError, match="plan"):
        read_plan(settings, name)


def test_how_many_trials_run_at_a_time_is_no_part_of_a_plan(settings, snapshot):
    made = write_plan(settings, snapshot, search=SearchOptions(workers=5))
    assert made.key == write_plan(settings, snapshot).key
    assert read_plan(settings, made.key).plan.search.workers == 1
    assert read_plan(settings, made.key, workers=3).plan.search.workers == 3


def test_every_field_is_explained_in_the_docs():
    page = PAGE.read_text()
    for name, field in Plan.model_fields.items():
        assert f"| `{name}` | {field.description} |" in page
