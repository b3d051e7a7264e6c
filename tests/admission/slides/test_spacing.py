from __future__ import annotations

import pytest

from bcd.admission.slides.errors import SlideError
from bcd.admission.slides.spacing import read_ome_spacing, read_spacing, settle_spacing


def test_the_slides_own_spacing_counts() -> None:
    assert settle_spacing((0.25, 0.26), None) == (0.25, 0.26)
    assert settle_spacing((0.25, 0.25), 0.26) == (0.25, 0.25)


def test_a_given_spacing_stands_in_where_the_slide_has_none_that_makes_sense() -> None:
    assert settle_spacing(None, 0.5) == (0.5, 0.5)
    assert settle_spacing((352.8, 352.8), 0.5) == (0.5, 0.5)  # 72 dpi, as programs write it
    assert settle_spacing((0.0, 0.25), 0.5) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("own", "given", "words"),
    [
        (None, None, "does not say"),
        ((352.8, 352.8), None, "352.8 µm/px"),
        ((0.0, 0.0), None, "no scanner"),
        ((-1.0, 1.0), None, "no scanner"),
        ((float("nan"), 1.0), None, "no scanner"),
        ((float("inf"), 1.0), None, "no scanner"),
        ((0.25, 0.25), 0.5, "0.25 µm/px, but 0.5 "),
        ((0.25, 0.5), 0.5, "0.25 x 0.5 µm/px, but 0.5 "),
        (None, 0.0, " 0 µm/px"),
        (None, 25.0, " 25 µm/px"),
        (None, float("nan"), "was given"),
        ((8.0, 8.0), None, "8 µm/px"),
        (None, 5.1, "5.1 µm/px"),
    ],
)
def test_a_doubtful_spacing_is_refused(own, given: float | None, words: str) -> None:
    with pytest.raises(SlideError) as caught:
        settle_spacing(own, given)
    assert caught.value.rule == "no-spacing"
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.5"}, (0.25, 0.5)),
        ({"openslide.mpp-x": "0.25"}, None),
        ({"openslide.mpp-x": "0.25", "openslide.mpp-y": "fine"}, None),
        ({}, None),
    ],
)
def test_spacing_is_read_off_two_properties(properties: dict[str, str], expected) -> None:
    assert read_spacing(properties) == expected


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        ('PhysicalSizeX="0.25" PhysicalSizeY="0.5"', (0.25, 0.5)),
        ('PhysicalSizeX="250" PhysicalSizeXUnit="nm" PhysicalSizeY="0.00025" PhysicalSizeYUnit="mm"', (0.25, 0.25)),
        (
            'PhysicalSizeXUnit="µm" PhysicalSizeX="0.25" PhysicalSizeYUnit="&#181;m" PhysicalSizeY="0.25"',
            (0.25, 0.25),
        ),
        ('PhysicalSizeX="0.25" PhysicalSizeXUnit="\N{GREEK SMALL LETTER MU}m" PhysicalSizeY="0.25"', (0.25, 0.25)),
        ('PhysicalSizeX="0.25" PhysicalSizeXUnit="Âµm" PhysicalSizeY="0.25"', (0.25, 0.25)),  # read as Latin-1
        ('PhysicalSizeX="1" PhysicalSizeXUnit="pixel" PhysicalSizeY="1" PhysicalSizeYUnit="pixel"', None),
        ('PhysicalSizeX="0.25"', None),
        ('PhysicalSizeX="fine" PhysicalSizeY="0.25"', None),
    ],
)
def test_ome_says_the_size_of_a_pixel_in_any_unit_of_length(pixels: str, expected) -> None:
    for element in (f'<Pixels ID="Pixels:0" {pixels}>', f"<OME:Pixels {pixels}/>"):
        said = read_ome_spacing(f'<OME><Image ID="Image:0" Name="a &gt; b">{element}')
        assert said == (None if expected is None else pytest.approx(expected))


def test_other_descriptions_say_no_size() -> None:
    assert read_ome_spacing("") is None
    assert read_ome_spacing("Aperio Image Library PhysicalSizeX=0.25") is None


def test_a_coarse_slide_is_believed_where_it_is_confirmed() -> None:
    assert settle_spacing((1.2, 1.2), None, 1.2) == (1.2, 1.2)
    assert settle_spacing((4.99, 4.99), 4.99, 1.2) == (4.99, 4.99)
    assert settle_spacing((2.0, 2.0), None, 2.0) == (2.0, 2.0)
    assert settle_spacing(None, 4.0, 1.2) == (4.0, 4.0)
    for own in ((4.99, 4.99), (0.25, 1.3)):
        with pytest.raises(SlideError, match=f"{max(own) / 10:g}.*--spacing.*slides\\.csv.*`bcd hospital allow"):
            settle_spacing(own, None, 1.2)
