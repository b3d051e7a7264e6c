from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bcd.admission.sources.open import open_source
from bcd.admission.sources.source import Source, UnreadableFileError


def _contents(source: Source, limit: int = 1 << 20) -> dict[str, bytes | str]:
    found: dict[str, bytes | str] = {}
    for member, name in enumerate(source.names):
        try:
            found[name] = source.read(member, limit)
        except UnreadableFileError as error:
            found[name] = error.rule
    return found


@pytest.fixture
def read_all(tmp_path: Path) -> Callable[[Path], dict[str, bytes | str]]:
    """Opens a delivery and reads every member of it: its bytes, or the rule by which they cannot be had."""

    def read(path: Path) -> dict[str, bytes | str]:
        with open_source(path, tmp_path / "scratch") as source:
            return _contents(source)

    return read


@pytest.fixture
def hazards_of(tmp_path: Path) -> Callable[[Path], dict[str, str]]:
    """Opens a delivery and returns the rule that each member's listing shows to be broken."""

    def find(path: Path) -> dict[str, str]:
        with open_source(path, tmp_path / "scratch") as source:
            found = {name: source.hazard(member) for member, name in enumerate(source.names)}
        return {name: hazard[0] for name, hazard in found.items() if hazard is not None}

    return find
