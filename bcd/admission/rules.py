"""The rules that a file must keep to be admitted: a stable code each, and one small function.

`RULES` is what documentation and reports show. A rule about one file is in this module; the rules that compare files
with each other are in `bcd.admission.duplicates`.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import NamedTuple

from bcd.patches import MICRONS_PER_PIXEL, PATCH_PIXELS, PatchName

RULES = {
    "not-a-file": "A link, pipe or device: only plain files are read.",
    "name": "The name is not PATIENT_idxSLIDE_xX_yY_classLABEL.png, nor the same without _classLABEL.",
    "folder": "The folders above the file name another patient or another label than the file's name does.",
    "off-grid": "x or y is not 1 more than a multiple of 50.",
    "off-slide": "x or y lies beyond 20,000 px (80 mm), farther than any glass slide reaches.",
    "unreadable": "The file cannot be read or decoded: damaged, encrypted or forbidden.",
    "empty": "The file has no bytes.",
    "too-large": "The file has more than 1 MiB; a patch has about 6 KiB.",
    "not-png": "The file is not a PNG, whatever its name says.",
    "truncated": "The PNG ends before its end mark.",
    "colour": "The PNG is not plain 8-bit RGB (grey, palette, alpha or 16-bit).",
    "size": "The picture is not 50x50 px; pieces at the edge of a slide often are not.",
    "already-admitted": "An earlier batch holds the same patch.",
    "duplicate-cell": "Another file, here or in an earlier batch, claims the same place on the same slide.",
    "two-patients": "The same pixels are delivered as two patients'; neither is admitted from this delivery.",
    "two-labels": "The same pixels are delivered with two labels; neither is admitted from this delivery.",
}
"""Code of each rule and what breaks it."""

MAX_BYTES = 1 << 20
"""A file of more bytes is no patch."""

MAX_PIXELS = 20_000
"""Farthest place on a slide: 80 mm at 4 µm/px, where a glass slide has 75 mm."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB = 2


class Refusal(NamedTuple):
    """Why a file is not admitted: the code of the rule and a sentence."""

    rule: str
    message: str


def check_place(name: PatchName) -> Refusal | None:
    """Refuses a patch that is off the grid or off any slide."""
    if not name.is_on_grid:
        return Refusal("off-grid", f"x {name.x}, y {name.y} is not a corner of the {PATCH_PIXELS}-px grid.")
    if max(name.x, name.y) > MAX_PIXELS:
        reach = max(name.x, name.y) * MICRONS_PER_PIXEL / 1000
        return Refusal("off-slide", f"x {name.x}, y {name.y} lies {reach:.0f} mm from the slide's corner.")
    return None


def folder_label(path: PurePosixPath, name: PatchName) -> int | None:
    """Returns the label that the folders above a file say; None where they say none.

    A last folder 0 or 1 is a label, unless it is the patient's own (of a patient called 0 or 1).
    """
    folders = path.parts[:-1]
    if not folders or folders[-1] not in {"0", "1"}:
        return None
    is_patient = folders[-1] == name.patient and (len(folders) < 2 or folders[-2] != name.patient)
    return None if is_patient else int(folders[-1])


def check_folders(path: PurePosixPath, name: PatchName, top: int) -> Refusal | None:
    """Refuses a file whose folders disagree with its name.

    Args:
        path: The file's path in the delivery.
        name: What its name says.
        top: Number of folders that enclose the whole delivery and mean nothing.
    """
    label = folder_label(path, name)
    if label is not None and name.label is not None and label != name.label:
        return Refusal("folder", f"The folder says label {label}, the name says {name.label}.")
    inner = path.parts[top:-1] if label is None else path.parts[top:-2]
    if inner and inner[-1] != name.patient:
        return Refusal("folder", f"The folder says {'/'.join(inner)}, the name says patient {name.patient}.")
    return None


def check_bytes(data: bytes) -> Refusal | None:
    """Refuses what is not a whole, plain 8-bit RGB PNG of 50x50 px, by its structure, before it is decoded."""
    if not data:
        return Refusal("empty", "The file has no bytes.")
    if not data.startswith(_SIGNATURE):
        return Refusal("not-png", f"The file begins with {data[:4].hex(' ')}, not as a PNG does.")
    chunks = _read_chunks(data)
    if isinstance(chunks, Refusal):
        return chunks
    if data[12:16] != b"IHDR" or len(data) < 33:
        return Refusal("unreadable", "The PNG does not begin with its header.")
    return _check_header(data[16:29], has_alpha=b"tRNS" in chunks)


def _read_chunks(data: bytes) -> list[bytes] | Refusal:
    kinds: list[bytes] = []
    place = len(_SIGNATURE)
    while place + 12 <= len(data):
        kind = data[place + 4 : place + 8]
        if not kind.isalpha():
            return Refusal("unreadable", f"The PNG is damaged at byte {place}.")
        place += 12 + int.from_bytes(data[place : place + 4])
        kinds.append(kind)
        if kind == b"IEND" and place <= len(data):
            return kinds
    return Refusal("truncated", f"The PNG ends at byte {len(data)}, before its end mark.")


def _check_header(header: bytes, *, has_alpha: bool) -> Refusal | None:
    width, height = int.from_bytes(header[:4]), int.from_bytes(header[4:8])
    depth, colour = header[8], header[9]
    if depth != 8 or colour != _RGB or has_alpha:
        kinds = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
        kind = "RGB with alpha" if has_alpha and colour == _RGB else kinds.get(colour, "unknown")
        return Refusal("colour", f"The picture is {depth}-bit {kind}, not 8-bit RGB.")
    if (width, height) != (PATCH_PIXELS, PATCH_PIXELS):
        return Refusal("size", f"The picture is {width}x{height} px, not {PATCH_PIXELS}x{PATCH_PIXELS}.")
    return None
