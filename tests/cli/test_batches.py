"""`bcd batch list`, `refusals` and `release`, as a user meets them."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from delivering import encode, patch_files, picture, write_folder
from stored import new_store
from typer.testing import CliRunner, Result

from bcd.admission.admit import Admission, admit
from bcd.cli.batch import app
from bcd.errors import BcdError, NotFoundError
from bcd.patches import Hospital
from bcd.settings import Settings
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

EDGE = "P1/0/P1_idx5_x1_y101_class0.png"
BLANK = "P2/0/P2_idx5_x1_y101_class0.png"


def bcd(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def said(*arguments: str) -> str:
    result = bcd(*arguments)
    assert result.exception is None, result.exception
    return result.output


def squeezed(text: str) -> str:
    """A table folds what is too wide for it."""
    return re.sub(r"\s+", "", text)


@pytest.fixture
def store(settings: Settings) -> Store:
    opened = new_store(settings)
    declare_hospital(opened, "east", "pseudonyms", SignOff("Ada", "test"))
    return opened


@pytest.fixture
def admitted(store: Store, tmp_path: Path) -> Admission:
    files = {**patch_files("P1", [0, 1]), **patch_files("P2", [2, 3]), ".DS_Store": b""}
    files |= {EDGE: picture(4, height=42), BLANK: encode(np.full((50, 50, 3), 245, np.uint8))}
    return admit(store, write_folder(tmp_path / "first", files), Hospital("east"))


def test_without_a_batch_it_says_how_to_get_one(settings: Settings) -> None:
    settings.inbox.mkdir(parents=True)
    assert "bcd ingest DELIVERY --hospital NAME" in said("list")


def test_batches_show_what_each_delivery_became(admitted: Admission, settings: Settings) -> None:
    shown = said("list")
    [row] = [line.split() for line in shown.splitlines() if line.strip().startswith(str(admitted.batch)[:8])]
    assert row[1:3] == ["east", "first"]
    assert row[5:11] == ["2", "4", "2", "0", "2", "1"]  # patients, patches, IDC, unlabelled, refused, ignored
    assert admitted.id[:12] in squeezed(shown)
    assert f"{settings.reports}/REPORT.html" in shown


@pytest.mark.parametrize("how", ["name", "delivery", "batch", "beginning"])
def test_refusals_are_found_by_whatever_names_the_delivery(how: str, admitted: Admission) -> None:
    text = {"name": "first", "delivery": admitted.id, "batch": str(admitted.batch), "beginning": admitted.id[:6]}[how]
    shown = said("refusals", text)
    assert re.search(r"first .*east: 2 .* 7 files", shown)
    assert re.search(r"size +1 ", shown)
    assert re.search(f"{re.escape(EDGE)}size.*50x42px", squeezed(shown))


def test_refusals_of_one_rule(admitted: Admission) -> None:
    shown = said("refusals", "first", "--rule", "blank")
    assert squeezed(BLANK) in squeezed(shown)
    assert squeezed(EDGE) not in squeezed(shown)


def refusals_in_csv(folder: Path, *arguments: str) -> list[dict[str, str]]:
    said("refusals", "first", *arguments, "--to", str(folder / "refusals.csv"))
    with (folder / "refusals.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_refusals_as_csv(admitted: Admission, tmp_path: Path) -> None:
    rows = refusals_in_csv(tmp_path)
    assert {(row["file"], row["rule"], row["state"]) for row in rows} == {
        (EDGE, "size", "refused"),
        (BLANK, "blank", "refused"),
    }
    assert all(len(row["sha256"]) == 64 and row["kept"] for row in rows)


def test_a_release_is_told_as_json(admitted: Admission) -> None:
    told = json.loads(said("release", "first", BLANK, "--by", "Ada", "--reason", "mucin", "--json"))
    assert (told["released"], told["refused"], told["before"]) == ([BLANK], [], [])
    assert told["made"][:12] in told["report"]


def test_a_release_is_shown_with_who_and_why(admitted: Admission, tmp_path: Path) -> None:
    assert re.search(r"\b1 of first\b", said("release", "first", BLANK, "--by", "Ada", "--reason", "mucin"))
    assert re.search(r"\b1 of them released", said("refusals", "first"))
    [row] = refusals_in_csv(tmp_path, "--rule", "blank")
    assert re.fullmatch(r"released by Ada on \d{4}-\d\d-\d\d: mucin", row["state"])
    assert "releaseoffirst" in squeezed(said("list"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["refusals", "nowhere"], "'nowhere'"),
        (["refusals", "first", "--rule", "ugly"], "ugly"),
        (["refusals", "first", "--to", "refusals.txt"], "refusals.txt"),
        (["release", "first", EDGE, "--by", "Ada", "--reason", "so"], "rule size"),
    ],
)
def test_what_cannot_be_is_told(arguments: list[str], told: str, admitted: Admission) -> None:
    result = bcd(*arguments)
    assert isinstance(result.exception, BcdError)
    assert told in str(result.exception)


def test_a_name_that_may_be_several_deliveries_lists_them(admitted: Admission, store: Store, tmp_path: Path) -> None:
    write_folder(tmp_path / "again" / "first", patch_files("P3", [6]))
    other = admit(store, tmp_path / "again" / "first", Hospital("east"))
    result = bcd("refusals", "first")
    assert isinstance(result.exception, BcdError)
    assert isinstance(result.exception, NotFoundError)
    assert re.search(r"\b2 deliveries", result.exception.what)
    assert admitted.id[:12] in result.exception.what
    assert other.id[:12] in result.exception.what
