"""What a delivery's listing alone says: which names are litter, which are not safe, and how they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bcd.admission.sources.hazards import MAX_NAME, clean_name, clean_names, find_name_hazards, name_hazard
from bcd.admission.sources.member_names import MemberNames, ShownNames
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


_NAMES = st.lists(
    st.one_of(
        st.text("aé.\\/:\n ", max_size=8),
        st.sampled_from(
            [
                "8867/0/8867_idx5_x1_y1_class0.png",
                "/x.png",
                "C:x.png",
                "a/../x.png",
                "x.zip",
                "x.part2.rar",
                "./x.png",
            ]
        ),
    ),
    max_size=20,
)


@given(_NAMES)
def test_many_names_are_cleaned_as_each_alone(names: list[str]) -> None:
    assert list(clean_names(names)) == [clean_name(name) for name in names]


@given(_NAMES)
def test_hazards_of_many_names_are_those_of_each_alone(names: list[str]) -> None:
    clean = [clean_name(name) for name in names]
    alone = {place: name_hazard(name) for place, name in enumerate(clean) if name_hazard(name) is not None}
    assert find_name_hazards(MemberNames(clean)) == alone


def test_a_name_that_is_too_long_is_cut_and_a_hazard_among_many_others() -> None:
    names = ["a.png", "x" * 2000 + ".png", "b.png"]
    assert list(clean_names(names)) == [clean_name(name) for name in names]
    assert list(find_name_hazards(MemberNames(clean_names(names)))) == [1]


@given(st.lists(st.text("ab/é日", max_size=4)), st.lists(st.text("ab/é日", max_size=4)))
def test_names_that_lie_close_together_are_those_that_were_given(first: list[str], then: list[str]) -> None:
    names = MemberNames(first)
    names.extend(iter(then))
    given_names = [*first, *then]
    assert list(names) == given_names
    assert [names[place] for place in range(len(names))] == given_names
    assert (names[1:3], names[::-1]) == (given_names[1:3], given_names[::-1])
    assert [line.as_py() for line in names.lines()] == [f"\n{name}" for name in given_names]
    assert list(ShownNames(names, str.upper)) == [name.upper() for name in given_names]


def test_many_names_are_taken_apart_a_block_at_a_time() -> None:
    given_names = [f"{number}/é.png" for number in range(10_000)]
    names = MemberNames(given_names)
    assert [name for _, block in names.blocks() for name in block] == given_names
    assert max(len(block) for _, block in names.blocks()) < len(names)
    assert names[-1] == given_names[-1]
    with pytest.raises(IndexError):
        names[10_000]
