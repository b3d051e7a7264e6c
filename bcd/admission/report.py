"""The admission report: one HTML page a delivery that says what became of its files, and shows what was refused.

It is computed from the catalog, the quarantine and the batch, so it can be made again at any time and comes out the
same. It needs neither network nor scripts, and its size is bounded whatever the delivery's.

Example:
    >>> write_report(settings, catalog, delivery.id).name  # doctest: +SKIP
    '3f1c0a9be2d4.html'
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcd.admission.examples import Example, Gallery, choose_evenly, patch_name
from bcd.admission.judgement import RELEASABLE
from bcd.admission.rules import FLAGS, RULES
from bcd.files import whole_file
from bcd.pages import open_templates
from bcd.store.delivery_queries import (
    Delivery,
    RefusedFile,
    count_by_patient,
    list_conflicts,
    list_refused,
    match_delivery,
    refusal_numbers,
    withdrawn_patients,
)

if TYPE_CHECKING:
    from bcd.settings import Settings
    from bcd.store.catalog import Catalog

Place = tuple[int, int]
"""A refused file's place in the delivery's list, counted from 1, and its number in the catalog."""

Places = dict[str, list[Place]]
"""The places of a delivery's refused files, by rule."""

EXAMPLES = 24
"""Pictures of one rule or flag."""

MAX_ROWS = 1000
"""Rows of one table; the rest is in the quarantine's CSV or the catalog."""

MENDS = {
    "unsafe-path": "Pack the delivery again, from inside its folder, with paths relative to it.",
    "not-a-file": "Deliver the file that a link points to.",
    "nested-archive": "Unpack the inner archive, or deliver it by itself.",
    "bomb": "Ask who made the archive; if the file is what it says, deliver it outside an archive.",
    "name": "Nothing, if it is no patch. Otherwise rename it and deliver it again.",
    "folder": "Find out which is right. Move the file and deliver it again, or release it: then its name counts.",
    "off-grid": "Cut the slide again with corners at 1, 51, 101, …, and deliver it again.",
    "off-slide": "Check how x and y were counted. If the slide is really so large, release the files.",
    "unreadable": "Copy the files again from where they come from, unencrypted, and deliver them again.",
    "empty": "Copy the files again from where they come from, and deliver them again.",
    "too-large": "Save the picture without attachments, or deliver it as a slide.",
    "not-png": "Save the patch as PNG from the original picture, not from a JPEG, and deliver it again.",
    "truncated": "Copy the files again from where they come from, and deliver them again.",
    "absurd-size": "Deliver it as a slide if it is one. Otherwise find out who made it.",
    "colour": "Save the patch as 8-bit RGB, opaque, and deliver it again; a grey one has lost its stain.",
    "size": "Nothing, if these are pieces at the edge of a slide. Otherwise cut the slide into 50x50 px at 4 µm/px.",
    "blank": "Nothing, if it is glass. Release it if there is tissue on it.",
    "no-spacing": "Deliver the slide again with --spacing and its µm per pixel.",
    "no-tissue": "Nothing, if the slide is empty. Otherwise look at the slide: it may be pale, or out of focus.",
    "labels-file": "Mend the table and import it: bcd labels import FILE.",
    "withdrawn": "Nothing: the patient's patches stay out.",
    "already-admitted": "Nothing: the patches are in an earlier batch.",
    "duplicate-cell": "Nothing, if it is a copy. Otherwise find out which picture is right and release that one.",
    "two-patients": "Find out whose tissue it is, and release that patient's file.",
    "two-labels": "Ask the pathologist, and release the files with the label that is right.",
}
"""What a hospital can do about the refusals of each rule."""


def report_path(settings: Settings, delivery: str) -> Path:
    """Returns where the report of a delivery lies, by the delivery's id."""
    return settings.reports / f"{delivery[:12]}.html"


