"""`bcd snapshot list` and `bcd snapshot show | diff` say in a terminal what the store knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bcd.cli.snapshot import app
from bcd.errors import NotFoundError
from bcd.settings import Settings, load_settings
from bcd.snapshots.freeze import Snapshot, freeze_snapshot
from bcd.snapshots.splits import SplitOptions


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BCD_HOME", str(tmp_path / "home"))
    return load_settings()


@pytest.fixture
def frozen(store, store_batch) -> list[Snapshot]:
    """Before and after a second delivery."""
    store_batch([str(i) for i in range(25)], labels=(0, 1, 1, None))
    first = freeze_snapshot(store, SplitOptions())
    store_batch(["new"], hospital="west")
    return [first, freeze_snapshot(store, SplitOptions())]


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments)
    if done.exception is not None:
        raise done.exception
    return done.output


def row(text: str, *beginning: str) -> list[str]:
    """Returns the cells of the first row that begins so."""
    line = next(line for line in text.splitlines() if line.split()[: len(beginning)] == list(beginning))
    return re.split(r"\s{2,}", line.strip())


def test_nothing_frozen_says_what_freezes(settings: Settings) -> None:
    settings.inbox.mkdir(parents=True)
    assert "`bcd retrain`" in run("list")


def test_the_list_has_every_snapshot_with_its_figures(frozen: list[Snapshot]) -> None:
    text = run("list")
    first, second = (row(text, each.id[:12]) for each in frozen)
    assert first[2:] == ["dealt", "25", "75", "66.7%", "1"]
    assert second[2:] == ["dealt", "26", "77", "66.2%", "2"]


def test_one_snapshot_is_shown_with_its_counts_and_what_was_left_out(frozen: list[Snapshot]) -> None:
    text = run("show", frozen[1].id[:8])
    assert frozen[1].id in text
    assert row(text, "1") == ["1", "26", "51", "100.0%"]
    assert row(text, "east") == ["east", "25", "75", "66.7%"]
    assert row(text, frozen[1].batches[0][:12])[0] == frozen[1].batches[0][:12]
    assert re.search(r"\b20\b.* of 26\b", text)
    assert row(text, "unlabelled")[:3] == ["unlabelled", "25", "25"]


def test_a_difference_names_what_came(frozen: list[Snapshot]) -> None:
    text = run("diff", frozen[0].id, frozen[1].id)
    assert row(text, "patches") == ["patches", "2", "0"]
    assert row(text, "patients")[1:] == ["1", "0", "+west/new"]
    assert "another split" not in text


def test_a_name_that_is_none_is_refused(frozen: list[Snapshot]) -> None:
    with pytest.raises(NotFoundError, match="'zz'"):
        run("show", "zz")
