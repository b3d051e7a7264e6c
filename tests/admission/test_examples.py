"""Pictures for the admission report: whatever a hospital sends, showing it neither fails nor shows too much."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bcd.admission.examples import MAX_EDGE, choose_refused_evenly, open_small

NOISE = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(NOISE).save(buffer, kind)
    return buffer.getvalue()


WHOLE = [encoded(kind) for kind in ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP")]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(WHOLE)))
    for place, value in draw(st.lists(st.tuples(st.integers(0, 199), st.integers(0, 255)), max_size=8)):
        data[place] = value
    return bytes(data[: draw(st.integers(0, len(data)))])


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quarantine") / "000001-any.png"


@given(data=st.one_of(st.binary(max_size=300), damaged()))
def test_any_bytes_are_a_small_picture_or_none(data: bytes, file: Path) -> None:
    file.write_bytes(data)
    image = open_small(file)
    if image is not None:
        assert image.mode == "RGB"
        assert max(image.size) <= MAX_EDGE


def test_sixteen_bit_grey_is_shown_by_its_upper_bits(file: Path) -> None:
    Image.fromarray(np.full((50, 50), 200 << 8, np.uint16)).save(file)
    image = open_small(file)
    assert image is not None
    assert image.getpixel((9, 9)) == (200, 200, 200)


def test_a_file_that_is_gone_is_no_picture(tmp_path: Path) -> None:
    assert open_small(tmp_path / "gone.png") is None


@given(length=st.integers(0, 300), number=st.integers(2, 30))
def test_chosen_values_keep_their_order_and_their_ends(length: int, number: int) -> None:
    chosen = choose_refused_evenly(range(length), number)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(length, number)
    if length:
        assert (chosen[0], chosen[-1]) == (0, length - 1)
