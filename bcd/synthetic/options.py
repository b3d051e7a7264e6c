"""What can be chosen about the synthetic hospital."""

from __future__ import annotations

from pydantic import Field

from bcd.options import Options, Patches, Patients, Share


class HospitalOptions(Options):
    """How many patients the synthetic hospital has, and how large their slides are."""

    # Of this seed's two full-size patients one is dealt to test, so the demo has one to score that nothing has seen.
    seed: int = Field(
        5, ge=0, le=2**31 - 1, description="Another seed is another hospital: other patients, other stain."
    )
    patients: Patients = Field(100, ge=2, le=5000, description="Patients with a small slide.")
    large_patients: Patients = Field(2, ge=0, le=100, description="Patients with a full-size slide.")
    small_patches: Patches = Field(50, ge=9, le=5000, description="Patches of a small slide, on average.")
    large_patches: Patches = Field(1250, ge=9, le=20000, description="Patches of a full-size slide, on average.")
    first_share: Share = Field(2 / 3, gt=0, lt=1, description="Share of the small patients in the first delivery.")
    tumour_free_share: Share = Field(0.15, ge=0, lt=1, description="Share of the small patients without a tumour.")
    cut_share: Share = Field(0.08, ge=0, le=1, description="Share of the small slides whose frame cuts the tissue.")
