"""What waits in the inbox for a person is found, counted, and said with what takes it."""

from __future__ import annotations

from bcd.admission.received import set_delivery_aside
from bcd.admission.waiting import count_set_aside, find_stuck
from bcd.patches import Hospital
from bcd.settings import Settings
from bcd.store.store import Store


def test_without_an_inbox_nothing_is_stuck(store: Store) -> None:
    assert find_stuck(store) == []


def test_deliveries_of_declared_hospitals_are_not_stuck(store: Store, as_zip, patch_files) -> None:
    as_zip(patch_files("1"), store.settings.inbox / "east" / "a.zip")
    (store.settings.inbox / "north").mkdir()
    (store.settings.inbox / "north" / ".DS_Store").write_bytes(b"x")
    (store.settings.inbox / "north" / "b.zip.part").write_bytes(b"x")
    assert find_stuck(store) == []


def test_an_undeclared_hospital_is_named_with_the_command_that_declares_it(store: Store, as_zip, patch_files) -> None:
    for name in ("a.zip", "b.zip"):
        as_zip(patch_files("1"), store.settings.inbox / "north" / name)
    [stuck] = find_stuck(store)
    assert stuck.deliveries == 2
    assert str(store.settings.inbox / "north") in stuck.what
    assert "bcd hospital declare north --identifiers" in stuck.fix


def test_a_folder_that_cannot_be_a_hospital_and_files_outside_of_any_are_told_without_their_names(
    store: Store, as_zip, patch_files
) -> None:
    as_zip(patch_files("1"), store.settings.inbox / "Mrs Miller.zip")
    as_zip(patch_files("1"), store.settings.inbox / "not a hospital" / "Mrs Miller.zip")
    beside, folder = find_stuck(store)
    assert (beside.deliveries, folder.deliveries) == (1, 1)
    assert "HOSPITAL" in beside.fix
    assert "'not a hospital'" in folder.what
    assert "Miller" not in f"{beside}{folder}"


def test_what_is_set_aside_is_counted_as_long_as_it_lies_there(settings: Settings) -> None:
    assert count_set_aside(settings) == 0
    for name in ("a.zip", "b"):
        path = settings.inbox / "east" / name
        path.mkdir(parents=True)
        set_delivery_aside(settings, path, Hospital("east"), reason="No patch in it.")
    assert count_set_aside(settings) == 2
    (settings.set_aside / "east" / "b").rmdir()
    assert count_set_aside(settings) == 1