def write_report(settings: Settings, catalog: Catalog, delivery: str) -> Path:
    """Writes the admission report of a delivery.

    Args:
        settings: Where batch, quarantine and reports lie.
        catalog: The open catalog.
        delivery: The delivery's id.

    Returns:
        The HTML file, `reports/` and the first 12 digits of the id.

    Raises:
        BcdError: There is no such delivery, or its batch is missing.
    """
    found = match_delivery(catalog, delivery)
    environment = open_templates("bcd.admission")
    environment.filters.update(count="{:,}".format, share=_share, short=_short)
    facts = _gather_facts(settings, catalog, found)
    html = environment.get_template("report.html.j2").render(facts)
    path = report_path(settings, found.id)
    with whole_file(path) as partial:
        partial.write_text(html, encoding="utf-8")
    return path


def _gather_facts(settings: Settings, catalog: Catalog, found: Delivery) -> dict[str, Any]:
    gallery = Gallery(settings, catalog, found, withdrawn_patients(catalog, found.hospital))
    places = refusal_numbers(catalog, found.id)
    return {
        "delivery": found,
        "parts": _bar(found),
        "patients": count_by_patient(catalog, found.batch) if found.batch else [],
        "rules": _rule_sections(gallery, places),
        "flags": _flag_sections(gallery),
        "conflicts": list_conflicts(catalog, found.id, MAX_ROWS),
        "files": list(enumerate(list_refused(catalog, found.id, limit=MAX_ROWS), start=1)),
        "csv": f"store/quarantine/{found.id}/refusals.csv",
        "max_rows": MAX_ROWS,
    }


def _bar(found: Delivery) -> list[dict[str, Any]]:
    counts = {"admitted": found.admitted_files, "refused": found.refused_files, "ignored": found.ignored}
    return [{"name": name, "files": files} for name, files in counts.items()]


def _rule_sections(gallery: Gallery, places: Places) -> list[dict[str, Any]]:
    """One section a rule, most frequent first."""
    return [
        {
            "rule": rule,
            "files": len(of_rule),
            "meaning": RULES[rule],
            "mend": MENDS[rule],
            "releasable": rule in RELEASABLE,
            "examples": _rule_examples(gallery, rule, of_rule),
        }
        for rule, of_rule in sorted(places.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def _rule_examples(gallery: Gallery, rule: str, of_rule: Sequence[Place]) -> list[Example]:
    """Pictures of files that broke a rule; what a file contradicts stands beside it."""
    catalog, delivery = gallery.catalog, gallery.delivery.id
    beside = _SIDE_BY_SIDE.get(rule)
    if beside is None:
        numbers = [number for _, number in choose_evenly(of_rule, EXAMPLES)]
        files = list_refused(catalog, delivery, numbers=numbers)
    else:
        files = sorted(list_refused(catalog, delivery, rule=rule, limit=MAX_ROWS), key=beside)[:EXAMPLES]
    place_of = {number: place for place, number in of_rule}
    examples: list[Example] = []
    for file in files:
        examples.append(gallery.show_refused(file, place_of[file.number]))
        name = patch_name(file)
        held = gallery.show_held(name) if rule == "duplicate-cell" and name is not None else None
        if held is not None and held not in examples:
            examples.append(held)
    return examples[:EXAMPLES]


def _cell_of(file: RefusedFile) -> tuple[str, str, int, int, str]:
    name = patch_name(file)
    return (name.patient, name.slide, name.y, name.x, file.name) if name else ("", "", 0, 0, file.name)


_SIDE_BY_SIDE: dict[str, Callable[[RefusedFile], tuple[Any, ...]]] = {
    "duplicate-cell": _cell_of,
    "two-labels": lambda file: (file.sha256, file.name),
    "two-patients": lambda file: (file.sha256, file.name),
}
"""What brings the sides of a contradiction next to each other; copies of a picture usually have the same bytes."""


def _flag_sections(gallery: Gallery) -> list[dict[str, Any]]:
    return [
        {
            "flag": flag,
            "meaning": FLAGS[flag],
            "patches": patches,
            "examples": gallery.show_flagged(flag, EXAMPLES),
        }
        for flag, patches in sorted(gallery.delivery.flags.items())
        if patches
    ]


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "n/a"


def _short(text: str, length: int = 160) -> str:
    """Shortens a text in its middle: a path tells most at its ends."""
    if len(text) <= length:
        return text
    return f"{text[: length // 3]} … {text[-(2 * length // 3) :]}"
