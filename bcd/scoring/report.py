"""The patient's report: one HTML file that needs neither network nor scripts, and prints on A4.

Every figure in it is computed from the stored scores; the pictures are those beside it, embedded as JPEG.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bcd.pages import embed_picture, render_page

_JPEG_QUALITY = 84
_EMBEDDED_EDGE = 1600  # of one slide's picture; several slides share the report's size


@dataclass(frozen=True)
class SlidePictures:
    """The two pictures of one slide, on the same canvas and scale."""

    slide: str
    picture: Path
    heatmap: Path


def write_report(path: Path, *, pictures: Sequence[SlidePictures], facts: Mapping[str, Any]) -> None:
    """Writes the report.

    Args:
        path: The HTML file.
        pictures: Those of each slide, to be embedded.
        facts: What `report.html.j2` shows: hospital, patient, bundle, record, exposure, summary, and more.
    """
    edge = max(round(_EMBEDDED_EDGE / len(pictures) ** 0.5), 600)
    slides = [
        {"slide": one.slide, "picture": _data_uri(one.picture, edge), "heatmap": _data_uri(one.heatmap, edge)}
        for one in pictures
    ]
    html = render_page(
        "bcd.scoring", "report.html.j2", {"slides": slides, **facts}, {"percent": _percent, "count": _count}
    )
    path.write_text(html, encoding="utf-8")


def _data_uri(picture: Path, edge: int) -> str:
    import cv2

    image = cv2.imread(str(picture), cv2.IMREAD_COLOR)  # BGR, as imencode takes it
    assert image is not None, picture
    scale = edge / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return embed_picture(jpeg.tobytes(), "jpeg")


def _percent(share: float | None) -> str:
    if share is None:
        return "n/a"
    text = f"{100 * share:.1f}"
    # A share that is not quite all or nothing is not rounded to it.
    if text == "100.0" and share < 1:
        text = "> 99.9"
    elif text == "0.0" and share > 0:
        text = "< 0.1"
    return f"{text} %"


def _count(number: int) -> str:
    return f"{number:,}"
