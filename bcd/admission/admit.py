"""Admission: from a delivery to a batch and refusals, exactly once.

Every file of a delivery is looked at, and what is good becomes one batch. The delivery leaves the inbox after
that. A run that is killed anywhere is completed by running it again, and the same delivery twice changes nothing.

Examples:
    >>> admission = admit(store, Path("delivery-1.zip"), Hospital("east"))  # doctest: +SKIP
    >>> admission.admitted, admission.refused  # doctest: +SKIP
    (3390, {'size': 19})
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from bcd.admission.attempts import count_admission_attempt
from bcd.admission.beside import apply_delivered_labels
from bcd.admission.cut import OpenTiler, cut_slides, open_own_tiler
from bcd.admission.declared import read_declarations
from bcd.admission.examine import examine_files
from bcd.admission.machine import explain_machine_faults
from bcd.admission.naming import Naming, open_naming
from bcd.admission.plan import plan_admission
from bcd.admission.received import claim_delivery, is_waiting, leave_inbox, set_delivery_aside
from bcd.admission.refused import explain_refused, refuse_whole
from bcd.admission.report import write_admission_report
from bcd.admission.settle import Draft, settle
from bcd.admission.sources.open import open_source
from bcd.admission.sources.source import Source
from bcd.errors import BcdError, UnavailableError
from bcd.options import Microns
from bcd.patches import Hospital
from bcd.progress import say_progress
from bcd.store.catalog import retry_while_database_away
from bcd.store.deliveries import Delivery
from bcd.store.hospitals import COARSEST, find_declared_hospital
from bcd.store.spool import open_store_spool
from bcd.store.store import Store

_NONE: Mapping[str, str] = MappingProxyType({})
_NO_LABELS: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True)
class Admission(Delivery):
    """What became of a delivery; admitted_files, the refused files and `ignored` add up to `files`.

    Attributes:
        already: Whether the same delivery was admitted before, so that nothing changed now.
    """

    already: bool = False

    @property
    def delivery(self) -> str:
        """Name of the folder or archive."""
        return self.name


def admit(
    store: Store,
    path: Path,
    hospital: Hospital,
    *,
    spacing: Microns | None = None,
    open_tiler: OpenTiler = open_own_tiler,
) -> Admission:
    """Admits a delivery; one of the inbox leaves it, as `after_admission` says, or to be set aside.

    Args:
        store: The open store.
        path: A folder, an archive or a slide.
        hospital: Where it comes from; it is declared.
        spacing: In µm per pixel, for slides that do not say it, or to confirm what they say.
        open_tiler: Who cuts its slides.

    Raises:
        RefusedError: It is refused as a whole, which is recorded and reported like any other.
        UnavailableError: The machine, the store or the key of pseudonyms is at fault; the delivery stays where it is.
        BcdError: There is no such delivery, or its hospital is not declared.
    """
    declared = retry_while_database_away(lambda: find_declared_hospital(store, hospital))
    naming = open_naming(store, hospital)
    name = naming.show_title(path.name)
    failure: Exception | None = None
    try:
        with claim_delivery(store.settings, path):
            try:
                with (
                    count_admission_attempt(store, path, hospital, title=name),
                    explain_machine_faults(store.settings),
                    open_source(path, store.settings.scratch) as source,
                ):
                    admission = admit_source(
                        store,
                        source,
                        name=name,
                        hospital=hospital,
                        naming=naming,
                        spacing=spacing,
                        coarsest=declared.coarsest,
                        title=path.name if path.is_dir() else "",
                        open_tiler=open_tiler,
                    )
            except UnavailableError:
                raise
            except Exception as error:
                if not path.exists():
                    raise
                failure = error  # whatever a delivery brings about is its own, and stops no other
                with explain_machine_faults(store.settings):
                    record = refuse_whole(store, path, hospital, naming=naming, error=error)
                admission = Admission(**vars(record))
            _report_and_leave_inbox(store, path, admission, hides=naming.hides)
    except BcdError as error:
        raise naming.show_error(error, path) from None
    if admission.reason is not None:
        raise explain_refused(store.settings, admission, failure, hides=naming.hides)
    return admission


def _report_and_leave_inbox(store: Store, path: Path, admission: Admission, *, hides: bool) -> None:
    """Writes the report, then lets the delivery leave the inbox: killed between the two, it is found there again."""
    failure = None
    try:
        try:
            retry_while_database_away(lambda: write_admission_report(store, admission.id))
        except (BcdError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - raised below: found in the inbox again, it would fail for ever
            failure = error
        if admission.reason is None:
            leave_inbox(store, path, admission, hides=hides)
        elif is_waiting(store.settings, path, admission.hospital):
            set_delivery_aside(
                store.settings,
                path,
                admission.hospital,
                reason=str(explain_refused(store.settings, admission, hides=hides)),
            )
    except OSError as error:
        became = "admitted" if admission.reason is None else "refused"
        raise UnavailableError(
            f"{admission.name} is {became}, but its report cannot be written, or it cannot leave the inbox:"
            f" {error.strerror}.",
            "Fix the disk or its permissions and run the same command again: nothing is admitted twice.",
        ) from error
    if failure is not None:
        raise failure


def admit_source(
    store: Store,
    source: Source,
    *,
    name: str,
    hospital: Hospital,
    naming: Naming | None = None,
    spacing: Microns | None = None,
    coarsest: Microns = COARSEST,
    title: str = "",
    waived: Mapping[str, str] = _NONE,
    labels: Mapping[str, int] = _NO_LABELS,
    is_release: bool = False,
    open_tiler: OpenTiler = open_own_tiler,
) -> Admission:
    """Admits the files of an open source.

    Args:
        store: The open store.
        source: The files.
        name: What the delivery is called.
        hospital: Where it comes from.
        naming: How its patients are called; None: as the source calls them.
        spacing: In µm per pixel, for slides that do not say it, or to confirm what they say.
        coarsest: In µm per pixel; slides whose finest level says more are refused unless `spacing` confirms it.
        title: Name of the folder that the delivery is; DICOM files that lie in it go by it.
        waived: For a file's name, the one rule that it may break.
        labels: For a file's name, the label that counts instead of what its name says.
        is_release: Whether a person chose these files again, so that they mark nothing that they contradict.
        open_tiler: Who cuts its slides.

    Raises:
        BcdError: Nothing in a release is admissible, or the store cannot be written; then nothing is stored.
    """
    naming = naming or Naming(None)
    with explain_machine_faults(store.settings), open_store_spool(store.settings) as spool:
        declared = read_declarations(source, naming, store.settings.scratch)
        plan = plan_admission(source, naming, declared=declared, title=title, waived=waived, labels=labels)
        findings = examine_files(source, plan, spool)
        plan = replace(plan, patches=plan.patches.iloc[:0].copy())  # findings hold what of them is good
        cut_slides(
            source,
            plan,
            findings,
            spool,
            scratch=store.settings.scratch,
            spacing=spacing,
            coarsest=coarsest,
            open_tiler=open_tiler,
        )
        apply_delivered_labels(
            source, findings, plan.tables, hospital=hospital, naming=naming, scratch=store.settings.scratch
        )
        draft = Draft(name, hospital, source, spool, findings, naming.hides, is_release)
        if plan.slides:
            draft = replace(draft, spacing=spacing, coarsest=coarsest)
        record, already = settle(store, draft)
    if already and record.reason is None:
        say_progress(f"{name} of {hospital} was admitted before: nothing changes.")
    return Admission(**vars(record), already=already)
