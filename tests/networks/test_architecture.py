"""Architectures as data: what they say, what they refuse."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from bcd.errors import BcdError
from bcd.networks.architecture import PRESETS, Architecture, Head, Stage, Stem, describe


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
    assert [describe(preset) for preset in PRESETS.values()] == ["dissertation", "compact"]
    other = Architecture(stem=Stem(filters=8), stages=[Stage(filters=8, depth=1)], head=Head(dense=4))
    assert describe(other) == "stem 8 of 5x5/2, 1x8, average dense 4"


def test_the_default_is_known_by_its_fingerprint_alone() -> None:
    compact = PRESETS["compact"]
    assert compact.fingerprint() == Architecture.model_validate(compact.model_dump()).fingerprint()
    assert compact.fingerprint() != compact.model_copy(update={"order": "conv-relu-norm"}).fingerprint()
