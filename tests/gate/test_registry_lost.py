"""The MLflow store was deleted and the catalog was not: no old decision speaks about a bundle of the new store."""

from __future__ import annotations

import shutil

import pytest
from registered import copy_home, read_aliases

from bcd.errors import NotFoundError
from bcd.evaluation.options import EvaluateOptions
from bcd.gate.history import list_gate_events
from bcd.gate.options import GateOptions
from bcd.gate.overrides import answer_approval, force_promotion, roll_back
from bcd.gate.promotion import run_gate
from bcd.gate.recheck import recheck_champion
from bcd.snapshots.freeze import load_snapshot
from bcd.store.decisions import list_stored_decisions
from bcd.store.sign_off import SignOff
from bcd.store.store import open_store

LEE = SignOff("Dr Lee", "the audit asks for it")
EVALUATE = EvaluateOptions(resamples=100)


@pytest.fixture(scope="module")
def stores(shared_settings, empty_database, make_hospital, register):
    """Two retrainings, `one` and `two`, are versions 1 and 2 of a store; a new store beside it has other bundles."""
    made = make_hospital(shared_settings)
    # Another address: this process has connections to the first file, deleted or not.
    begun_anew = shutil.copy(empty_database, shared_settings.home / "begun-anew.db")
    anew = shared_settings.model_copy(update={"mlflow_url": f"sqlite:///{begun_anew}"})
    for settings, networks in ((shared_settings, ("green", "red")), (anew, ("wrong", "red"))):
        for key, network in zip(("one", "two"), networks, strict=True):
            register(settings, network, key=key, snapshot=made.id)
    return shared_settings.home, made.id


@pytest.fixture
def settings(stores, tmp_path):
    return copy_home(stores[0], tmp_path / "home")


@pytest.fixture
def snapshot(stores, settings):
    return load_snapshot(settings, stores[1])


@pytest.fixture
def lose(settings):
    """The new store takes the place of the old one beside the same catalog."""
    return lambda: settings.model_copy(update={"mlflow_url": f"sqlite:///{settings.home / 'begun-anew.db'}"})


def decide(settings, snapshot, key, version, **options):
    return run_gate(
        open_store(settings),
        key=f"gate/{key}",
        snapshot=snapshot,
        challenger=version,
        options=GateOptions(**options),
        evaluate=EVALUATE,
    )


def test_a_bundle_of_the_same_number_and_retraining_is_evaluated_anew(settings, snapshot, lose):
    store = open_store(settings)
    decide(settings, snapshot, "one", "1"), decide(settings, snapshot, "two", "2")
    assert read_aliases(settings) == {"champion": "2", "previous": "1"}

    anew = lose()
    first = decide(anew, snapshot, "one", "1")

    assert read_aliases(anew) == {"champion": "1"}
    assert first.champion is None
    second = decide(anew, snapshot, "two", "2")
    assert (second.verdict, second.champion) == ("PROMOTE", "1")
    assert second.check("auroc").value > 0.5  # against the one that has it the wrong way round
    decisions = list_stored_decisions(store)
    assert [one.challenger for one in decisions] == ["1", "2", "1", "2"]
    assert len({one.evidence["model"] for one in decisions}) == 4
    assert decide(anew, snapshot, "two", "2") == second
    gone = [one.is_gone for one in list_gate_events(open_store(anew)) if one.what == "gate"]
    assert gone == [True, True, False, False]


def test_what_a_person_said_about_a_bundle_that_is_gone_is_not_done_to_another(settings, snapshot, lose):
    store = open_store(settings)
    force_promotion(store, "1", LEE)
    decide(settings, snapshot, "two", "2", approval=True)

    anew = lose()
    store = open_store(anew)

    with pytest.raises(NotFoundError, match="bcd-idc/2"):
        answer_approval(store, "2", LEE, "PROMOTE")
    with pytest.raises(NotFoundError, match="`bcd model promote VERSION`"):
        roll_back(store, LEE)
    assert read_aliases(anew) == {}
    forced = force_promotion(store, "1", LEE)
    assert forced == list_stored_decisions(store)[-1]
    assert read_aliases(anew) == {"champion": "1"}


def test_a_champion_of_the_same_number_is_evaluated_again_and_that_is_recorded(settings, snapshot, lose):
    store = open_store(settings)

    def again(where):
        return recheck_champion(open_store(where), snapshot=snapshot, options=GateOptions(), evaluate=EVALUATE)

    force_promotion(store, "1", LEE)
    assert again(settings).verdict == "PROMOTE"
    anew = lose()
    force_promotion(open_store(anew), "1", LEE)

    assert again(anew).verdict == "PROMOTE"

    assert [one.kind for one in list_stored_decisions(store)] == ["forced", "recheck", "forced", "recheck"]
    assert again(anew) is None
