"""The scheduled scoring: one patient never stops another."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import bcd.bundle.registry


@pytest.mark.integration
@pytest.mark.usefixtures("prefect_server", "settings")
def test_a_patient_whose_scoring_fails_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    import flows.score as module

    scored: list[str] = []

    def score(_bundle: object, _hospital: str, patient: str, _options: object) -> SimpleNamespace:
        if patient == "2":
            raise BufferError("not C-contiguous")
        scored.append(patient)
        return SimpleNamespace(batches=list, drift=None)

    monkeypatch.setattr(bcd.bundle.registry, "load_bundle", lambda _: None)
    monkeypatch.setattr(module, "patients_to_score", lambda *_: [("east", patient) for patient in "123"])
    monkeypatch.setattr(module, "score_patient_task", score)
    state = module.score(all_that_wait=True, return_state=True)
    assert state.is_failed()
    assert "BufferError" in str(state.message)
    assert scored == ["1", "3"]
