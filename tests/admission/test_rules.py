from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcd.admission.png import check_bytes, decode_patch
from bcd.admission.rules import RULES, Refusal, check_folders, folder_label, refuse_off_grid
from bcd.patches import PatchName

NOISE = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
WHOLE = bytes(cv2.imencode(".png", NOISE)[1].tobytes())


def _place(text: str) -> tuple[list[str], PatchName]:
    *folders, file = text.split("/")
    name = PatchName.parse(file)
    assert name is not None
    return folders, name


def _rule(refusal: Refusal | None) -> str | None:
    assert refusal is None or (refusal.rule in RULES and refusal.message.endswith("."))
    return None if refusal is None else refusal.rule


def test_a_whole_patch_keeps_the_rules_and_decodes_to_its_pixels() -> None:
    assert check_bytes(WHOLE) is None
    pixels = decode_patch(WHOLE)
    assert isinstance(pixels, np.ndarray)
    assert np.array_equal(pixels, NOISE[:, :, ::-1])


def test_red_is_red() -> None:
    blue_green_red = np.zeros((50, 50, 3), np.uint8)
    blue_green_red[:, :, 2] = 200
    pixels = decode_patch(bytes(cv2.imencode(".png", blue_green_red)[1].tobytes()))
    assert isinstance(pixels, np.ndarray)
    assert pixels[0, 0].tolist() == [200, 0, 0]


@given(st.integers(0, len(WHOLE) - 1))
def test_a_png_that_was_cut_anywhere_is_refused(length: int) -> None:
    rule = _rule(check_bytes(WHOLE[:length]))
    assert rule == ("empty" if length == 0 else "not-png" if length < 8 else "truncated")


@given(st.binary(max_size=200))
def test_bytes_that_begin_like_a_png_are_refused_not_an_error(tail: bytes) -> None:
    assert _rule(check_bytes(WHOLE[:8] + tail)) in {"truncated", "unreadable", "colour", "size"}


def test_a_png_padded_with_zeros_after_its_middle_is_refused() -> None:
    padded = WHOLE[:3000] + bytes(len(WHOLE) - 3000)
    assert check_bytes(padded) is not None or isinstance(decode_patch(padded), Refusal)


def test_pixels_that_were_damaged_do_not_decode() -> None:
    damaged = bytearray(WHOLE)
    damaged[1000] ^= 0xFF
    assert check_bytes(bytes(damaged)) is None
    assert isinstance(decode_patch(bytes(damaged)), Refusal)


@pytest.mark.parametrize(
    ("pixels", "rule"),
    [
        (np.zeros((50, 50), np.uint8), "colour"),
        (np.zeros((50, 50, 4), np.uint8), "colour"),
        (np.zeros((50, 50, 3), np.uint16), "colour"),
        (np.zeros((50, 42, 3), np.uint8), "size"),
        (np.zeros((1, 50, 3), np.uint8), "size"),
        (np.zeros((100, 100, 3), np.uint8), "size"),
    ],
)
def test_other_pictures_are_refused(pixels: np.ndarray, rule: str) -> None:
    data = bytes(cv2.imencode(".png", pixels)[1].tobytes())
    refusal = check_bytes(data) or decode_patch(data)
    assert isinstance(refusal, Refusal)
    assert _rule(refusal) == rule


def test_a_huge_picture_is_refused_by_what_it_declares() -> None:
    declared = WHOLE[:16] + (2**31 - 1).to_bytes(4) * 2 + WHOLE[24:]
    assert _rule(check_bytes(declared)) == "absurd-size"


def test_a_jpeg_named_png_is_refused() -> None:
    assert _rule(check_bytes(bytes(cv2.imencode(".jpg", NOISE)[1].tobytes()))) == "not-png"


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("8867_idx5_x51_y1001.png", None),
        ("8867_idx5_x50_y1001.png", "off-grid"),
        ("8867_idx5_x51_y1000.png", "off-grid"),
        ("8867_idx5_x19951_y1.png", None),
        ("8867_idx5_x9999951_y1.png", "off-slide"),
    ],
)
def test_a_patch_lies_on_the_grid_of_a_slide(name: str, rule: str | None) -> None:
    patch = _place(name)[1]
    assert _rule(refuse_off_grid(patch.x, patch.y)) == rule


@pytest.mark.parametrize(
    ("path", "top", "rule"),
    [
        ("8867/1/8867_idx5_x51_y1_class1.png", 0, None),
        ("8867/8867_idx5_x51_y1_class1.png", 0, None),
        ("1/8867_idx5_x51_y1_class1.png", 0, None),
        ("8867_idx5_x51_y1_class1.png", 0, None),
        ("delivery/8867/1/8867_idx5_x51_y1_class1.png", 1, None),
        ("delivery/8867/1/8867_idx5_x51_y1_class1.png", 0, None),
        ("delivery/8867_idx5_x51_y1.png", 1, None),
        ("8867/1/8867_idx5_x51_y1.png", 0, None),
        ("8867/0/8867_idx5_x51_y1_class1.png", 0, "folder"),
        ("8867/0/8867_idx5_x51_y1_class1.png", 2, "folder"),
        ("8866/1/8867_idx5_x51_y1_class1.png", 0, "folder"),
        ("8866/8867_idx5_x51_y1.png", 0, "folder"),
        ("8867/2/8867_idx5_x51_y1_class1.png", 0, "folder"),
        ("../8867_idx5_x51_y1_class1.png", 0, "folder"),
        ("1/1_idx5_x51_y1_class0.png", 0, None),
        ("1/0/1_idx5_x51_y1_class0.png", 0, None),
        ("1/1/1_idx5_x51_y1_class0.png", 0, "folder"),
    ],
)
def test_folders_agree_with_the_name(path: str, top: int, rule: str | None) -> None:
    assert _rule(check_folders(*_place(path), top)) == rule


def test_an_unlabelled_name_takes_its_label_from_its_folder() -> None:
    assert folder_label(*_place("8867/1/8867_idx5_x51_y1.png")) == 1
    assert folder_label(*_place("8867/8867_idx5_x51_y1.png")) is None
    assert folder_label(*_place("1/1_idx5_x51_y1.png")) is None
    assert folder_label(*_place("1/1/1_idx5_x51_y1.png")) == 1
