"""What flows leave in Prefect, and how they end."""

from __future__ import annotations

import logging
from uuid import UUID

import pytest
from prefect import flow, runtime, task
from prefect.client.orchestration import get_client

from bcd.errors import BcdError
from bcd.progress import track_progress
from flows.reporting import finish_flow, make_artifact_key, rename_flow_run, report_to_prefect, told_to_prefect

SENTENCE = "Patient 8868 is unknown. Name another."


@pytest.mark.parametrize(
    ("text", "key"),
    [("heatmap-public-idc-8867", "heatmap-public-idc-8867"), ("Drawing patient East/12", "drawing-patient-east-12")],
)
def test_keys_have_the_form_that_prefect_accepts(text: str, key: str) -> None:
    assert make_artifact_key(text) == key


@task(name="look")
def look(patient: str) -> str:
    """Finds one patient only."""
    if patient != "8867":
        raise BcdError(f"Patient {patient} is unknown.", "Name another.")
    return patient


@flow(name="counted")
@told_to_prefect
def counted() -> list[int]:
    """Says what it did."""
    return finish_flow([1, 2], "Two are done.")


@pytest.mark.integration
@pytest.mark.usefixtures("prefect_server", "settings")
def test_the_list_of_runs_says_what_a_flow_did_and_its_caller_gets_the_answer() -> None:
    assert counted() == [1, 2]
    assert counted(return_state=True).message == "Two are done."


@flow(name="renamed")
def renamed() -> str:
    """Knows only later what it is about."""
    rename_flow_run("retrain 9f3c: 62 new patients of 2 hospitals")
    return str(runtime.flow_run.id)


@pytest.mark.integration
@pytest.mark.usefixtures("prefect_server", "settings")
def test_a_run_is_named_by_what_it_finds_out() -> None:
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(UUID(renamed())).name == "retrain 9f3c: 62 new patients of 2 hospitals"


@flow(name="inner")
@told_to_prefect
def inner(patient: str) -> str:
    """Looks in a task."""
    return look(patient)


@flow(name="outer")
@told_to_prefect
def outer(patient: str) -> str:
    """Looks in another flow."""
    return inner(patient)


@pytest.mark.integration
@pytest.mark.usefixtures("prefect_server", "settings")
def test_what_a_person_can_mend_is_told_in_a_sentence_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    state = outer("8868", return_state=True)
    assert (state.type.value, state.message) == ("FAILED", SENTENCE)
    assert next(record.getMessage() for record in caplog.records if record.levelno == logging.ERROR) == SENTENCE
    assert not [record for record in caplog.records if record.exc_info and record.exc_info[0]]
    assert "Traceback" not in caplog.text


@pytest.mark.integration
@pytest.mark.usefixtures("prefect_server", "settings")
def test_whoever_calls_a_flow_gets_its_answer_or_its_error() -> None:
    assert outer("8867") == "8867"
    with pytest.raises(BcdError) as caught:
        outer("8868")
    assert caught.value.what == "Patient 8868 is unknown."


@flow(name="nested")
def nested() -> None:
    """Does a piece of work within another, as a night's scoring does."""
    with report_to_prefect(), track_progress("Scoring patients", total=2) as advance:
        for _ in range(2):
            with track_progress("Drawing a patient", total=10) as inner:
                inner(10)
            advance(1)


@pytest.mark.integration
@pytest.mark.usefixtures("prefect_server", "settings")
def test_a_piece_of_work_within_another_leaves_nothing_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    from prefect.artifacts import Artifact

    nested()
    assert Artifact.get("scoring-patients") is not None
    assert Artifact.get("drawing-a-patient") is None
    assert "Drawing a patient" not in caplog.text
