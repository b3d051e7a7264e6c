"""Whole patches under names that are none, in folders that contradict them, and the same patch more than once."""

from __future__ import annotations

from cases import ADMITTED, IGNORED, BadFile, name_of, noise, patch

NAMES = {
    "no name at all": ".png",
    "another suffix": "N_idx1_x51_y51_class0.txt",
    "no suffix": "N_idx1_x51_y51_class0",
    "two suffixes": "N_idx1_x51_y51_class0.png.png",
    "a copy's number": "N_idx1_x51_y51_class0 (1).png",
    "a backup": "N_idx1_x51_y51_class0.png.bak",
    "a backup of an editor": "N_idx1_x51_y51_class0.png~",
    "a transfer under way": "N_idx1_x51_y51_class0.png.part",
    "a dot at the end": "N_idx1_x51_y51_class0.png.",
    "a space at the end": "N_idx1_x51_y51_class0.png ",
    "a space at the beginning": " N_idx1_x51_y51_class0.png",
    "a space within": "N _idx1_x51_y51_class0.png",
    "hidden": ".N_idx1_x51_y51_class0.png",
    "label 2": "N_idx1_x51_y51_class2.png",
    "label 01": "N_idx1_x51_y51_class01.png",
    "label -1": "N_idx1_x51_y51_class-1.png",
    "label in words": "N_idx1_x51_y51_classIDC.png",
    "label missing": "N_idx1_x51_y51_class.png",
    "label True": "N_idx1_x51_y51_classTrue.png",
    "no patient": "_idx1_x51_y51_class0.png",
    "patient with an underscore": "N_1_idx1_x51_y51_class0.png",
    "patient with an umlaut": "Nö_idx1_x51_y51_class0.png",
    "patient of 65 letters": f"{'N' * 65}_idx1_x51_y51_class0.png",
    "patient with a dot": "N.1_idx1_x51_y51_class0.png",
    "no slide": "N_x51_y51_class0.png",
    "slide without a number": "N_idx_x51_y51_class0.png",
    "slide of 7 digits": "N_idx1234567_x51_y51_class0.png",
    "slide in letters": "N_idxA_x51_y51_class0.png",
    "no x": "N_idx1_y51_class0.png",
    "no y": "N_idx1_x51_class0.png",
    "x and y swapped": "N_idx1_y51_x51_class0.png",
    "x without a number": "N_idx1_x_y51_class0.png",
    "x negative": "N_idx1_x-49_y51_class0.png",
    "x with a sign": "N_idx1_x+51_y51_class0.png",
    "x with a fraction": "N_idx1_x51.0_y51_class0.png",
    "x as a power of ten": "N_idx1_x5e1_y51_class0.png",
    "x hexadecimal": "N_idx1_x0x33_y51_class0.png",
    "x of 8 digits": "N_idx1_x10000051_y51_class0.png",
    "x of 200 digits": f"N_idx1_x{'5' * 199}1_y51_class0.png",
    "x not a number": "N_idx1_xnan_y51_class0.png",
    "Arabic digits": "N_idx1_x\u0665\u0661_y51_class0.png",
    "full-width digits": "N_idx1_x\uff15\uff11_y51_class0.png",
    "a superscript": "N_idx1_x5\u00b9_y51_class0.png",
    "a full-width underscore": "N\uff3fidx1_x51_y51_class0.png",
    "a Cyrillic letter": "N_idx1_\u044551_y51_class0.png",
    "a Turkish letter": "N_\u0131dx1_x51_y51_class0.png",
    "a combining accent": "N\u0301_idx1_x51_y51_class0.png",
    "a hyphen that is none": "N\u20101_idx1_x51_y51_class0.png",
    "a pattern": "*_idx1_x51_y51_class0.png",
    "a command": "$(touch x)_idx1_x51_y51_class0.png",
    "SQL": "N'; DROP TABLE patches;--.png",
    "a formula": "=1+1_idx1_x51_y51_class0.png",
    "HTML": "<b>N<b>_idx1_x51_y51_class0.png",
    "a camera's": "IMG_0001.png",
    "a note": "README.txt",
    "a web address": "http:%2F%2Fhospital_idx1_x51_y51_class0.png",
    "200 letters": f"{'a' * 200}.png",
}
"""File names that are no patch's."""

ODD = {
    "a line end at the end": ("N_idx1_x51_y51_class0.png\n", r"N_idx1_x51_y51_class0.png\n"),
    "a line end within": ("N_idx1_x51\n_y51_class0.png", r"N_idx1_x51\n_y51_class0.png"),
    "a tab": ("N_idx1\t_x51_y51_class0.png", r"N_idx1\t_x51_y51_class0.png"),
    "an escape sequence": ("\x1b[2JN_idx1_x51_y51_class0.png", r"\x1b[2JN_idx1_x51_y51_class0.png"),
    "text from right to left": ("N_idx1_x51_y51_class0\u202egnp.png", r"N_idx1_x51_y51_class0\u202egnp.png"),
    "a space without width": ("N_idx1_x51\u200b_y51_class0.png", r"N_idx1_x51\u200b_y51_class0.png"),
    "a mark of byte order": ("\ufeffN_idx1_x51_y51_class0.png", r"\ufeffN_idx1_x51_y51_class0.png"),
    "a space that does not break": ("N_idx1_x51_y51_class0\u00a0.png", r"N_idx1_x51_y51_class0\xa0.png"),
}
"""File names that cannot be printed, and how they are listed."""

