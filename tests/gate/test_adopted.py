"""The released model as champion: whom it learned from is nobody that it is compared on."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from registered import MakeOnce, Register, copy_home, make_settings
from stored import new_store

from bcd.bundle.registry import load_bundle
from bcd.bundle.seen import assert_unseen_by_bundle
from bcd.errors import BcdError, LeakageError, NotFoundError, UnavailableError
from bcd.evaluation.options import EvaluateOptions
from bcd.gate.adoption import find_adopted_patients, make_released_champion
from bcd.gate.comparison import compare_versions
from bcd.gate.history import find_champion_version
from bcd.gate.options import GateOptions
from bcd.gate.promotion import run_gate
from bcd.gate.recheck import recheck_champion
from bcd.patches import Hospital, SnapshotId
from bcd.scoring.exposure import list_doubts
from bcd.settings import Settings
from bcd.snapshots.freeze import Snapshot, load_snapshot
from bcd.store.decisions import list_stored_decisions
from bcd.store.sign_off import SignOff
from bcd.store.store import Store, open_store

LEE = SignOff("Dr Lee", "to begin with")


@pytest.fixture(scope="session")
def adopted(
    make_once: MakeOnce,
    empty_database: Path,
    made_released: Path,
    make_hospital: Callable[..., Snapshot],
    register: Register,
) -> Path:
    """A home that adopted the released model, and whose own first network was registered thereafter, to be copied."""

    def fill(folder: Path) -> None:
        settings = make_settings(folder / "home", empty_database)
        snapshot = make_hospital(settings)
        with pytest.MonkeyPatch.context() as patch, new_store(settings) as store:
            patch.setattr("bcd.bundle.released.released_folder", lambda: made_released)
            make_released_champion(store, LEE)
        register(settings, "green", key="own", snapshot=snapshot.id)
        (folder / "snapshot").write_text(snapshot.id)

    return make_once("adopted", fill)


@pytest.fixture
def home(adopted: Path, tmp_path: Path) -> Settings:
    return copy_home(adopted / "home", tmp_path / "home")


@pytest.fixture
def store(home: Settings) -> Store:
    return open_store(home)


@pytest.fixture
def challenged(adopted: Path, home: Settings) -> Snapshot:
    """What the hospital's own network was trained on."""
    return load_snapshot(home, SnapshotId((adopted / "snapshot").read_text()))


def leak(snapshot: Snapshot, home: Settings, *patients: str) -> Snapshot:
    """The snapshot as if each of these patients had the pixels of a patient whom the released model learned from."""
    seen = load_bundle(home).seen
    assert seen is not None
    rows = snapshot.patches.reset_index(drop=True)
    for number, patient in enumerate(patients):
        pixels = f"{int(seen.pixels[number]):016x}" + "0" * 48
        rows = rows.assign(pixel_sha256=rows["pixel_sha256"].mask(rows["patient"] == patient, pixels))
    return replace(snapshot, patches=rows)


def run(store: Store, snapshot: Snapshot) -> Any:
    return run_gate(
        store,
        key="gate/own",
        snapshot=snapshot,
        challenger="2",
        options=GateOptions(),
        evaluate=EvaluateOptions(resamples=200),
    )


def test_the_hospitals_own_network_meets_it_at_the_gate(home: Settings, store: Store, challenged: Snapshot) -> None:
    verdict = run(store, challenged)
    assert (verdict.challenger, verdict.champion, verdict.verdict) == ("2", "1", "REJECT")


def test_until_ten_labelled_patients_evaluated_it_reports_say_so(
    home: Settings, store: Store, challenged: Snapshot
) -> None:
    bundle = load_bundle(home)
    assert len(list_doubts(store, bundle, Hospital("h1"))) == 1
    run(store, challenged)
    assert list_doubts(store, bundle, Hospital("h1")) == []
    assert len(list_doubts(store, bundle, Hospital("h2"))) == 1
    assert list_doubts(store, load_bundle(home, "2"), Hospital("h2")) == []


