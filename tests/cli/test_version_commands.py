"""`bcd model card` and `bcd model export`, as a person types them."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from bcd.bundle.card.card import Card
from bcd.tracking.lookup import MODEL
from bcd.tracking.store import open_mlflow_client

PIXELS = np.random.default_rng(5).integers(0, 256, (4, 50, 50, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def champion(register, shared_settings):
    """A champion of eight turns, behind a version that is none."""
    card = Card(
        short="Short.", markdown="# Model card: bcd-idc\n\nTwo networks.\n", html="<h1>Model card: bcd-idc</h1>"
    )
    register(shared_settings, "red", card=card)
    found = register(shared_settings, "lit", "red", turns=8, card=card)
    open_mlflow_client(shared_settings).set_registered_model_alias(MODEL, "champion", found.version)
    return found


@pytest.fixture
def bcd(bcd_in_a_line, champion, shared_settings, tmp_path, monkeypatch):
    """Runs the command in a folder of its own, and takes its lines for one."""
    monkeypatch.setenv("BCD_HOME", str(shared_settings.home))
    monkeypatch.chdir(tmp_path)
    return bcd_in_a_line


def test_export_writes_the_champion_where_one_stands(bcd, champion, tmp_path):
    import keras

    code, told, complained = bcd("model", "export")

    assert code == 0, complained
    assert re.search(r"bcd-idc-2\.keras: bcd-idc/2 as keras\b.* 64 patches", told)
    scores = keras.saving.load_model(tmp_path / "bcd-idc-2.keras")(PIXELS)
    np.testing.assert_allclose(scores["probability"][:, 0], champion.score(PIXELS)["probability"], atol=1e-4)
    assert json.loads((tmp_path / "bcd-idc-2.keras.json").read_text())["bundle"] == "bcd-idc/2"


def test_export_takes_a_version_a_format_and_a_place(bcd, tmp_path):
    code, told, complained = bcd("model", "export", "1", "--format", "hdf5", "--to", "here.h5")

    assert code == 0, complained
    assert "here.h5: bcd-idc/1 as hdf5" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here.h5", "here.h5.json"]


def test_export_refuses_a_name_that_misleads(bcd, tmp_path):
    code, _, complained = bcd("model", "export", "--to", "here.onnx")

    assert code != 0
    assert "here.onnx" in complained
    assert not list(tmp_path.iterdir())


def test_card_prints_markdown_and_writes_a_page(bcd, tmp_path):
    code, told, complained = bcd("model", "card")

    assert code == 0, complained
    assert told == "# Model card: bcd-idc Two networks."

    code, told, _ = bcd("model", "card", "1", "--to", "card.html")
    assert code == 0
    assert re.search(r"card\.html: .*\b1\b", told)
    assert "<h1>Model card: bcd-idc</h1>" in (tmp_path / "card.html").read_text()


def test_card_refuses_another_kind_of_file(bcd, tmp_path):
    code, _, complained = bcd("model", "card", "--to", "card.pdf")

    assert code != 0
    assert "card.pdf" in complained
    assert not list(tmp_path.iterdir())
