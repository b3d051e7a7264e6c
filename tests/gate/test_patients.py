"""What a look at evaluating patients makes sure of: the same patients, unseen ones, and models from the registry."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest

from bcd.bundle import scorer
from bcd.errors import DamagedError, LeakageError
from bcd.gate import patients
from bcd.gate.history import find_champion_version
from bcd.gate.patients import open_look
from bcd.store.decisions import list_stored_decisions
from bcd.tracking.store import experiment_id, open_mlflow_client

GREEN, RED = "12"

WITHOUT_KERAS = """
import sys
import numpy as np
sys.modules.update(dict.fromkeys(("keras", "tensorflow")))  # importing one raises
import bcd.scoring.score, flows.score
from bcd.bundle.registry import load_bundle
from bcd.cli.doctor import examine_machine
from bcd.evaluation.options import EvaluateOptions
from bcd.gate.history import list_versions_with_verdicts
from bcd.gate.options import GateOptions
from bcd.gate.promotion import run_gate
from bcd.settings import Settings
from bcd.snapshots.freeze import load_snapshot
from bcd.store.store import open_store
from bcd.validation.model import open_validated_model
settings = Settings(home=sys.argv[1], catalog_url=sys.argv[2])
snapshot = load_snapshot(settings, list_versions_with_verdicts(settings)[0].snapshot)
evaluate = EvaluateOptions(resamples=100)
for version in "12":
    run_gate(
        open_store(settings),
        key=version,
        snapshot=snapshot,
        challenger=version,
        options=GateOptions(),
        evaluate=evaluate,
    )
assert "The champion bcd-idc/2 loads and scores" in [found.what for found in examine_machine(settings)]
pixels = np.full((3, 50, 50, 3), 90, np.uint8)
assert load_bundle(settings).score(pixels).equals(open_validated_model(settings, "2").score(pixels))
"""


def test_gate_doctor_scoring_and_evaluation_need_no_keras(undecided):
    arguments = [str(undecided.home), undecided.catalog_url]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_KERAS, *arguments], env=os.environ, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_gate_patients_whose_pixels_changed_decide_nothing(gate, undecided, store, monkeypatch):
    gate(GREEN)
    read = patients.read_batch_pixels

    def change(*arguments):
        pixels = read(*arguments).copy()
        pixels[0, 0, 0, 0] ^= 1
        return pixels

    monkeypatch.setattr(patients, "read_batch_pixels", change)
    with pytest.raises(DamagedError):
        gate(RED)

    assert len(list_stored_decisions(store)) == 1
    assert find_champion_version(undecided) == GREEN


def test_a_split_is_looked_at_some_patches_at_a_time(undecided, store, first, monkeypatch):
    whole = open_look(store, first, "gate")
    _, expected = whole.score(undecided, GREEN)
    read, sizes = patients.read_batch_pixels, []

    def note(settings, rows):
        sizes.append(len(rows))
        return read(settings, rows)

    monkeypatch.setattr(patients, "read_batch_pixels", note)
    monkeypatch.setattr(patients, "_CHUNK", 7)
    look = open_look(store, first, "gate")
    _, scores = look.score(undecided, GREEN)

    assert look.digest == whole.digest
    pd.testing.assert_frame_equal(scores, expected)
    assert max(sizes) == 7
    assert sum(sizes) == 2 * len(scores) > 2 * 7


def test_gate_patients_whose_labels_changed_decide_nothing(gate, store, first):
    gate(GREEN)
    labels = first.patches["label"].mask(first.patches["patient"] == "1003", 1)

    with pytest.raises(DamagedError):
        gate(RED, on=replace(first, patches=first.patches.assign(label=labels)))
    assert len(list_stored_decisions(store)) == 1


def test_the_networks_of_each_model_are_loaded_once(gate, monkeypatch):
    gate(GREEN)
    loaded, engine = [], scorer.Engine
    monkeypatch.setattr(scorer, "Engine", lambda graph: loaded.append(graph) or engine(graph))

    gate(RED)
    assert len(loaded) == 2


def test_a_patient_in_two_splits_is_found_before_anybody_looks(gate, store, first):
    moved = first.patches["split"].mask(first.patches.index == first.patches.index[-1], "train")

    with pytest.raises(LeakageError):
        gate(GREEN, on=replace(first, patches=first.patches.assign(split=moved)))
    assert list_stored_decisions(store) == []


def test_a_snapshot_without_gate_patients_holds_the_first_challenger(gate, undecided, first):
    nobody = replace(first, id="c" * 64, patches=first.patches[first.patches["split"] != "gate"])

    assert gate(GREEN, on=nobody).verdict == "HOLD"
    assert find_champion_version(undecided) is None


def test_both_models_are_scored_from_the_registry_on_the_same_patches(gate, undecided, store, first):
    gate(GREEN), gate(RED)

    evaluated = list_stored_decisions(store)[-1]
    folder = (
        open_mlflow_client(undecided).get_run(evaluated.evidence["run"]).info.artifact_uri.removeprefix("file://")
    )
    seen = open_look(store, first, "gate")
    for role, version in {"challenger": RED, "champion": GREEN}.items():
        kept = pd.read_parquet(f"{folder}/{role}_scores.parquet")
        _, again = seen.score(undecided, version)
        pd.testing.assert_frame_equal(kept, again, check_dtype=False)


def test_swapping_the_roles_of_two_registered_versions_flips_the_verdict(gate):
    gate(GREEN)
    there = gate(RED).check("auroc")

    back = gate(GREEN, key="back")

    assert back.verdict == "REJECT"
    assert back.check("auroc").value == pytest.approx(-there.value)


def test_what_is_reported_is_of_test_patients_and_decides_nothing(gate):
    gate(GREEN)

    verdict = gate(RED)

    assert [line.partition(" ")[0] for line in verdict.reported] == ["bcd-idc/2", "bcd-idc/1"]
    assert "AUROC .953" in verdict.reported[0]
    assert not any(".953" in reason for reason in verdict.reasons)
    assert all(line in verdict.markdown() for line in verdict.reported)


def test_a_challenger_that_cannot_be_loaded_is_told_and_nothing_is_decided(gate, undecided, store, monkeypatch):
    def fail(*_, **__):
        raise OSError("No such file: bundle.json")

    monkeypatch.setattr("bcd.bundle.registry.load_scorer", fail)
    with pytest.raises(DamagedError, match=r"bcd-idc/1\b.*No such file: bundle\.json"):
        gate(GREEN)

    assert list_stored_decisions(store) == []
    assert find_champion_version(undecided) is None
    client = open_mlflow_client(undecided)
    (run,) = client.search_runs([experiment_id(client)], "tags.`bcd.kind` = 'gate'")
    # The look is logged all the same.
    assert (run.info.status, len(run.data.tags["bcd.gate_digest"])) == ("FAILED", 64)
