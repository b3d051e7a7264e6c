"""A table of labels beside unlabelled patches."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from bcd.admission.admit import admit
from bcd.patches import Hospital, PatientId
from bcd.settings import Settings
from bcd.store.catalog import Catalog
from bcd.store.deliveries import list_refusals
from bcd.store.patients import patient_patches

EAST = Hospital("east")


@pytest.fixture
def unlabelled(picture) -> dict[str, bytes]:
    return {f"8867/8867_idx5_x{1 + 50 * place}_y1.png": picture(place) for place in range(4)}


def _labels(settings: Settings, catalog: Catalog) -> list[int | None]:
    labels = patient_patches(settings, catalog, EAST, PatientId("8867"))["label"]
    return [None if pd.isna(label) else int(label) for label in labels]


CSV = "patient,slide,x,y,label\n8867,5,1,1,1\n8867,5,51,1,0\n8867,5,101,1,\n9999,5,1,1,1\n"


def _as_parquet(text: str) -> bytes:
    file = io.BytesIO()
    pd.read_csv(io.StringIO(text), dtype={"patient": str, "slide": str}).to_parquet(file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("labels.csv", CSV.encode()),
        ("export/labels.csv", b"\xef\xbb\xbf" + CSV.replace(",", ";").encode()),
        ("Labels.CSV", b"name,label\n8867/8867_idx5_x1_y1.png,1\n8867_idx5_x51_y1.png,0\n"),
        ("labels.parquet", _as_parquet(CSV)),
    ],
    ids=["csv", "semicolons", "names", "parquet"],
)
def test_it_labels_the_patches_that_it_names(
    *, settings: Settings, catalog: Catalog, unlabelled: dict[str, bytes], as_zip, name: str, data: bytes
) -> None:
    admission = admit(settings, catalog, as_zip({**unlabelled, name: data}), EAST)
    assert _labels(settings, catalog) == [1, 0, None, None]
    assert (admission.files, admission.admitted_files, admission.refused) == (5, 5, {})
    assert (admission.positive, admission.unlabelled) == (1, 2)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\xff\xfe",
        b"patient,slide,x,y\n",
        CSV.replace(",1,1\n", ",1,2\n").encode(),
        CSV.encode() + b"8867,5,1,1,0",
    ],
    ids=["empty", "no text", "no label", "label 2", "two labels"],
)
def test_a_table_that_cannot_be_used_is_refused_and_the_patches_stay_unlabelled(
    *, settings: Settings, catalog: Catalog, unlabelled: dict[str, bytes], as_zip, data: bytes
) -> None:
    admission = admit(settings, catalog, as_zip({**unlabelled, "labels.csv": data}), EAST)
    assert (admission.admitted, admission.refused) == (4, {"labels-file": 1})
    assert _labels(settings, catalog) == [None] * 4
    [refusal] = list_refusals(catalog, admission.id)
    assert (settings.quarantine / admission.id / str(refusal.kept)).read_bytes() == data


def test_a_name_that_says_another_label_is_refused(settings: Settings, catalog: Catalog, picture, as_zip) -> None:
    files = {"8867_idx5_x1_y1_class0.png": picture(1), "8867_idx5_x51_y1_class0.png": picture(2)}
    admission = admit(settings, catalog, as_zip({**files, "labels.csv": CSV.encode()}), EAST)
    assert (admission.admitted, admission.refused) == (1, {"folder": 1})