FOLDERS = {
    "label of the folder": ("{p}/1/{p}_idx1_x101_y51_class0.png", "folder"),
    "patient of the folder": ("OTHER/0/{p}_idx1_x101_y51_class0.png", "folder"),
    "patient of the folder, case": ("{l}/0/{p}_idx1_x101_y51_class0.png", "folder"),
    "the patient's folder is not the last": ("{p}/more/0/{p}_idx1_x101_y51_class0.png", "folder"),
    "folders as if label 2": ("{p}/2/{p}_idx1_x101_y51_class0.png", "folder"),
    "no label in the name, another patient's folder": ("OTHER/{p}_idx1_x101_y51.png", "folder"),
    "x 0": ("{p}/0/{p}_idx1_x0_y51_class0.png", "off-grid"),
    "x 50": ("{p}/0/{p}_idx1_x50_y51_class0.png", "off-grid"),
    "y 52": ("{p}/0/{p}_idx1_x51_y52_class0.png", "off-grid"),
    "x 20,051": ("{p}/0/{p}_idx1_x20051_y51_class0.png", "off-slide"),
    "y 9,999,951": ("{p}/0/{p}_idx1_x51_y9999951_class0.png", "off-slide"),
    "zeros before the digits": ("{p}/0/{p}_idx1_x00101_y0051_class0.png", ADMITTED),
    "label by the folder alone": ("{p}/1/{p}_idx1_x101_y51.png", ADMITTED),
    "no label": ("{p}/{p}_idx1_x101_y51.png", ADMITTED),
    "no folder": ("{p}_idx1_x101_y51_class1.png", ADMITTED),
    "an archive by its name": ("{p}/0/{p}_more.zip", "nested-archive"),
    "an archive by its name, of a tape": ("{p}/0/{p}_more.TAR.GZ", "nested-archive"),
    "a name that is a path": ("{p}/0/{p}_idx1_x101_y51_class0.png/x", "name"),
}
"""Paths of a patient p (l in small letters), and what becomes of them."""

LITTER = (
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
    "__MACOSX/N/0/._N_idx1_x51_y51_class0.png",
    "._N_idx1_x51_y51_class0.png",
    "~$labels.xlsx",
    ".~lock.labels.csv#",
    "@eaDir/N_idx1_x51_y51_class0.png",
    "$RECYCLE.BIN/N_idx1_x51_y51_class0.png",
    ".Trash-1000/N_idx1_x51_y51_class0.png",
)
"""What operating systems leave behind."""


def bad_names() -> list[BadFile]:
    """Returns every case, most in a folder of its own."""
    cases = [
        BadFile(f"name: {what}", f"N{n:02}/{name}", patch(), "name") for n, (what, name) in enumerate(NAMES.items())
    ]
    cases += [
        BadFile(f"place: {what}", *_place(path, f"F{n:02}", fate))
        for n, (what, (path, fate)) in enumerate(FOLDERS.items())
    ]
    cases += [BadFile(f"litter: {name}", name, patch(), IGNORED) for name in LITTER]
    return cases + _repeated()


def odd_names() -> list[tuple[BadFile, str]]:
    """Returns cases whose name cannot be printed, each with the name that it is listed under."""
    return [(BadFile(what, f"odd/{name}", patch(), "name"), f"odd/{shown}") for what, (name, shown) in ODD.items()]


def _place(path: str, patient: str, fate: str) -> tuple[str, bytes, str]:
    return path.format(p=patient, l=patient.lower()), patch(), fate


def _repeated() -> list[BadFile]:
    """Returns patches that repeat or contradict each other."""
    copied, relabelled, shared, moved, turned = (patch() for _ in range(5))
    return [
        BadFile("first of two copies", name_of("R00"), copied, ADMITTED),
        BadFile("second of two copies", "R00/R00_idx1_x1_y51_class0.png", copied, "duplicate-cell"),
        BadFile("one of two that claim a place", name_of("R01"), patch(), "duplicate-cell"),
        BadFile("the other of two that claim a place", "R01/R01_idx1_x1_y51_class0.png", patch(), "duplicate-cell"),
        BadFile("one of two labels of a place", name_of("R02"), relabelled, "two-labels"),
        BadFile("the other label of the place", name_of("R02", label=1), relabelled, "two-labels"),
        BadFile("one of two patients' pixels", name_of("R03"), shared, "two-patients"),
        BadFile("the other patient's pixels", name_of("R04"), shared, "two-patients"),
        BadFile("pixels with a label", name_of("R05"), moved, "two-labels"),
        BadFile("the same pixels elsewhere with another", name_of("R05", 3, 1), moved, "two-labels"),
        BadFile("pixels of a slide", name_of("R06"), turned, ADMITTED),
        BadFile("the same pixels elsewhere on it", name_of("R06", 3), turned, ADMITTED),
        BadFile(
            "a place written in two ways", "R07/0/R07_idx1_x051_y51_class0.png", patch(noise()), "duplicate-cell"
        ),
        BadFile(
            "the place written in the other way", "R07/0/R07_idx1_x51_y051_class0.png", patch(), "duplicate-cell"
        ),
    ]
