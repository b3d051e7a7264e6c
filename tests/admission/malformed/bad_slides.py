"""Slides that cannot be cut."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import tifffile
from cases import BadFile, noise, patch
from PIL import Image


def bad_slides() -> list[BadFile]:
    """Returns every case, each a slide of its own patient."""
    whole = _tiff(_tissue())
    picture = io.BytesIO()
    Image.fromarray(_tissue()).save(picture, "JPEG")
    cases = {
        "a text": (".svs", b"See attachment.", "unreadable"),
        "no bytes": (".svs", b"", "unreadable"),
        "noise": (".ndpi", noise(3000).tobytes(), "unreadable"),
        "a patch": (".svs", patch(), "unreadable"),
        "its first half": (".svs", whole[: len(whole) // 2], "unreadable"),
        "its first 8 bytes": (".tif", whole[:8], "unreadable"),
        "its first 100 bytes": (".tiff", whole[:100], "unreadable"),
        "its list beyond its end": (".tif", b"II*\0\xff\xff\xff\x7f", "unreadable"),
        "its list is itself": (".tif", b"II*\0\x08\0\0\0\0\0\x08\0\0\0", "unreadable"),
        "a big TIFF beyond its end": (".tif", b"II+\0\x08\0\0\0" + b"\xff" * 8, "unreadable"),
        "TIFF without spacing": (".tif", _tiff(_tissue(), None), "no-spacing"),
        "TIFF with a spacing of 0": (".tif", _tiff(_tissue(), 1e9), "no-spacing"),
        "TIFF with the spacing of a printer": (".tif", _tiff(_tissue(), 118.11), "no-spacing"),
        "a picture without spacing": ("_idx1.png", patch(), "no-spacing"),
        "a photograph without spacing": ("_idx1.jpg", picture.getvalue(), "no-spacing"),
        "a picture of text": ("_idx1.png", b"See attachment.", "unreadable"),
        "half a photograph": ("_idx1.jpg", picture.getvalue()[:5000], "unreadable"),
        "TIFF with a mistyped spacing": (".tif", _tiff(_tissue(), 1e4 / 4.99), "no-spacing"),
        "a picture that bcd drew": ("_idx1.tif", _tiff(_tissue(), software="bcd"), "own-picture"),
        "glass": (".tif", _tiff(np.full((600, 600, 3), 244, np.uint8)), "no-tissue"),
        "smaller than a patch": (".tif", _tiff(_tissue()[:64, :64]), "no-tissue"),
        "DICOM without a slide": (".dcm", bytes(128) + b"DICM" + bytes(99), "unreadable"),
        "a Mirax slide without its folder": (".mrxs", patch(), "unreadable"),
        "a Hamamatsu slide that names others": (
            ".vms",
            b"[Virtual Microscope Specimen]\nImageFile=../../x\n",
            "unreadable",
        ),
        "a PDF": (".scn", b"%PDF-1.7\n", "unreadable"),
        "a zip": (".bif", b"PK\3\4" + bytes(300), "unreadable"),
    }
    files = [
        BadFile(f"slide: {what}", f"S{n:02}{end}" if end != ".dcm" else f"S{n:02}/1.dcm", data, fate)
        for n, (what, (end, data, fate)) in enumerate(cases.items())
    ]
    table = b"file,patient,slide\nglass.tif,S99,1\nlost.tif,S99,2\n"
    return [
        *files,
        BadFile("slide: a name that is none", "slides/the slide of Mary.svs", whole, "name"),
        BadFile("slide: a table with a row of no file", "declared/slides.csv", table, "slides-file"),
        BadFile("slide: glass in a table", "declared/glass.tif", cases["glass"][1], "no-tissue"),
    ]


def _tissue() -> np.ndarray:
    return (noise(600, 600, 3) // 8 + np.array((180, 100, 150))).astype(np.uint8)


def _tiff(pixels: np.ndarray, per_centimetre: float | None = 1e4, **said: Any) -> bytes:
    file = io.BytesIO()
    if per_centimetre is not None:
        said |= {"resolution": (per_centimetre,) * 2, "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(file, pixels, tile=(64, 64), photometric="rgb", metadata=None, **said)
    return file.getvalue()
