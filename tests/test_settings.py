"""Where things live, and who wins: a variable over bcd.toml over the default."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from bcd.errors import BcdError
from bcd.options import Options
from bcd.settings import Settings, load_settings


class Example(Options):
    """Options of a concern."""

    epochs: int = Field(8, ge=1, description="Epochs.")
    rate: float = Field(0.1, description="Rate.")


def test_all_state_lies_under_one_folder(settings: Settings) -> None:
    properties = [name for name, member in vars(Settings).items() if isinstance(member, property)]
    folders = [value for name in properties if isinstance(value := getattr(settings, name), Path)]
    assert len(folders) > 10
    assert all(folder.is_relative_to(settings.home) for folder in folders)
    assert str(settings.home) in settings.catalog


def test_a_variable_wins_over_the_file(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.home.mkdir()
    (settings.home / "bcd.toml").write_text("prefect_port = 4300\nmlflow_port = 5300\n")
    monkeypatch.setenv("BCD_MLFLOW_PORT", "5400")
    found = load_settings()
    assert (found.prefect_port, found.mlflow_port) == (4300, 5400)


def test_a_table_is_read_with_the_model_of_its_concern(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.home.mkdir()
    (settings.home / "bcd.toml").write_text("[training]\nepochs = 3\n")
    assert load_settings().options("training", Example) == Example(epochs=3)
    monkeypatch.setenv("BCD_TRAINING__EPOCHS", "5")
    assert load_settings().options("training", Example) == Example(epochs=5)
    assert load_settings().options("training", Example, epochs=7, rate=None) == Example(epochs=7)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("prefect_prot = 1\n", "prefect_prot"),
        ("prefect_port = 99999\n", "prefect_port"),
        ("prefect_port = \n", "cannot be read"),
    ],
)
def test_a_fault_in_the_file_is_named(settings: Settings, text: str, named: str) -> None:
    settings.home.mkdir()
    (settings.home / "bcd.toml").write_text(text)
    with pytest.raises(BcdError, match=named):
        load_settings()


@pytest.mark.parametrize(
    "text", ["[training]\nepoch = 3\n", "[training]\nepochs = 0\n", "[training]\nepochs = 'x'\n"]
)
def test_a_fault_in_a_table_is_named(settings: Settings, text: str) -> None:
    settings.home.mkdir()
    (settings.home / "bcd.toml").write_text(text)
    with pytest.raises(BcdError, match=r"\[training\].*epoch"):
        load_settings().options("training", Example)


def test_equal_options_have_equal_fingerprints() -> None:
    assert Example(epochs=3).fingerprint() == Example(epochs=3, rate=0.1).fingerprint()
    assert Example(epochs=3).fingerprint() != Example(epochs=4).fingerprint()
