"""The flows of two machines whose homes share a bucket: what one admits, the other scores, and either opens."""

from __future__ import annotations

from pathlib import Path

import pytest
from delivering import patch_files, write_zip
from stored import new_store

from bcd.gate.adoption import make_released_champion
from bcd.settings import Settings, load_settings
from bcd.store.hospitals import declare_hospital
from bcd.store.ledger import list_ledger
from bcd.store.sign_off import SignOff

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("prefect_server", "bucket")]

ANYBODY = SignOff("test", "test")


def test_what_one_machine_admits_another_scores_and_each_opens_the_report(
    registry_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.ingest import ingest
    from flows.score import score

    def move_to(home: Path) -> Settings:
        monkeypatch.setenv("BCD_HOME", str(home))
        return load_settings()

    for name, value in {
        "BCD_CATALOG_URL": f"sqlite:///{tmp_path / 'catalog.db'}",
        "BCD_MLFLOW_URL": f"sqlite:///{registry_settings.mlflow / 'mlflow.db'}",
        "BCD_STORE_URL": "s3://east/bcd",
        "BCD_INBOX_QUIET_SECONDS": "0",
    }.items():
        monkeypatch.setenv(name, value)
    one = move_to(registry_settings.home)
    store = new_store(one)
    declare_hospital(store, "east", "pseudonyms", ANYBODY)
    make_released_champion(store, ANYBODY)
    write_zip(one.inbox / "east" / "monday.zip", patch_files("8", range(4)) | patch_files("9", range(4, 8)))
    [admission] = ingest()
    assert (admission.admitted, admission.patients) == (8, 2)

    other = move_to(tmp_path / "other")
    other.home.mkdir()
    (other.home / "mlflow").symlink_to(one.mlflow)  # in the place of a server of MLflow
    scores = score(all_that_wait=True)
    assert [(each.hospital, each.patient, each.n) for each in scores] == [("east", "8", 4), ("east", "9", 4)]
    assert (other.batches / str(admission.batch) / "pixels.npy").exists()
    assert all(each.report.is_relative_to(other.home) for each in scores)
    assert not one.scores.exists()

    move_to(one.home)
    assert score(all_that_wait=True) == []
    [again] = score("8")
    assert again.skipped
    assert again.report.is_relative_to(one.home)
    assert again.report.read_bytes() == scores[0].report.read_bytes()
    assert [entry.status for entry in list_ledger(store)] == ["scored", "scored"]
