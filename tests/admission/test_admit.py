from __future__ import annotations

import csv
import re
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bcd.admission.admit import Admission, admit
from bcd.admission.rules import RULES
from bcd.errors import BcdError
from bcd.patches import Hospital, PatientId
from bcd.settings import Settings
from bcd.store.batches import read_batch_pixels
from bcd.store.delivery_queries import list_batches, list_stored_refusals
from bcd.store.hospitals import declare_hospital
from bcd.store.patients import list_patients, list_stored_patches
from bcd.store.sign_off import SignOff
from bcd.store.store import Store, open_store

EAST, WEST = Hospital("east"), Hospital("west")


def _refusals_of(settings: Settings) -> dict[str, str]:
    """Reads the quarantine's lists: rule by file."""
    found: dict[str, str] = {}
    for listing in settings.quarantine.glob("*/refusals.csv"):
        with listing.open(newline="", encoding="utf-8") as file:
            found.update({row["file"]: row["rule"] for row in csv.DictReader(file)})
    return found


def _counts(admission: Admission) -> tuple[int, dict[str, int], int]:
    return admission.admitted, admission.refused, admission.ignored


def test_a_delivery_becomes_a_batch_that_gives_its_pixels_back(store: Store, patch_files, as_zip, encode) -> None:
    red = np.zeros((50, 50, 3), np.uint8)
    red[:, :, 2] = 255
    files = {**patch_files("8867", "8868"), "8868/0/8868_idx5_x1_y1_class0.png": encode(red)}
    admission = admit(store, as_zip(files), EAST)
    assert (admission.delivery, admission.hospital, admission.already) == ("delivery.zip", EAST, False)
    assert (admission.files, admission.admitted_files, admission.admitted) == (9, 9, 9)
    assert (admission.refused, admission.ignored, admission.flags["blur"]) == ({}, 0, 1)
    assert (admission.patients, admission.positive, admission.unlabelled) == (2, 4, 0)
    patches = list_stored_patches(store, EAST, PatientId("8868"))
    assert patches[["slide", "x", "y", "label"]].values.tolist() == [
        ["5", 1, 1, 0],
        ["5", 1, 51, 0],
        ["5", 51, 51, 1],
        ["5", 101, 51, 0],
        ["5", 151, 51, 1],
    ]
    pixels = read_batch_pixels(store.settings, patches)
    assert pixels[0, 0, 0].tolist() == [255, 0, 0]
    expected = np.random.default_rng(101).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    assert np.array_equal(pixels[2], expected[:, :, ::-1])
    index = pd.read_parquet(store.settings.batches / str(admission.batch) / "index.parquet")
    cell = ["hospital", "patient", "slide", "x", "y"]
    assert index.columns.tolist() == [*cell, "label", "sha256", "pixel_sha256", "flags"]


@pytest.mark.parametrize("layout", ["{path}", "{name}", "delivery/{path}", "export/2026/{path}", "delivery/{name}"])
@pytest.mark.parametrize("container", ["as_zip", "as_folder"])
def test_every_layout_in_every_container_makes_the_same_batch(
    *, store: Store, patch_files, layout: str, container: str, request
) -> None:
    write = request.getfixturevalue(container)
    plain = admit(store, write(patch_files("8867", "8868")), EAST).batch
    other = {
        layout.format(path=path, name=Path(path).name): data for path, data in patch_files("8867", "8868").items()
    }
    home = store.settings.model_copy(update={"home": store.settings.home.with_name("other")})
    delivered = write(other, store.settings.home.parent / "other-delivery")
    store = open_store(home)
    declare_hospital(store, EAST, "pseudonyms", SignOff("test", "test"))
    assert admit(store, delivered, EAST).batch == plain


