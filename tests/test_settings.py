"""Where things live, and who wins: a variable over bcd.toml over the default."""

from __future__ import annotations

import re
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


def test_what_a_command_asked_for_is_named_as_such(settings: Settings) -> None:
    settings.home.mkdir()
    (settings.home / "bcd.toml").write_text("[training]\nrate = 0.5\n")
    with pytest.raises(BcdError) as caught:
        load_settings().options("training", Example, epochs=0)
    assert re.match(r"\[training\] epochs = 0: .*\b1\b", caught.value.what)


def test_equal_options_have_equal_fingerprints() -> None:
    assert Example(epochs=3).fingerprint() == Example(epochs=3, rate=0.1).fingerprint()
    assert Example(epochs=3).fingerprint() != Example(epochs=4).fingerprint()


@pytest.mark.parametrize("url", ["/data/store", "s3://", "s3://bucket/a?versions", "file:///data", "https://bucket"])
def test_a_store_that_is_no_bucket_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("BCD_STORE_URL", url)
    with pytest.raises(BcdError, match="BCD_STORE_URL"):
        load_settings()


def test_a_store_is_a_bucket_with_or_without_a_prefix(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for url, known in {"s3://b": "s3://b", "s3://b/p/q/": "s3://b/p/q", "": ""}.items():
        monkeypatch.setenv("BCD_STORE_URL", url)
        assert load_settings().store_url == known
