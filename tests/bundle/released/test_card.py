"""The card of the released model says what it was trained on, what its figures are of, and where it fails."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bcd.bundle.released import digest_released, load_released, released_bundle
from bcd.bundle.released.card import OF_THE_RECIPE, write_released_card
from bcd.bundle.released.figures import read_released_figures
from bcd.errors import NotFoundError


def test_it_says_what_the_figures_are_of_and_all_that_is_known(released: Path) -> None:
    card = write_released_card()
    figures = read_released_figures()
    worst = figures.natural.worst[0]
    for said in (
        OF_THE_RECIPE,
        "2 recipes",
        "3 folds",
        "made-up set",
        "CC0",
        "d" * 64,
        "Twenty-four epochs.",
        "two cores",
        "blur costs 0.050 of AUROC",
        f"{worst.hospital}/{worst.patient}",
        "unlisted",
        "Research use only",
    ):
        assert said in card.markdown, said
    assert OF_THE_RECIPE in card.short
    assert len(card.short) < 5000


def test_its_page_reads_well_and_shows_its_pictures(
    released: Path, read_page: Callable[[str], Any], measure_page: Callable[[str], None]
) -> None:
    html = write_released_card().html
    assert "Patches of the worst patients" in read_page(html).pictures
    measure_page(html)


def test_a_copy_without_the_model_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bcd.bundle.released.released_folder", lambda: tmp_path)
    for ask in (load_released, released_bundle, digest_released, read_released_figures):
        with pytest.raises(NotFoundError, match=re.escape(str(tmp_path))):
            ask()


def test_it_is_known_by_all_its_files(released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    before = digest_released()
    shutil.copytree(released, tmp_path / "other")
    monkeypatch.setattr("bcd.bundle.released.released_folder", lambda: tmp_path / "other")
    assert digest_released() == before
    (tmp_path / "other/bundle/seen.npz").write_bytes(b"x")
    assert digest_released() != before
