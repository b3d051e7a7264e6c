"""`bcd model`: history, approve, promote, rollback, compare and prune, as a person types them."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from bcd.gate.history import list_versions_with_verdicts
from bcd.snapshots.freeze import load_snapshot
from bcd.store.decisions import list_stored_decisions

GREEN, RED = "12"
SIGNED = ("--by", "Dr Lee", "--reason", "the audit asks for it")


@pytest.fixture(autouse=True)
def home(undecided, store, monkeypatch):
    """The command works on the five versions that nothing was decided on."""
    monkeypatch.setenv("BCD_HOME", str(undecided.home))
    monkeypatch.setenv("BCD_CATALOG_URL", undecided.catalog_url)
    monkeypatch.setenv("COLUMNS", "200")


def test_a_person_forces_rolls_back_and_reads_the_story(bcd, store):
    assert bcd("model", "promote", GREEN)[0] == 2  # nobody says who
    assert bcd("model", "promote", GREEN, "--by", "Dr Lee", "--reason", " ")[0] == 2
    assert list_stored_decisions(store) == []

    code, said, _ = bcd("model", "promote", GREEN, *SIGNED)
    assert (code, "champion   bcd-idc/1" in said, "Dr Lee" in said) == (0, True, True)
    assert bcd("model", "promote", RED, *SIGNED)[0] == 0
    code, said, _ = bcd("model", "rollback", *SIGNED)
    assert (code, "champion   bcd-idc/1" in said, "previous   bcd-idc/2" in said) == (0, True, True)

    code, said, _ = bcd("model", "history")
    assert code == 0
    assert "bcd-idc/1 rollback PROMOTE against bcd-idc/2" in said
    assert re.search(r"Dr Lee .*bcd-idc/2: the audit asks for it", said)
    assert re.search(r"champion bcd-idc/1, previous bcd-idc/2", said)
    events = json.loads(bcd("model", "history", "3", "--json")[1])
    assert [(one["version"], one["what"]) for one in events] == [("bcd-idc/3", "registered")]


def test_an_approval_is_given_in_a_terminal(bcd, gate, store):
    gate(GREEN)
    gate(RED, approval=True)

    assert bcd("model", "approve", "challenger", *SIGNED, "--answer", "REJECT")[0] == 0

    assert (list_stored_decisions(store)[-1].kind, list_stored_decisions(store)[-1].verdict) == ("approval", "REJECT")
    code, _, said = bcd("model", "approve", RED, "--by", "Dr May", "--reason", "but I like it")
    assert (code, "bcd-idc/2" in said) == (2, True)


def test_versions_are_compared_in_a_terminal_and_the_gate_only_with_a_name(bcd, undecided, store, monkeypatch):
    first = load_snapshot(undecided, list_versions_with_verdicts(undecided)[0].snapshot)
    as_test = replace(first, patches=first.patches.assign(split=first.patches["split"].replace("gate", "test")))
    with monkeypatch.context() as patch:
        patch.setattr("bcd.gate.comparison.load_snapshot", lambda *_: as_test)
        code, said, _ = bcd("model", "compare", GREEN, RED)
    assert (code, "bcd-idc/2 minus bcd-idc/1" in said, "12 test patients" in said) == (0, True, True)
    assert bcd("model", "compare", GREEN, RED)[0] == 2  # the snapshot has no test patients
    assert list_stored_decisions(store) == []

    code, _, said = bcd("model", "compare", GREEN, RED, "--split", "gate")
    assert (code, "--by NAME --reason TEXT" in said) == (2, True)
    assert bcd("model", "compare", GREEN, RED, "--split", "gate", *SIGNED)[0] == 0
    assert [one.kind for one in list_stored_decisions(store)] == ["look"]


def test_a_dry_run_of_prune_says_why_each_version_stays(bcd, gate, undecided, store):
    gate(GREEN)
    gate(RED, approval=True)

    code, said, _ = bcd("model", "prune", "--keep", "1", "--dry-run")

    assert code == 0
    records = json.loads(bcd("model", "prune", "--keep", "1", "--dry-run", "--json")[1])
    assert [each["version"] for each in records if not each["kept_for"]] == ["bcd-idc/3", "bcd-idc/4"]
    lines = {line.split()[0]: line for line in said.splitlines() if line.startswith("bcd-idc/")}
    assert all(reason in lines[each["version"]] for each in records for reason in each["kept_for"])
    assert len(list_versions_with_verdicts(undecided)) == 5