def test_admitted_and_refused_and_ignored_make_the_number_of_files(
    *, store: Store, patch_files, picture, as_zip, encode
) -> None:
    bad = {
        "8867/1/8867_idx5_x1001_y1_class0.png": (picture(50), "folder"),
        "8867/1/8867_idx5_x1002_y1_class1.png": (picture(51), "off-grid"),
        "8867/1/8867_idx5_x9999951_y1_class1.png": (picture(52), "off-slide"),
        "8867/1/8867_idx5_x1051_y1_class1.png": (b"", "empty"),
        "8867/1/8867_idx5_x1101_y1_class1.png": (b"GIF89a", "not-png"),
        "8867/1/8867_idx5_x1151_y1_class1.png": (picture(53)[:-20], "truncated"),
        "8867/1/8867_idx5_x1201_y1_class1.png": (picture(54, width=42), "size"),
        "8867/1/8867_idx5_x1251_y1_class1.png": (encode(np.zeros((50, 50), np.uint8)), "colour"),
        "8867/1/8867_idx5_x1301_y1_class1.png": (bytes(2 << 20), "too-large"),
        "notes.txt": (b"dear colleague", "name"),
    }
    litter = {"__MACOSX/8867/1/._8867_idx5_x1_y1_class1.png": b"x", "8867/.DS_Store": b"x", "Thumbs.db": b"x"}
    files = {**patch_files("8867"), **{name: data for name, (data, _) in bad.items()}, **litter}
    admission = admit(store, as_zip(files), EAST)
    assert admission.admitted == 4
    assert admission.ignored == 3
    assert admission.refused == dict.fromkeys(sorted(rule for _, rule in bad.values()), 1)
    assert admission.admitted + sum(admission.refused.values()) + admission.ignored == len(files)
    assert _refusals_of(store.settings) == {name: rule for name, (_, rule) in bad.items()}
    batch = list_batches(store)[0]
    assert (batch.admitted, batch.refused_files, batch.ignored) == (4, 10, 3)


def test_refused_files_are_kept_as_they_were(store: Store, patch_files, picture, as_zip) -> None:
    edge = picture(60, width=42)
    admit(store, as_zip({**patch_files("8867"), "8867/1/8867_idx5_x1001_y1_class1.png": edge}), EAST)
    (folder,) = store.settings.quarantine.iterdir()
    (refusal,) = list_stored_refusals(store, folder.name)
    assert refusal.rule == "size"
    assert "42x50 px" in refusal.message
    assert (folder / str(refusal.kept)).read_bytes() == edge


def test_the_same_delivery_twice_changes_nothing(store: Store, patch_files, as_zip) -> None:
    files = {**patch_files("8867"), "notes.txt": b"dear colleague", ".DS_Store": b"x"}
    first = admit(store, as_zip(files), EAST)
    renamed = as_zip(dict(reversed(files.items())), store.settings.home.parent / "renamed.zip")
    again = admit(store, renamed, EAST)
    assert again == Admission(**{**vars(first), "already": True})
    assert len(list_batches(store)) == len(list(store.settings.batches.iterdir())) == 1


def test_of_an_overlapping_delivery_only_the_new_patches_are_admitted(store: Store, patch_files, as_zip) -> None:
    admit(store, as_zip(patch_files("8867")), EAST)
    second = as_zip({**patch_files("8867"), **patch_files("8868", seed=500)})
    assert _counts(admit(store, second, EAST)) == (4, {"already-admitted": 4}, 0)
    nothing_new = admit(store, as_zip({**patch_files("8867"), "notes.txt": b"hello"}), EAST)
    assert _counts(nothing_new) == (0, {"already-admitted": 4, "name": 1}, 0)
    assert nothing_new.batch is None
    assert len(list_batches(store)) == 2
    assert list_patients(store)["patches"].tolist() == [4, 4]


def test_what_contradicts_an_earlier_batch_is_refused_naming_it(store: Store, picture, as_zip) -> None:
    first = admit(store, as_zip({"a_idx5_x1_y1_class0.png": picture(1)}), EAST)
    later = {
        "a_idx5_x1_y1_class0.png": picture(2),
        "a_idx5_x51_y1_class1.png": picture(1),
        "b_idx5_x1_y1_class0.png": picture(1),
        "c_idx5_x1_y1_class0.png": picture(3),
    }
    admission = admit(store, as_zip(later), EAST)
    assert admission.refused == {"duplicate-cell": 1, "two-labels": 1, "two-patients": 1}
    (delivery,) = [path.name for path in store.settings.quarantine.iterdir()]
    for refusal in list_stored_refusals(store, delivery):
        assert str(first.batch)[:12] in refusal.message
        assert "east/a" in refusal.message


def test_the_same_cell_with_another_label_later_is_refused(store: Store, picture, as_zip) -> None:
    admit(store, as_zip({"a_idx5_x1_y1_class0.png": picture(1)}), EAST)
    later = as_zip({"a_idx5_x1_y1_class1.png": picture(1), "c_idx5_x1_y1_class0.png": picture(3)})
    assert admit(store, later, EAST).refused == {"two-labels": 1}


