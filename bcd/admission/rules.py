"""The rules that a file must keep to be admitted: a stable code each, and one small function.

`RULES` and `FIXES` are what documentation, messages and reports show. The rules about names and places are in this
module, those about bytes in `bcd.admission.png`, about pixels in `bcd.admission.pixels`, and those that compare
patches with each other in `bcd.admission.duplicates`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bcd.errors import BcdError
from bcd.patches import MICRONS_PER_PIXEL, PATCH_PIXELS, PatchName, is_on_grid
from bcd.store.label_files import IMPORT

WAIVED = frozenset({"folder", "off-slide", "blank"})
"""Rules that a person may overrule."""

CHOSEN = frozenset({"duplicate-cell", "two-patients", "two-labels"})
"""Rules that a person may settle by choosing which of several files is right."""

RELEASABLE = WAIVED | CHOSEN
"""Rules whose refusals can be released."""

_FIX_FILE = "fix the file and deliver it again"
NOT_RELEASABLE = {
    "unsafe-path": "nothing is read from such a path; pack the delivery again",
    "not-a-file": "it has no bytes of its own; deliver the file that it points to",
    "container": "nothing in it was opened; unpack it and deliver the folder",
    "no-delivery": "nothing in it was read; deliver patches or slides",
    "split": "nothing in it was opened; deliver the whole archive",
    "nested-archive": "deliver the inner archive by itself",
    "encrypted": "it cannot be read; deliver it without a password",
    "compression": "it was never unpacked; pack it again by Deflate",
    "bomb": "it was never unpacked; deliver the file by itself if it is what it says",
    "name": "without patient and place it is no patch; rename the file and deliver it again",
    "off-grid": "it overlaps the patches of the grid; cut the slide again on the grid",
    "unreadable": f"it has no pixels to admit; {_FIX_FILE}",
    "empty": f"it has no bytes; {_FIX_FILE}",
    "too-many": "nothing in it was opened; deliver it in parts",
    "too-large": f"it was not read whole; {_FIX_FILE}",
    "not-png": f"it has no 50x50 RGB pixels; {_FIX_FILE}",
    "truncated": f"it has no 50x50 RGB pixels; {_FIX_FILE}",
    "absurd-size": f"it has no 50x50 RGB pixels; {_FIX_FILE}",
    "colour": f"it has no 50x50 RGB pixels; {_FIX_FILE}",
    "size": f"it has no 50x50 RGB pixels; {_FIX_FILE}",
    "slides-file": "correct the table and deliver it again, with the slides",
    "own-picture": "deliver the slide that it was drawn from",
    "no-spacing": "deliver the slide again with --spacing",
    "no-tissue": "a slide is delivered again whole; crop it to its tissue first",
    "labels-file": "fix the table, then `bcd label import` it",
    "labels-alone": "`bcd label import` it once its patches are admitted",
    "withdrawn": "the patient's consent is withdrawn",
    "already-admitted": "the patch is in an earlier batch already",
    "failed": "nothing of the delivery was admitted; deliver it again",
    "suspected": "nothing of the delivery was admitted; deliver it again",
}
"""Why refusals by the other rules cannot be released, and what to do instead."""


RULES = {
    "unsafe-path": "The path is absolute, names a drive or climbs out of the delivery with `..`.",
    "not-a-file": "A link, pipe or device: only plain files are read.",
    "container": "The delivery is an archive of a kind that is not opened (7z, RAR, xz, …).",
    "no-delivery": "The delivery is no folder, archive or slide: a document, a web page, or something unknown.",
    "split": "A part of an archive that was split into several.",
    "nested-archive": "An archive inside the delivery; only the outermost one is opened.",
    "encrypted": "The file is encrypted with a password.",
    "compression": "The archive packs the file by a method that is not unpacked, such as Deflate64 or LZMA.",
    "bomb": "It unpacks to far more than its size in the archive, or to more than the archive declares.",
    "name": "The name is neither a patch's (PATIENT_idx5_x51_y101_class0.png) nor a slide's (PATIENT_idx5.svs).",
    "folder": "The folders above the file, or the table of labels, say another patient or label than its name does.",
    "off-grid": "x or y is not 1 more than a multiple of 50.",
    "off-slide": "x or y lies beyond 20,000 px (80 mm), farther than any glass slide reaches.",
    "unreadable": "The file cannot be read or decoded: damaged or forbidden.",
    "empty": "The file has no bytes.",
    "too-many": "The delivery has more than 5,000,000 files.",
    "too-large": "The file has more than 1 MiB; a patch has about 6 KiB.",
    "not-png": "The patch is not a PNG, by its name or whatever its name says; PNG alone keeps every pixel.",
    "truncated": "The PNG ends before its end mark.",
    "absurd-size": "The picture declares more than 10,000 px on a side; it is refused before it is decoded.",
    "colour": "The picture is not 8-bit RGB: grey, 16-bit or partly transparent.",
    "size": "The picture is not 50x50 px; pieces at the edge of a slide often are not, and are never padded.",
    "blank": "The patch is all but one shade of white or black: glass or shadow, no tissue.",
    "slides-file": "The table of slides cannot be read, lacks a column, or has rows of no slide in the delivery.",
    "own-picture": "bcd drew the picture of the slide itself.",
    "no-spacing": "The slide does not say how many µm its pixels span, or says what is doubtful and not confirmed.",
    "no-tissue": "No tissue was found on the slide.",
    "labels-file": "The table of labels cannot be read, lacks a column, contradicts itself, or names no patch.",
    "labels-alone": "A table of labels without a patch or slide that can be admitted.",
    "withdrawn": "The patient has withdrawn consent.",
    "already-admitted": "An earlier batch holds the same patch.",
    "duplicate-cell": "Another file, here or in an earlier batch, claims the same place on the same slide.",
    "two-patients": "The same pixels are delivered as two patients'; neither is admitted from this delivery.",
    "two-labels": "The same pixels are delivered with two labels; neither is admitted from this delivery.",
    "failed": "bcd failed while it admitted the delivery, of which nothing is admitted.",
    "suspected": "Three attempts to admit the delivery ended in a killed process, or without memory.",
}
"""Code of each rule and what breaks it, in the order in which they are looked at."""

FIXES = {
    "unsafe-path": "Pack the delivery again, from inside its folder, with paths relative to it.",
    "not-a-file": "Deliver the file that a link points to.",
    "container": "Unpack it and hand over the folder, or pack it as a zip or a tar.gz.",
    "no-delivery": "Hand over a folder, a zip or a tar of patches, or a slide. If it was downloaded,"
    " download it again and look at what came.",
    "split": "Hand over one whole archive, or the folder: unpack all parts together, as 7-Zip does.",
    "nested-archive": "Unpack the inner archive, or deliver it by itself.",
    "encrypted": "Pack it again without a password.",
    "compression": "Zip it again with 7-Zip, method Deflate, or hand over the folder itself.",
    "bomb": "Ask who made the archive; if the file is what it says, deliver it outside an archive.",
    "name": "Nothing, if it is neither patch nor slide. Otherwise name it PATIENT_idx5_x51_y101_class0.png (without"
    " _class0 where unlabelled), or PATIENT_idx5.svs, and deliver it again.",
    "folder": "Find out which is right. Move the file and deliver it again, or release it: then its name counts.",
    "off-grid": "Cut the slide again with corners at 1, 51, 101, …, and deliver it again.",
    "off-slide": "Check how x and y were counted. If the slide is really so large, release the files.",
    "unreadable": "Copy the files again from where they come from, and deliver them again.",
    "empty": "Copy the files again from where they come from, and deliver them again.",
    "too-many": "Hand it over in parts.",
    "too-large": "Save the picture without attachments, or deliver it as a slide.",
    "not-png": "Save the patch as PNG from the original picture, not from a JPEG, and deliver it again.",
    "truncated": "Copy the files again from where they come from, and deliver them again.",
    "absurd-size": "Deliver it as a slide if it is one. Otherwise find out who made it.",
    "colour": "Save the patch as 8-bit RGB, opaque, and deliver it again; a grey one has lost its stain.",
    "size": "Nothing, if these are pieces at the edge of a slide. Otherwise cut the slide into 50x50 px at 4 µm/px.",
    "blank": "Nothing, if it is glass. Release it if there is tissue on it.",
    "slides-file": "Correct the table and deliver it again, with the slides.",
    "own-picture": "Deliver the slide that it was drawn from.",
    "no-spacing": "Deliver the slide again with --spacing and its µm per pixel, or with that in slides.csv.",
    "no-tissue": "Nothing, if the slide is empty. Otherwise look at the slide: it may be pale, or out of focus.",
    "labels-file": f"Fix the table and import it: {IMPORT}.",
    "labels-alone": f"If its patches are admitted already, import it: {IMPORT}. Otherwise put it beside them, as"
    " labels.csv, and deliver them together.",
    "withdrawn": "Nothing: the patient's patches stay out.",
    "already-admitted": "Nothing: the patches are in an earlier batch.",
    "duplicate-cell": "Nothing, if it is a copy. Otherwise find out which picture is right and release that one.",
    "two-patients": "Find out whose tissue it is, and release that patient's file.",
    "two-labels": "Ask the pathologist, and release the files with the label that is right.",
    "failed": "Report it, with the traceback in the run's log; `bcd ingest DELIVERY --hospital NAME` tries again.",
    "suspected": "Try it with more memory: `bcd ingest DELIVERY --hospital NAME`. Or hand it over in parts.",
}
"""What a hospital can do about the refusals of each rule."""

FLAGS = {
    "blur": "Hardly any fine detail: out of focus, or enlarged from a smaller picture.",
    "sharp": "More fine detail than a patch as cut has: sharpened before, which bcd does itself.",
    "pen": "Blue or green that no stain makes: marker ink, or a dye of the tissue.",
    "stain": "Colours far from those of the patches that were admitted before.",
}
"""Code of each flag and what raises it; a flagged patch is admitted all the same."""

MAX_PLACE = 20_000
"""Farthest place on a slide, in pixels: 80 mm at 4 µm/px, where a glass slide has 75 mm."""


class Refusal(NamedTuple):
    """Why a file is not admitted: the code of the rule and a sentence."""

    rule: str
    message: str


class DeliveryError(BcdError):
    """A delivery cannot be admitted as a whole: it breaks a rule, and what to do is what `FIXES` says of that.

    Args:
        rule: Code of the rule.
        what: What is wrong, naming the delivery.
    """

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(what, FIXES[rule])
        self.args = (rule, what)
        self.rule = rule


def refuse_off_grid(x: int, y: int) -> Refusal | None:
    """Refuses a patch that is off the grid or off any slide."""
    if not (is_on_grid(x) and is_on_grid(y)):
        return Refusal("off-grid", f"x {x}, y {y} is not a corner of the {PATCH_PIXELS}-px grid.")
    if max(x, y) > MAX_PLACE:
        reach = max(x, y) * MICRONS_PER_PIXEL / 1000
        return Refusal("off-slide", f"x {x}, y {y} lies {reach:.0f} mm from the slide's corner.")
    return None


def folder_label(folders: Sequence[str], name: PatchName) -> int | None:
    """Returns the label that the folders above a file say; None where they say none.

    A last folder 0 or 1 is a label, unless it is the patient's own (of a patient called 0 or 1).
    """
    if not folders or folders[-1] not in {"0", "1"}:
        return None
    is_patient = folders[-1] == name.patient and (len(folders) < 2 or folders[-2] != name.patient)
    return None if is_patient else int(folders[-1])


def check_folders(folders: Sequence[str], name: PatchName, top: int) -> Refusal | None:
    """Refuses a file whose folders disagree with its name.

    Args:
        folders: The folders above the file, outermost first.
        name: What its name says.
        top: Number of folders that enclose the whole delivery and mean nothing.
    """
    label = folder_label(folders, name)
    if label is not None and name.label is not None and label != name.label:
        return Refusal("folder", f"The folder says label {label}, the name says {name.label}.")
    inner = folders[top:] if label is None else folders[top:-1]
    if inner and inner[-1] != name.patient:
        return Refusal("folder", f"The folder says {'/'.join(inner)}, the name says patient {name.patient}.")
    return None
