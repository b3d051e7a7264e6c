"""Lineage: where a report, a patient, a patch or a version comes from, link by link, as it was recorded."""
