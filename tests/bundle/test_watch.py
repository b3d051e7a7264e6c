"""The watch over deliveries goes on beside one that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from bcd.admission.admit import admit
from bcd.bundle.watch import catch_up
from bcd.gate.adoption import make_released_champion
from bcd.patches import Hospital
from bcd.settings import Settings
from bcd.store.delivery_queries import list_batches
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import open_store
from bcd.synthetic.hospital import draw_hospital
from bcd.synthetic.options import HospitalOptions

ME = SignOff("test", "test")


@pytest.mark.parametrize("damage", ["missing", "cut short"])
def test_a_delivery_whose_batch_is_damaged_is_left_for_the_next_time(
    settings: Settings, released: Path, tmp_path: Path, damage: str
) -> None:
    store = open_store(settings)
    declare_hospital(store, "east", "pseudonyms", ME)
    make_released_champion(store, ME)
    small = HospitalOptions(patients=8, large_patients=0, small_patches=9, first_share=0.5)
    for delivery in draw_hospital(small, tmp_path / "drawn"):
        admit(store, delivery, Hospital("east"))
    first, second = list_batches(store)
    pixels = settings.batches / str(first.batch) / "pixels.npy"
    whole = pixels.read_bytes()
    if damage == "missing":
        pixels.unlink()
    else:
        pixels.write_bytes(whole[: len(whole) // 2])
    assert [found.delivery for found in catch_up(store)] == [second.id]
    pixels.write_bytes(whole)
    assert [found.delivery for found in catch_up(store)] == [first.id]
    assert catch_up(store) == []
