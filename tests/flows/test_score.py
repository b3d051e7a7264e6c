"""The scheduled scoring: one patient never stops another."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import bcd.bundle.registry
from bcd.settings import Settings


@pytest.mark.integration
@pytest.mark.usefixtures("prefect_server")
def test_a_patient_whose_scoring_fails_stops_no_other_and_a_night_leaves_one_table(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.artifacts import Artifact

    import flows.score as module

    scored: list[str] = []

    def score(_bundle: object, _hospital: str, patient: str, _options: object) -> SimpleNamespace:
        if patient == "2":
            raise BufferError("not C-contiguous")
        scored.append(patient)
        figures = {"n": 1200, "coverage": 0.9, "tumour_fraction": 0.25, "drift": None}
        report = settings.scores / "east" / patient / "report.html"
        return SimpleNamespace(hospital="east", patient=patient, report=report, batches=list, **figures)

    monkeypatch.setattr(bcd.bundle.registry, "load_bundle", lambda _: None)
    monkeypatch.setattr(module, "patients_to_score", lambda *_: [("east", patient) for patient in "123"])
    monkeypatch.setattr(module, "score_patient_task", score)
    state = module.score(all_that_wait=True, return_state=True)
    assert state.is_failed()
    assert "BufferError" in str(state.message)
    assert scored == ["1", "3"]
    table = Artifact.get("scored")
    assert table is not None
    assert [line.split("|")[1].strip() for line in str(table.data).splitlines()[2:]] == ["east/1", "east/3"]
    assert "1,200 | 90% | 0.250" in str(table.data)
    assert Artifact.get("report-east-1") is None