def test_gate_patients_whose_pixels_it_learned_from_are_known_whatever_they_are_called(
    home: Settings, store: Store, challenged: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle(home)
    leaking = leak(challenged, home, "1003").patches
    monkeypatch.setattr("bcd.snapshots.freeze.preview_snapshot", lambda _: leaking)
    assert find_adopted_patients(store, "1") == ["h1/1003"]
    with pytest.raises(LeakageError, match="h1/1003"):
        assert_unseen_by_bundle(home, bundle, leaking)


def test_the_gate_compares_on_the_patients_whom_it_did_not_learn_from_and_says_how_many_are_left_out(
    home: Settings, store: Store, challenged: Snapshot
) -> None:
    assert challenged.of("gate")["patient"].nunique() == 12
    verdict = run(store, leak(challenged, home, "1003", "1004"))
    assert (verdict.challenger, verdict.champion, verdict.verdict) == ("2", "1", "REJECT")
    told = verdict.check("left out").text
    assert re.findall(r"h1/\d+", told) == ["h1/1003", "h1/1004"]
    assert told in verdict.reasons
    assert list_stored_decisions(store)[-1].evidence["patients"] == 10


@pytest.mark.parametrize("known", [3, 12])
def test_the_gate_holds_where_too_few_remain_or_nobody(
    home: Settings, store: Store, challenged: Snapshot, known: int
) -> None:
    verdict = run(store, leak(challenged, home, *(f"{1000 + number}" for number in range(known))))
    assert verdict.verdict == "HOLD"
    assert not verdict.check("evidence").passed
    assert re.findall(r"\d+", verdict.check("left out").text)[0] == str(known)
    assert find_champion_version(home) == "1"


def test_a_recheck_on_patients_all_of_whom_it_learned_from_holds_and_changes_nothing(
    home: Settings, store: Store, challenged: Snapshot
) -> None:
    leaking = leak(challenged, home, *(f"{1000 + number}" for number in range(12)))
    splits = leaking.patches["split"].mask(leaking.patches["patient"].isin(["1010", "1011"]), "test")
    grown = replace(leaking, patches=leaking.patches.assign(split=splits))
    verdict = recheck_champion(store, snapshot=grown, options=GateOptions(), evaluate=EvaluateOptions(resamples=100))
    assert verdict is not None
    assert verdict.verdict == "HOLD"
    assert list_stored_decisions(store)[-1].evidence["figures"] == {}
    assert find_champion_version(home) == "1"


def test_a_look_whose_snapshot_was_removed_counts_nobody_and_no_other_fault_is_passed_over(
    home: Settings, store: Store, challenged: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(store, challenged)
    bundle = load_bundle(home)

    def fail(*_: object) -> None:
        raise met("It is so.", "Do this.")

    monkeypatch.setattr("bcd.snapshots.freeze.load_snapshot", fail)
    met: type[BcdError] = NotFoundError
    assert len(list_doubts(store, bundle, Hospital("h1"))) == 1
    for met in (LeakageError, UnavailableError):
        with pytest.raises(met):
            list_doubts(store, bundle, Hospital("h1"))


def test_patients_who_were_left_out_do_not_count_as_evaluated(
    home: Settings, store: Store, challenged: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaking = leak(challenged, home, "1003", "1004", "1005")
    run(store, leaking)
    monkeypatch.setattr("bcd.snapshots.freeze.load_snapshot", lambda *_: leaking)
    [doubt] = list_doubts(store, load_bundle(home), Hospital("h1"))
    assert re.findall(r"\d+", doubt) == ["9", "10"]


def test_a_recheck_of_it_leaves_its_training_patients_out_of_gate_and_test(
    home: Settings, store: Store, challenged: Snapshot
) -> None:
    leaking = leak(challenged, home, "1003", "1010")
    is_test = leaking.patches["patient"].isin(["1010", "1011"])
    grown = replace(leaking, patches=leaking.patches.assign(split=leaking.patches["split"].mask(is_test, "test")))
    verdict = recheck_champion(store, snapshot=grown, options=GateOptions(), evaluate=EvaluateOptions(resamples=100))
    assert verdict is not None
    assert (verdict.challenger, verdict.champion) == ("1", None)
    last = list_stored_decisions(store)[-1]
    assert (last.evidence["patients"], last.evidence["figures"]["test_patients"]) == (9, 1)


def test_a_comparison_of_versions_is_of_the_patients_whom_neither_learned_from(
    home: Settings, store: Store, challenged: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaking = leak(challenged, home, "1003")
    monkeypatch.setattr("bcd.gate.comparison.load_snapshot", lambda *_: leaking)
    found = compare_versions(store, "1", "2", EvaluateOptions(resamples=100), split="gate", sign_off=LEE)
    assert found.n_patients == 11
