"""The released model becomes a home's first champion, once, by a sign-off, however often the command dies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bcd.bundle import aliases
from bcd.bundle.registry import find_card, load_bundle
from bcd.bundle.released.card import OF_THE_RECIPE
from bcd.errors import BcdError
from bcd.gate import adoption
from bcd.gate.adoption import make_released_champion
from bcd.gate.history import find_champion_version, list_versions_with_verdicts
from bcd.settings import Settings
from bcd.store.decisions import list_stored_decisions
from bcd.store.sign_off import SignOff
from bcd.store.store import Store, open_store
from bcd.tracking.store import open_mlflow_client

LEE = SignOff("Dr Lee", "to begin with")


@pytest.fixture
def home(registry_settings: Settings, released: Path) -> Settings:
    return registry_settings


@pytest.fixture
def store(home: Settings) -> Store:
    return open_store(home)


def test_it_is_registered_with_card_and_origin_and_made_champion_by_a_sign_off(home: Settings, store: Store) -> None:
    decision = make_released_champion(store, LEE)
    assert (decision.kind, decision.sign_off) == ("adopted", LEE)
    [version] = list_versions_with_verdicts(home)
    assert version.aliases == ["anchor", "champion"]
    assert open_mlflow_client(home).get_model_version("bcd-idc", version.version).tags["bcd.origin"] == "released"
    bundle = load_bundle(home)
    assert bundle.record.origin == "released"
    assert bundle.seen is not None
    assert "public/p0" in bundle.seen.patients
    assert OF_THE_RECIPE in find_card(home).markdown


def test_the_same_sign_off_again_changes_nothing_and_another_finds_a_champion(home: Settings, store: Store) -> None:
    assert make_released_champion(store, LEE) == make_released_champion(store, LEE)
    with pytest.raises(BcdError, match="bcd-idc/1"):
        make_released_champion(store, SignOff("Dr Kim", "again"))
    assert len(list_versions_with_verdicts(home)) == len(list_stored_decisions(store)) == 1


class Killed(BaseException):
    pass


@pytest.mark.parametrize(
    "step", ["register_bundle", "require_bundle_scores", "store_decision", "move_registry_aliases", "alias", "tag"]
)
def test_killed_before_any_step_the_same_command_ends_as_if_it_had_not_been(
    home: Settings, store: Store, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if step == "alias":
            patch.setattr("mlflow.MlflowClient.set_registered_model_alias", die)
        elif step == "tag":
            patch.setattr(aliases, "DONE_TAG", None)  # no tag of that name can be set
        else:
            patch.setattr(adoption, step, die)
        with pytest.raises((Killed, Exception)):
            make_released_champion(store, LEE)
    decision = make_released_champion(store, LEE)
    assert find_champion_version(home) == decision.challenger
    assert len(list_versions_with_verdicts(home)) == len(list_stored_decisions(store)) == 1
    assert open_mlflow_client(home).get_model_version("bcd-idc", "1").tags[aliases.DONE_TAG] == decision.key
