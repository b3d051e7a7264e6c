"""Identifiers of what is written: the same export again has the same ones, so that a PACS holds it once."""

from __future__ import annotations

import uuid

from bcd.scoring.export.scored import ScoredPatient

_ROOT = uuid.uuid5(uuid.NAMESPACE_DNS, "bcd.dicom")


def make_uid(*named: str) -> str:
    """Returns the identifier of a thing by its names, of the root for UUIDs (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid5(_ROOT, chr(0).join(named)).int}"


def study_uid(scored: ScoredPatient) -> str:
    """Returns the study of all that is put together of a patient's patches."""
    return make_uid("study", scored.hospital, scored.patient)


def object_uid(scored: ScoredPatient, kind: str, slide: str = "", level: str = "instance") -> str:
    """Returns the identifier of an instance, or a series, of what one scoring says."""
    return make_uid(level, kind, scored.hospital, scored.patient, slide, scored.bundle, scored.content)
