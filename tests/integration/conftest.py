"""A hospital so small that everything about it takes seconds, and bcd as an installation has it."""

from __future__ import annotations

from pathlib import Path

import pytest
from installed import installation, site, wheel

__all__ = ["installation", "site", "wheel"]

TINY = """
inbox_quiet_seconds = 1

[synthetic]
patients = 30
large_patients = 1
small_patches = 14
large_patches = 60

[search]
trials = 0
dissertation = false
epochs = 1
seeds = 1

[training]
epochs = 1
min_train_patients = 4
min_val_patients = 2

[evaluation]
resamples = 200
min_patients = 3
min_patches = 10

[gate]
min_patients = 2
"""


@pytest.fixture(scope="session")
def tiny_options() -> str:
    """A bcd.toml that makes everything small."""
    return TINY


@pytest.fixture
def tiny_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A BCD_HOME whose bcd.toml makes everything small."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "bcd.toml").write_text(TINY)
    monkeypatch.setenv("BCD_HOME", str(home))
    return home
