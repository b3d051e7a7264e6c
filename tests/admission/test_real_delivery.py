from __future__ import annotations

from pathlib import Path

import pytest

from bcd.admission.admit import admit
from bcd.patches import Hospital, PatientId
from bcd.store.batches import read_batch_pixels
from bcd.store.patients import list_stored_patches
from bcd.store.store import Store

EAST = Hospital("east")

DELIVERY = Path(__file__).parents[2].parent / "shared/data/batches/idc-batch-1.zip"


@pytest.mark.real_data
@pytest.mark.skipif(not DELIVERY.exists(), reason=f"needs the development delivery {DELIVERY}")
def test_the_first_real_delivery_is_admitted_but_for_its_edge_pieces(store: Store) -> None:
    admission = admit(store, DELIVERY, EAST)
    assert (admission.admitted, admission.refused, admission.ignored) == (3359, {"size": 31}, 0)
    assert (admission.patients, admission.positive, admission.unlabelled) == (44, 672, 0)
    pixels = read_batch_pixels(store.settings, list_stored_patches(store, EAST, PatientId("8867")))
    red, green, _ = pixels.reshape(-1, 3).mean(axis=0)
    assert red > green  # tissue stained with eosin is pink; with swapped channels it is not
