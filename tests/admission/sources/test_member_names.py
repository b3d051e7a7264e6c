"""What a delivery's listing alone says: which names are litter, which are not safe, and how they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcd.admission.sources.hazards import MAX_NAME, clean_name, name_hazard
from bcd.admission.sources.source import is_litter


@pytest.mark.parametrize(
    "name",
    [
        ".DS_Store",
        "8867/Icon\r",
        clean_name("8867/Icon\r"),
        clean_name("Icon\uf00d"),
        "a/Thumbs.db",
        "a/THUMBS.DB",
        "a/Desktop.ini",
        "__MACOSX/a/._x.png",
        "a/._8867_idx5_x1_y1_class0.png",
        ".Spotlight-V100/store",
        ".Trashes/x",
        ".fseventsd/0",
        "a/@eaDir/x.png",
        "#recycle/x.png",
        "a/.directory",
        "a/~$letter.docx",
        "a/.~lock.labels.csv#",
        ".Trash-1000/files/x.png",
        "a/.nfs0001",
    ],
)
def test_what_an_operating_system_leaves_behind_is_litter(name: str) -> None:
    assert is_litter(name)


@pytest.mark.parametrize(
    "name", ["8867_idx5_x1_y1_class0.png", "a/DS_Store.png", "Thumbs.db.png", "recycle/x.png", ".hidden", "_x", "~x"]
)
def test_everything_else_counts(name: str) -> None:
    assert not is_litter(name)


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("8867\\0\\x.png", "8867/0/x.png"),
        ("./8867//0/./x.png", "8867/0/x.png"),
        ("\\\\server\\share", "/server/share"),
        ("a\nb\tc", r"a\nb\tc"),
        ("a\0.png", r"a\x00.png"),
        ("a\udce9", r"a\udce9"),
        ("a\u202eb", r"a\u202eb"),
        ("café/é.png", "café/é.png"),
        ("..x/y..", "..x/y.."),
    ],
)
def test_a_path_is_written_with_slashes_and_printable(name: str, clean: str) -> None:
    assert clean_name(name) == clean


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "C:/x.png",
        "c:x.png",
        "../x.png",
        "a/../../x.png",
        "a/..",
        "..",
        "a\0.png",
        "",
        "./",
        "a\\..\\b",
        "x" * 2000,
    ],
)
def test_a_path_that_leads_elsewhere_is_unsafe(name: str) -> None:
    hazard = name_hazard(clean_name(name))
    assert hazard is not None
    assert hazard[0] == "unsafe-path"


@pytest.mark.parametrize(
    "name", ["a/x.zip", "x.tar.gz", "x.TGZ", "a.7z", "x.rar", "x.bz2", "x.tar.xz", "slide.svs.gz"]
)
def test_an_archive_in_a_delivery_is_not_opened(name: str) -> None:
    hazard = name_hazard(name)
    assert hazard is not None
    assert hazard[0] == "nested-archive"


@pytest.mark.parametrize(
    "name", ["8867/0/8867_idx5_x1_y1_class0.png", "a..b/x.png", "zip", "..zip.png", "labels.csv"]
)
def test_usual_paths_are_harmless(name: str) -> None:
    assert name_hazard(name) is None


@given(st.text(st.characters(), max_size=60) | st.text("./\\a:\0", max_size=12))
def test_any_name_can_be_shown_and_stored_and_a_safe_one_stays_inside(name: str) -> None:
    clean = clean_name(name)
    assert clean.isprintable()
    clean.encode()
    assert clean_name(clean.replace("\\", "")) == clean.replace("\\", "") or "//" in clean.replace("\\", "")
    assert len(clean) <= MAX_NAME + 1
    if name_hazard(clean) is None:
        depth = 0
        for part in name.replace("\\", "/").split("/"):
            depth += {"..": -1, ".": 0, "": 0}.get(part, 1)
            assert depth >= 0
        assert not name.startswith(("/", "\\"))
        assert "\0" not in name
