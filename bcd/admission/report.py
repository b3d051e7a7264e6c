"""The admission report: one HTML page a delivery that says what became of its files, and shows what was refused.

It is computed from the catalog, the quarantine and the batch, so it can be made again at any time and comes out the
same. It needs neither network nor scripts, and its size is bounded whatever the delivery's.

Examples:
    >>> write_admission_report(store, delivery.id).name  # doctest: +SKIP
    '3f1c0a9be2d4.html'
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcd.admission.examples import ExamplePicture, Gallery, choose_refused_evenly, parse_refused_name
from bcd.admission.findings import commonest_rule
from bcd.admission.rules import FIXES, FLAGS, RELEASABLE, RULES
from bcd.formats import format_share
from bcd.pages import render_page
from bcd.store.conflicts import list_conflicts
from bcd.store.deliveries import Delivery, RefusedFile
from bcd.store.delivery_queries import (
    count_batch_by_patient,
    list_stored_refusals,
    match_stored_delivery,
    number_stored_refusals,
)
from bcd.store.drift import find_drift
from bcd.store.objects import in_use, write_stored
from bcd.store.withdrawals import list_withdrawals

if TYPE_CHECKING:
    from bcd.settings import Settings
    from bcd.store.store import Store

Place = tuple[int, int]
"""A refused file's place in the delivery's list, counted from 1, and its number in the catalog."""

Places = dict[str, list[Place]]
"""The places of a delivery's refused files, by rule."""

EXAMPLES = 24
"""Pictures of one rule or flag."""

MAX_ROWS = 1000
"""Rows of one table; the rest is in the quarantine's CSV or the catalog."""


def admission_report_path(settings: Settings, delivery: str) -> Path:
    """Returns where the report of a delivery lies, by the delivery's id."""
    return settings.reports / f"{delivery[:12]}.html"


def write_admission_report(store: Store, delivery: str) -> Path:
    """Writes the admission report of a delivery.

    Args:
        store: The open store.
        delivery: The delivery's id.

    Returns:
        The HTML file, `reports/` and the first 12 digits of the id.

    Raises:
        BcdError: There is no such delivery, or its batch is missing.
    """
    found = match_stored_delivery(store, delivery)
    with in_use(store.settings, store.settings.quarantine / found.id):
        facts = _gather_facts(store, found)
    filters: dict[str, Callable[..., str]] = {"count": "{:,}".format, "share": format_share, "short": _shorten_path}
    html = render_page("bcd.admission", "report.html.j2", facts, filters)
    path = admission_report_path(store.settings, found.id)
    write_stored(store.settings, path, html)
    return path


def _gather_facts(store: Store, found: Delivery) -> dict[str, Any]:
    gallery = Gallery(store, found, {one.patient for one in list_withdrawals(store, found.hospital)})
    places = number_stored_refusals(store, found.id)
    return {
        "delivery": found,
        "fix": FIXES[commonest_rule(found.refused)] if found.reason else "",
        "parts": _bar_of_refusals(found),
        "drift": find_drift(store, found.id),
        "patients": count_batch_by_patient(store, found.batch) if found.batch else [],
        "rules": _rule_sections(gallery, places),
        "flags": _flag_sections(gallery),
        "conflicts": list_conflicts(store, found.id, MAX_ROWS),
        "labels": list_stored_refusals(store, found.id, rule="labels-file"),
        "files": list(enumerate(list_stored_refusals(store, found.id, limit=MAX_ROWS), start=1)),
        "csv": f"store/quarantine/{found.id}/refusals.csv",
        "max_rows": MAX_ROWS,
    }


def _bar_of_refusals(found: Delivery) -> list[dict[str, Any]]:
    counts = {"admitted": found.admitted_files, "refused": found.refused_files, "ignored": found.ignored}
    return [{"name": name, "files": files} for name, files in counts.items()]


def _rule_sections(gallery: Gallery, places: Places) -> list[dict[str, Any]]:
    """One section a rule, most frequent first."""
    return [
        {
            "rule": rule,
            "files": len(of_rule),
            "meaning": RULES[rule],
            "fix": FIXES[rule],
            "releasable": rule in RELEASABLE,
            "examples": _rule_examples(gallery, rule, of_rule),
        }
        for rule, of_rule in sorted(places.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def _rule_examples(gallery: Gallery, rule: str, of_rule: Sequence[Place]) -> list[ExamplePicture]:
    """Pictures of files that broke a rule; what a file contradicts stands beside it."""
    store, delivery = gallery.store, gallery.delivery.id
    beside = _SIDE_BY_SIDE.get(rule)
    if beside is None:
        numbers = [number for _, number in choose_refused_evenly(of_rule, EXAMPLES)]
        files = list_stored_refusals(store, delivery, numbers=numbers)
    else:
        files = sorted(list_stored_refusals(store, delivery, rule=rule, limit=MAX_ROWS), key=beside)[:EXAMPLES]
    place_of = {number: place for place, number in of_rule}
    examples: list[ExamplePicture] = []
    for file in files:
        examples.append(gallery.show_refused(file, place_of[file.number]))
        name = parse_refused_name(file)
        held = gallery.show_held(name) if rule == "duplicate-cell" and name is not None else None
        if held is not None and held not in examples:
            examples.append(held)
    return examples[:EXAMPLES]


def _cell_of(file: RefusedFile) -> tuple[str, str, int, int, str]:
    name = parse_refused_name(file)
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


def _shorten_path(text: str, length: int = 160) -> str:
    """Shortens a text in its middle: a path tells most at its ends."""
    if len(text) <= length:
        return text
    return f"{text[: length // 3]} … {text[-(2 * length // 3) :]}"
