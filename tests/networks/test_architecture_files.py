"""Architectures from files: TOML and JSON that a person wrote, and what is told where they do not fit."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bcd.errors import BcdError, NotFoundError
from bcd.networks.architecture import PRESETS, Architecture, Head, Stage, Stem
from bcd.networks.files import load_architecture

TOML = """
order = "norm-relu-conv"
normalisation = "group"
stem = {kind = "patchify", filters = 16, kernel = 5, stride = 5}
head = {reduce = "max", dropout = 0}

[[stages]]
filters = 16
residual = true

[[stages]]
filters = 32
dropout = 0.1
"""


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_known_by_its_name(name: str) -> None:
    assert load_architecture(name) is PRESETS[name]


def test_toml_says_what_the_model_says(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(TOML)
    assert load_architecture(str(file)) == Architecture(
        stem=Stem(kind="patchify", filters=16, kernel=5, stride=5),
        stages=[Stage(filters=16, residual=True), Stage(filters=32, dropout=0.1)],
        order="norm-relu-conv",
        normalisation="group",
        head=Head(reduce="max"),
    )


def test_json_and_the_record_of_a_training_are_read_too(tmp_path: Path) -> None:
    plain, record = tmp_path / "mine.JSON", tmp_path / "training.json"
    plain.write_text(PRESETS["dissertation"].model_dump_json())
    record.write_text(json.dumps({"history": [], "architecture": PRESETS["dissertation"].model_dump()}))
    assert load_architecture(plain) == load_architecture(record) == PRESETS["dissertation"]


@pytest.mark.parametrize(
    ("name", "text", "what", "fix"),
    [
        (
            "a.toml",
            "stages = [{filters = 8, width = 3}]",
            "stage 1, width",
            "filters, dep",
        ),
        ("a.toml", "stages = [{filters = 8}]\nstem = {padding = 1}", "stem, padding", "kind, filters"),
        ("a.toml", "stages = [{filters = 8}]\ndepth = 3", "depth: no such key", "stem, stages, order, normalisation"),
        ("a.toml", 'stages = [{filters = 8}, {filters = "8"}]', "stage 2, filters: ", "Correct it"),
        ("a.toml", "stages = []", "stages: List should have at least 1", "Correct it"),
        ("a.toml", 'order = "relu"', "stages: Field required; order: Input should be", "Correct it"),
        ("a.json", '{"stages": [{"filters": 0}]}', r"filters: .*\b1\b", "Correct it"),
        (
            "a.toml",
            "stages = [{filters = 4, pool = 5}, {filters = 4, pool = 5}, {filters = 4, pool = 5}]",
            "stage 3 pool",
            "fewer",
        ),
        ("a.toml", "stages = [{filters = 4, depth = 3, residual = true}]", r"\b3\b", "even"),
        ("a.toml", 'stages = [{filters = 4}]\nstem = {kind = "plain"}', "stride 1", "stride = 1"),
        ("a.toml", "stages = [", "cannot be read", "must be TOML"),
        ("a.json", "{", "cannot be read", "must be JSON"),
        ("a.json", "[1]", "no table of keys", "list of `stages`"),
        ("a.json", '{"architecture": "compact"}', "no table of keys", "list of `stages`"),
        ("a.yaml", "stages: []", "neither .toml nor .json", "Write"),
    ],
)
def test_what_does_not_fit_is_told_with_file_rule_and_fix(
    name: str, text: str, what: str, fix: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.write_text(text)
    with pytest.raises(BcdError) as told:
        load_architecture(file)
    assert told.value.what.startswith(str(file))
    assert re.search(what, told.value.what)
    assert fix in told.value.fix


def test_what_is_no_text_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BcdError, match=r"a\.toml"):
        load_architecture(file)


@pytest.mark.parametrize("named", ["compakt", "none.toml", ""])
def test_a_name_of_nothing_is_told_with_the_names_there_are(named: str) -> None:
    with pytest.raises(NotFoundError, match=", ".join(PRESETS)):
        load_architecture(named)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        load_architecture(tmp_path)
