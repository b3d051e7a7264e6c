"""The scheduled scoring: one patient never stops another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from patients import list_patches, store_patches
from registered import Register
from stored import new_store

from bcd.drift.patient import PatientDrift
from bcd.drift.state import Drift
from bcd.gate.overrides import force_promotion
from bcd.gate.verdict import Verdict
from bcd.scoring.options import ScoreOptions
from bcd.scoring.shadow import list_agreements
from bcd.settings import Settings
from bcd.store.ledger import list_ledger
from bcd.store.sign_off import SignOff
from bcd.store.store import Store
from bcd.tracking.lookup import MODEL
from bcd.tracking.store import open_mlflow_client


@pytest.mark.integration
@pytest.mark.usefixtures("prefect_server")
def test_a_patient_whose_scoring_fails_stops_no_other_and_a_night_leaves_one_table(
    registry_settings: Settings, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.artifacts import Artifact

    from flows.score import score

    monkeypatch.setenv("BCD_HOME", str(registry_settings.home))
    too_far_apart = list_patches(["2"], [0, 1]).assign(x=[1, 9_500_001])
    patches = pd.concat([list_patches(["1", "3"], [0, 1]), too_far_apart], ignore_index=True)
    pixels = np.random.default_rng(0).integers(0, 256, (len(patches), 50, 50, 3), dtype=np.uint8)
    store = new_store(registry_settings)
    store_patches(store, patches, pixels)
    register(registry_settings, "red")
    open_mlflow_client(registry_settings).set_registered_model_alias(MODEL, "champion", "1")

    state = score(all_that_wait=True, return_state=True)

    assert state.is_failed()
    assert "east/2" in str(state.message)
    assert {entry.patient: entry.status for entry in list_ledger(store)} == {
        "1": "scored",
        "2": "failed",
        "3": "scored",
    }
    table = Artifact.get("scored")
    assert table is not None
    assert [line.split("|")[1].strip() for line in str(table.data).splitlines()[2:]] == ["east/1", "east/3"]
    assert Artifact.get("report-east-1") is None


FINE = Drift(level="fine", foreign=False)


def make_score(settings: Settings, *, drift: Drift = FINE, pictures: tuple[SimpleNamespace, ...] = ()) -> Any:
    folder = settings.scores / "east" / "1" / "a"
    return SimpleNamespace(
        hospital="east",
        patient="1",
        bundle="bcd-idc/1",
        n=3,
        coverage=0.5,
        tumour_fraction=0.1,
        drift=PatientDrift(state=drift, slides={}, delivery=None, scores=None),
        report=folder / "report.html",
        scores=folder / "scores.parquet",
        pictures=pictures,
    )


@pytest.mark.parametrize("pictures", [(), (SimpleNamespace(heatmap=Path("heatmap-5.webp")),)])
def test_a_patient_whose_pictures_are_not_full_leaves_the_report_alone(
    registry_settings: Settings, monkeypatch: pytest.MonkeyPatch, pictures: tuple[SimpleNamespace, ...]
) -> None:
    from flows import score as flow

    left: list[str] = []
    monkeypatch.setattr(flow, "publish_picture", lambda key, *_: left.append(key))
    monkeypatch.setattr(flow, "publish_markdown", lambda key, *_: left.append(key))
    flow.publish_scored_patients(registry_settings, [make_score(registry_settings, pictures=pictures)])
    assert left == [*(["heatmap-east-1"] if pictures else []), "report-east-1"]


@pytest.mark.parametrize(
    ("drift", "in_table", "in_artifact"),
    [
        (Drift(level="unusual", foreign=False, reasons=("Scores lie off.",)), "unusual", "unusual. Scores lie off."),
        (Drift(level="fine", foreign=True), "fine, foreign hospital", "fine, foreign hospital"),
        (Drift(level="not to be trusted", foreign=False), "not to be trusted", "**not to be relied on**"),
    ],
)
def test_the_drift_of_a_patient_stands_in_the_table_of_a_night_and_in_the_patient_s_own_artifact(
    registry_settings: Settings, drift: Drift, in_table: str, in_artifact: str
) -> None:
    from flows.score import describe_score_artifact, tabulate_scores

    scored = make_score(registry_settings, drift=drift)
    header, _, row = (line.split(" | ") for line in tabulate_scores(registry_settings, [scored]).splitlines())
    assert row[header.index("drift")].strip() == in_table
    lines = describe_score_artifact(registry_settings, scored).splitlines()
    [told] = [line.removeprefix("- drift: ") for line in lines if line.startswith("- drift: ")]
    assert told.startswith(in_artifact)


@pytest.mark.integration
@pytest.mark.usefixtures("prefect_server")
def test_a_challenger_in_shadow_stands_on_the_gate_s_page_and_a_failing_one_fails_nothing(
    undecided: Settings, undecided_store: Store, gate: Callable[..., Verdict], monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.artifacts import Artifact

    from flows.score import score

    monkeypatch.setenv("BCD_HOME", str(undecided.home))
    monkeypatch.setenv("BCD_CATALOG_URL", undecided.catalog_url)
    patches = list_patches(["1", "2"], [0, 1])
    pixels = np.random.default_rng(0).integers(0, 256, (len(patches), 50, 50, 3), dtype=np.uint8)
    store_patches(undecided_store, patches, pixels)
    force_promotion(undecided_store, "2", SignOff("Dr Lee", "the good one"))
    assert gate("3").verdict != "PROMOTE"
    open_mlflow_client(undecided).set_registered_model_alias(MODEL, "challenger", "3")
    options = ScoreOptions(shadow=True)

    def fail(*_: object) -> pd.DataFrame:
        raise MemoryError("a network of the wrong size")

    with monkeypatch.context() as patched:
        patched.setattr("bcd.scoring.shadow.score_patches", fail)
        assert score(all_that_wait=True, options=options, return_state=True).is_completed()
    assert {entry.patient: entry.status for entry in list_ledger(undecided_store)} == {"1": "scored", "2": "scored"}
    assert list_agreements(undecided_store, "bcd-idc/3") == []

    assert score(all_that_wait=True, options=options, return_state=True).is_completed()
    agreements = list_agreements(undecided_store, "bcd-idc/3")
    assert {one.patient: one.champion for one in agreements} == {"1": "bcd-idc/2", "2": "bcd-idc/2"}
    page = Artifact.get("gate")
    assert page is not None
    table = [
        line.split(" | ") for line in str(page.data).partition("## In shadow")[2].splitlines() if "east/" in line
    ]
    assert [row[0].removeprefix("| ") for row in table] == [f"east/{one.patient}" for one in agreements]
    assert [row[2] for row in table] == [f"{one.difference:.3f}" for one in agreements]
    (run,) = open_mlflow_client(undecided).search_runs(["1"], "tags.`mlflow.runName` = 'gate bcd-idc/3'")
    logged = {file.path for file in open_mlflow_client(undecided).list_artifacts(run.info.run_id)}
    assert {"shadow.md", "shadow.csv", "verdict.md"} <= logged
