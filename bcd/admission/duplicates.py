"""The rules that compare patches with each other: with earlier batches first, then within the delivery.

Where two files contradict each other there is no telling which is right, so neither is admitted; where they say
the same, one is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence

from bcd.admission.examine import Finding
from bcd.admission.rules import Refusal
from bcd.patches import Hospital
from bcd.store.catalog import Catalog
from bcd.store.deliveries import KnownPatch, known_cells, known_pixels


def refuse_known(catalog: Catalog, hospital: Hospital, findings: Sequence[Finding]) -> None:
    """Refuses what earlier batches hold already, or contradict."""
    good = [finding for finding in findings if finding.refusal is None]
    cells = known_cells(catalog, hospital, {finding.patch.patient for finding in good})
    of_cell = {(known.patient, known.slide, known.x, known.y): known for known in cells}
    of_pixels: dict[str, list[KnownPatch]] = defaultdict(list)
    for known in known_pixels(catalog, {finding.pixel_sha256 for finding in good}):
        of_pixels[known.pixel_sha256].append(known)
    for finding in good:
        patch = finding.patch
        same_cell = of_cell.get((patch.patient, patch.slide, patch.x, patch.y))
        if same_cell is not None:
            finding.refusal = _judge_cell(finding, same_cell)
        else:
            finding.refusal = _judge_pixels(hospital, finding, of_pixels[finding.pixel_sha256])


def _judge_cell(finding: Finding, known: KnownPatch) -> Refusal:
    if finding.pixel_sha256 != known.pixel_sha256:
        return Refusal("duplicate-cell", f"Other pixels lie there already: {_title(known)}.")
    if finding.label is None or finding.label == known.label:
        return Refusal("already-admitted", f"Admitted before: {_title(known)}.")
    if known.label is None:
        return Refusal("already-admitted", f"Admitted before without a label: {_title(known)}.")
    return Refusal("two-labels", f"Label {finding.label} here, label {known.label} before: {_title(known)}.")


def _judge_pixels(hospital: Hospital, finding: Finding, same: Sequence[KnownPatch]) -> Refusal | None:
    for known in same:
        if (known.hospital, known.patient) != (hospital, finding.patch.patient):
            return Refusal(
                "two-patients", f"The pixels of patient {hospital}/{finding.patch.patient} are {_title(known)}."
            )
        if _contradict([finding.label, known.label]):
            return Refusal("two-labels", f"Label {finding.label} here, label {known.label} of {_title(known)}.")
    return None


def _title(known: KnownPatch) -> str:
    place = f"slide {known.slide}, x {known.x}, y {known.y}"
    return f"patient {known.hospital}/{known.patient}, {place}, in batch {known.batch[:12]}"


def refuse_duplicates(findings: Iterable[Finding]) -> None:
    """Refuses files of one delivery that repeat or contradict each other, in the order of the rules."""
    for key, judge in (
        (_cell_of, _refuse_same_cell),
        (_pixels_of, _refuse_two_patients),
        (_pixels_of, _refuse_two_labels),
    ):
        for group in _groups(findings, key):
            judge(group)


def _cell_of(finding: Finding) -> Hashable:
    return finding.patch.patient, finding.patch.slide, finding.patch.x, finding.patch.y


def _pixels_of(finding: Finding) -> Hashable:
    return finding.pixel_sha256


def _groups(findings: Iterable[Finding], key: Callable[[Finding], Hashable]) -> list[list[Finding]]:
    groups: dict[Hashable, list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.refusal is None:
            groups[key(finding)].append(finding)
    return [group for group in groups.values() if len(group) > 1]


def _refuse_same_cell(group: list[Finding]) -> None:
    if len({finding.pixel_sha256 for finding in group}) > 1:
        _refuse(group, "duplicate-cell", "Other pixels claim the same place")
    elif _contradict(finding.label for finding in group):
        _refuse(group, "two-labels", "Has the same pixels and another label")
    else:  # copies: the first one that has a label stays
        group.sort(key=lambda finding: (finding.label is None, finding.member.name))
        for finding in group[1:]:
            finding.refusal = Refusal("duplicate-cell", f"A copy of {group[0].member.name}.")


def _refuse_two_patients(group: list[Finding]) -> None:
    if len({finding.patch.patient for finding in group}) > 1:
        _refuse(group, "two-patients", "Has the same pixels under another patient", by_patient=True)


def _refuse_two_labels(group: list[Finding]) -> None:
    if _contradict(finding.label for finding in group):
        _refuse(group, "two-labels", "Has the same pixels and another label")


def _refuse(group: Sequence[Finding], rule: str, reason: str, *, by_patient: bool = False) -> None:
    for finding in group:
        other = next(
            one
            for one in group
            if one is not finding and not (by_patient and one.patch.patient == finding.patch.patient)
        )
        named = f" ({finding.patch.patient} and {other.patch.patient})" if by_patient else ""
        finding.refusal = Refusal(rule, f"{reason}{named}: {other.member.name}.")


def _contradict(labels: Iterable[int | None]) -> bool:
    return len({label for label in labels if label is not None}) > 1
