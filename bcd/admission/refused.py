"""Deliveries that are refused as a whole: recorded as any other, with a report, a reason and what to do.

Most were looked at file by file, and `bcd.admission.settle` recorded them. Here are those that were not: what cannot
be opened, what bcd failed at, and what ended three attempts.
"""

from __future__ import annotations

import hashlib
import time
import traceback
from pathlib import Path

from bcd.admission.findings import commonest_rule
from bcd.admission.naming import Naming
from bcd.admission.report import admission_report_path
from bcd.admission.rules import FIXES, DeliveryError, Refusal
from bcd.admission.settle import settle_whole
from bcd.errors import BcdError
from bcd.files import hash_file
from bcd.patches import Hospital
from bcd.settings import Settings
from bcd.store.deliveries import Delivery
from bcd.store.store import Store

_EVENTS = frozenset({"failed", "suspected"})
"""Rules that say nothing of the delivery's bytes: handed over again it is tried again, and then recorded anew."""


class RefusedError(BcdError):
    """A delivery is refused as a whole; that is recorded and reported, and it is no longer in the inbox.

    Attributes:
        trace: The traceback where bcd failed at it; of a raw hospital without the error's own words.
    """

    trace = ""


def refuse_whole(store: Store, path: Path, hospital: Hospital, *, naming: Naming, error: Exception) -> Delivery:
    """Records a delivery that ended in an error, itself in place of its files.

    Args:
        store: Where to.
        path: The delivery.
        hospital: Where it comes from.
        naming: How it may be called.
        error: What it ended in.

    Returns:
        Its record, whose `reason` is a sentence.
    """
    name = naming.show_title(path.name)
    refusal = _refuse_failed_delivery(name, path, naming, error)
    digest = (
        _hash_refused_file(path)
        if refusal.rule not in _EVENTS
        else hashlib.sha256(str(time.time_ns()).encode()).hexdigest()
    )
    return settle_whole(store, hospital, name=name, refusal=refusal, sha256=digest)


def explain_refused(
    settings: Settings, record: Delivery, failure: Exception | None = None, *, hides: bool
) -> RefusedError:
    """Returns the error that says why a delivery was refused as a whole, what to do, and where the report lies.

    Args:
        settings: Where reports lie.
        record: What became of it.
        failure: What it ended in, where that was an error.
        hides: Whether nothing may be quoted that may name somebody.
    """
    fix = FIXES[commonest_rule(record.refused)]
    refused = RefusedError(str(record.reason), f"{fix} The report: {admission_report_path(settings, record.id)}")
    if failure is not None and not isinstance(failure, BcdError):
        lines = traceback.format_tb(failure.__traceback__) if hides else traceback.format_exception(failure)
        refused.trace = "".join(lines)
    return refused


def _refuse_failed_delivery(name: str, path: Path, naming: Naming, error: Exception) -> Refusal:
    if isinstance(error, DeliveryError):
        return Refusal(error.rule, naming.show_text(error.what, path))
    if isinstance(error, BcdError):
        return Refusal("failed", naming.show_text(str(error), path))
    # Of a raw hospital, an error's own words may quote what names somebody.
    said = f": {naming.show_text(str(error), path)}" if str(error) and not naming.hides else ""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(frame.filename).name}, line {frame.lineno}"
    return Refusal("failed", f"bcd failed while it admitted {name} ({type(error).__name__}{said}; {place}).")


def _hash_refused_file(path: Path) -> str:
    try:
        return hash_file(path)
    except (IsADirectoryError, PermissionError):  # the latter may be why it is refused
        return hashlib.sha256(b"").hexdigest()
