"""Architectures as data: what they say, what they refuse."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bcd.errors import BcdError
from bcd.networks.architecture import PRESETS, Architecture, Head, Stage, Stem, describe_architecture
from bcd.networks.files import load_architecture
from bcd.options import Options


def test_an_architecture_survives_json() -> None:
    for preset in PRESETS.values():
        assert Architecture.model_validate_json(preset.model_dump_json()) == preset
        assert Architecture.model_validate(preset.model_dump()) == preset


def test_unknown_keys_and_wrong_types_are_errors() -> None:
    with pytest.raises(ValidationError, match="width"):
        Stage.model_validate({"filters": 8, "width": 3})
    with pytest.raises(ValidationError, match="filters"):
        Stage.model_validate({"filters": "8"})
    with pytest.raises(ValidationError, match="stages"):
        Architecture(stages=[])


def test_an_architecture_that_leaves_nothing_of_a_patch_is_refused_naming_the_stage() -> None:
    with pytest.raises(BcdError, match="stage 6 pools 2x2 where 1x1"):
        Architecture(stages=[Stage(filters=4)] * 6)  # 50, 25, 12, 6, 3, 1
    with pytest.raises(BcdError, match="stage 3 pools 2x2 where 1x1"):
        Architecture(stem=Stem(stride=10), stages=[Stage(filters=4)] * 3)  # 5, 2, 1
    Architecture(stem=Stem(stride=10), stages=[Stage(filters=4)] * 2)


def test_descriptions_name_presets_and_tell_others_apart() -> None:
    assert [describe_architecture(preset) for preset in PRESETS.values()] == ["dissertation", "compact"]
    other = Architecture(stem=Stem(filters=8), stages=[Stage(filters=8, depth=1)], head=Head(dense=4))
    assert describe_architecture(other) == "stem 8 of 5x5/2, 1x8, average dense 4"
    residual = Architecture(
        stem=Stem(kind="patchify", kernel=5, stride=5),
        stages=[Stage(filters=16, residual=True), Stage(filters=32, residual=True)],
        order="norm-relu-conv",
        normalisation="group",
        head=Head(reduce="max", dropout=0.5),
    )
    assert describe_architecture(residual) == (
        "patchify stem 32 of 5x5, 2x16 2x32 residual, norm-relu-conv, group norm, max, dropout 0/0/0.5"
    )
    stages = [
        Stage(filters=8, kernel=5, pooling="average"),
        Stage(filters=8, depth=1, pool=3),
        Stage(filters=9, pool=1),
    ]
    mixed = Architecture(stem=Stem(kind="plain", stride=1), stages=stages, normalisation="none")
    assert describe_architecture(mixed) == (
        "plain stem 32 of 5x5, 2x8 of 5x5 average-pooled, 1x8 pooled by 3, 2x9 unpooled, no norm, average"
    )


def test_each_change_changes_the_words() -> None:
    base = Architecture(stem=Stem(), stages=[Stage(filters=8), Stage(filters=8)])
    stems = [Stem(filters=9), Stem(kernel=3), Stem(stride=3), Stem(kernel=1, stride=1), None]
    stems += [Stem(kind="plain", stride=1), Stem(kind="patchify", kernel=2)]
    stages: list[dict[str, Any]] = [
        {"filters": 9},
        {"depth": 4},
        {"kernel": 5},
        {"residual": True},
        {"pooling": "average"},
        {"pool": 3},
    ]
    stages += [{"pool": 1}, {"dropout": 0.1}]
    heads = [Head(reduce="max"), Head(reduce="flatten"), Head(dense=8), Head(dropout=0.1)]
    changes: list[dict] = [{"stem": stem} for stem in stems] + [{"head": head} for head in heads]
    changes += [{"stages": [base.stages[0], base.stages[1].model_copy(update=stage)]} for stage in stages]
    changes += [{"order": "conv-relu-norm"}, {"order": "norm-relu-conv"}]
    changes += [{"normalisation": "group"}, {"normalisation": "none"}]
    words = {
        describe_architecture(base),
        *(describe_architecture(base.model_copy(update=change)) for change in changes),
    }
    assert len(words) == 1 + len(changes)


def test_a_stem_strides_as_its_kind_says() -> None:
    with pytest.raises(BcdError, match=r"\bplain\b.*\b1\b.*\b2\b"):
        Stem(kind="plain")
    with pytest.raises(BcdError, match=r"\b5 px.*\b2 px"):
        Stem(kind="patchify")
    kinds = [Stem(kind="plain", stride=1), Stem(stride=3), Stem(kind="patchify", kernel=4, stride=4)]
    assert [stem.edge for stem in kinds] == [50, 17, 12]


def test_shortcuts_lead_around_pairs() -> None:
    with pytest.raises(BcdError, match=r"\b3\b"):
        Stage(filters=8, depth=3, residual=True)


def test_the_default_is_known_by_its_fingerprint_alone() -> None:
    compact = PRESETS["compact"]
    assert compact.fingerprint() == Architecture.model_validate(compact.model_dump()).fingerprint()
    assert compact.fingerprint() != compact.model_copy(update={"order": "conv-relu-norm"}).fingerprint()


def test_the_documentation_names_every_field_and_its_example_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs/reference/architecture.md").read_text()
    models: dict[str, type[Options]] = {
        "architecture": Architecture,
        "stem": Stem,
        "each of the stages": Stage,
        "head": Head,
    }
    for title, model in models.items():
        table = page.split(f"| {title} | default | |")[1].split("\n\n")[0]
        assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == list(model.model_fields)
    (tmp_path / "example.toml").write_text(page.split("```toml")[1].split("```")[0])
    assert describe_architecture(load_architecture(tmp_path / "example.toml")) == (
        "patchify stem 32 of 5x5, 2x32 2x64 residual, norm-relu-conv, group norm, max, dropout 0/0.1/0.2"
    )