def test_within_a_delivery_contradictions_are_refused_and_copies_admitted_once(store: Store, picture, as_zip) -> None:
    files = {
        "a/0/a_idx5_x1_y1_class0.png": picture(1),  # the same place with other pixels: neither
        "a/1/a_idx5_x1_y1_class1.png": picture(2),
        "a/0/a_idx5_x51_y1_class0.png": picture(3),  # the same picture with two labels: neither
        "a/1/a_idx5_x51_y1_class1.png": picture(3),
        "a/0/a_idx5_x101_y1_class0.png": picture(4),  # the same at two places with two labels: neither
        "a/1/a_idx5_x151_y1_class1.png": picture(4),
        "a/0/a_idx5_x201_y1_class0.png": picture(5),  # a copy: once, with its label
        "a/a_idx5_x201_y1.png": picture(5),
        "a/0/a_idx5_x251_y1_class0.png": picture(6),  # two patients: neither
        "b/0/b_idx5_x1_y1_class0.png": picture(6),
    }
    admission = admit(store, as_zip(files), EAST)
    assert admission.refused == {"duplicate-cell": 3, "two-labels": 4, "two-patients": 2}
    assert (admission.admitted, admission.unlabelled) == (1, 0)
    (folder,) = store.settings.quarantine.iterdir()
    two = [refusal for refusal in list_stored_refusals(store, folder.name) if refusal.rule == "two-patients"]
    assert all("a" in refusal.message and "b" in refusal.message and ".png" in refusal.message for refusal in two)
    assert set(admission.refused) <= set(RULES)


def test_the_same_patient_number_in_two_hospitals_is_two_people(store: Store, patch_files, as_zip) -> None:
    admit(store, as_zip(patch_files("1001")), EAST)
    other_person = admit(store, as_zip(patch_files("1001", seed=500)), WEST)
    assert other_person.admitted == 4
    assert len(list_patients(store)) == 2
    same_pixels = admit(store, as_zip({**patch_files("1001"), **patch_files("7", seed=900)}), WEST)
    assert same_pixels.refused == {"duplicate-cell": 4}


def test_unlabelled_and_one_class_deliveries_are_admitted(store: Store, picture, as_folder) -> None:
    files = {f"a_idx5_x{1 + 50 * place}_y1.png": picture(place) for place in range(3)}
    admission = admit(store, as_folder(files), EAST)
    assert (admission.admitted, admission.positive, admission.unlabelled) == (3, 0, 3)


def test_damaged_and_encrypted_members_of_a_zip_are_refused_one_by_one(
    store: Store, patch_files, picture, as_zip
) -> None:
    path = as_zip({**patch_files("8867"), "8867/1/8867_idx5_x1001_y1_class1.png": picture(70)})
    data = bytearray(path.read_bytes())
    data[data.index(picture(70)) + 2000] ^= 0xFF  # the archive's own checksum notices
    path.write_bytes(data)
    assert admit(store, path, EAST).refused == {"unreadable": 1}


def test_paths_that_climb_out_of_an_archive_write_nothing(store: Store, patch_files, picture, as_zip) -> None:
    hazards = {
        "../../escaped_idx5_x1_y1_class0.png": picture(1),
        "/tmp/absolute_idx5_x1_y1_class0.png": picture(2),
        "../escaped.png": b"x",
    }
    admission = admit(store, as_zip({**patch_files("8867"), **hazards}), EAST)
    assert admission.refused == {"unsafe-path": 3}
    assert not list(store.settings.home.parent.rglob("escaped*"))
    assert all(path.parent == store.settings.quarantine for path in store.settings.quarantine.iterdir())


def test_links_are_not_followed(store: Store, patch_files, as_folder, tmp_path) -> None:
    folder = as_folder(patch_files("8867"))
    (tmp_path / "secret").write_text("not of the delivery")
    (folder / "8867_idx5_x1001_y1_class0.png").symlink_to(tmp_path / "secret")
    (folder / "elsewhere").symlink_to(tmp_path)
    assert _counts(admit(store, folder, EAST)) == (4, {"not-a-file": 2}, 0)


def test_two_members_of_one_name_are_both_counted(store: Store, picture, tmp_path) -> None:
    name = "a/0/a_idx5_x1_y1_class0.png"
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as archive:
        archive.writestr(name, picture(1))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(name, picture(1))
    assert _counts(admit(store, tmp_path / "twice.zip", EAST)) == (1, {"duplicate-cell": 1}, 0)


@pytest.mark.parametrize("hospital", ["", "a b", "../x", "-x", "é", "x" * 65])
def test_a_hospital_has_a_plain_name(store: Store, hospital: str, as_zip, patch_files) -> None:
    with pytest.raises(BcdError, match=re.escape(repr(hospital))):
        admit(store, as_zip(patch_files("8867")), Hospital(hospital))
