"""Whatever bytes and names arrive: no crash, nothing written elsewhere, every file counted once."""

from __future__ import annotations

import io
import random
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from bcd.admission.admit import admit
from bcd.admission.png import check_bytes, decode_patch, strip_text
from bcd.admission.rules import RULES, Refusal, check_folders, folder_label, refuse_off_grid
from bcd.admission.sources.hazards import clean_name, name_hazard
from bcd.admission.sources.open import list_delivered_names, open_source
from bcd.admission.sources.source import Source, UnreadableFileError
from bcd.errors import BcdError
from bcd.patches import Hospital, PatchName
from bcd.settings import load_settings
from bcd.store.delivery_queries import list_batches, list_stored_deliveries, list_stored_refusals
from bcd.store.hospitals import declare_hospital
from bcd.store.sign_off import SignOff
from bcd.store.store import open_store

sys.path.insert(0, str(Path(__file__).parent / "malformed"))

from bad_pictures import bad_pictures
from bad_tars import END, member
from cases import PALETTE, RGBA, chunk, header, name_of, noise, packed, patch, png
from zip_writer import Member, zip_of

PICTURES = [patch(), *(case.data for case in bad_pictures() if 0 < len(case.data) < 20_000)]
CHUNKS = [
    *(header(colour=colour) for colour in (2, PALETTE, RGBA)),
    *(packed(noise(*shape)) for shape in ((50, 50, 3), (50, 50), (50, 50, 4))),
    chunk(b"PLTE", noise(256, 3).tobytes()),
    *(chunk(kind, bytes(8)) for kind in (b"acTL", b"gAMA", b"iCCP", b"eXIf", b"bKGD", b"hIST", b"cICP", b"tEXt")),
]
MEMBERS = {name_of("A", place): patch() for place in range(3)}

LIKELY = [
    b"\0",
    b"\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff",
    b"\x80" * 8,
    b"IHDR",
    b"IDAT",
    b"PK\1\2",
    b"PK\5\6",
    b"../",
]
"""Bytes that a mutation puts in."""


@st.composite
def mutated(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """Damages one of some files: bytes changed, cut out, doubled, or put in."""
    data = draw(st.sampled_from(originals))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.one_of(st.integers(0, 8), st.integers(0, len(data))))
        match draw(st.sampled_from(["flip", "cut", "double", "put", "swap"])):
            case "flip" if data:
                data = data[:place] + bytes([data[place] ^ 1 << draw(st.integers(0, 7))]) + data[place + 1 :]
            case "cut":
                data = data[:place] + data[place + length :]
            case "double":
                data = data[: place + length] + data[place:]
            case "put":
                piece = draw(st.one_of(st.sampled_from(LIKELY), st.binary(max_size=8)))
                data = data[:place] + piece + data[place + len(piece) :]
            case _:
                data = data[place:] + data[:place]
    return data


NAMES = st.from_regex(r"[A-Za-z0-9-]{1,64}_idx[0-9]{1,6}_x[0-9]{1,7}_y[0-9]{1,7}(_class[01])?\.png", fullmatch=True)


@given(NAMES)
def test_what_is_read_off_a_name_is_written_back_as_an_equal_name(text: str) -> None:
    name = PatchName.parse(text)
    assert name is not None
    assert PatchName.parse(name.format()) == name
    check = [refuse_off_grid(name.x, name.y), *(check_folders(["a", "0"], name, top) for top in range(3))]
    assert {one.rule for one in check if one is not None} <= {"off-grid", "off-slide", "folder"}
    assert folder_label(["a", "0"], name) == (None if name.patient == "0" else 0)


@given(NAMES, st.integers(0, 90), st.text(max_size=2))
def test_a_name_with_other_characters_is_none_or_a_plain_one(text: str, place: int, put: str) -> None:
    name = text[:place] + put + text[place + 1 :]
    parsed = PatchName.parse(name)
    if parsed is not None:
        assert name.isascii()
        assert name.isprintable()
        assert {"/", "\\", " ", "."}.isdisjoint(name.removesuffix(".png"))
        assert PatchName.parse(parsed.format()) == parsed


@given(
    st.one_of(
        st.text(max_size=30), st.lists(st.sampled_from(["..", ".", "a", "", "\\", "C:", "\0", "\n"])).map("/".join)
    )
)
def test_a_cleaned_path_stays_within_its_folder_or_is_a_hazard(text: str) -> None:
    name = clean_name(text)
    assert name.isprintable()
    hazard = name_hazard(name)
    if hazard is None:
        assert Path("/some/folder", name).resolve().is_relative_to("/some/folder")
        assert not Path(name).is_absolute()


def _assert_is_patch_or_refused(data: bytes) -> None:
    strip_text(data)
    refusal = check_bytes(data)
    decoded = decode_patch(data) if refusal is None else refusal
    if isinstance(decoded, Refusal):
        assert decoded.rule in RULES
        assert decoded.message.endswith(".")
    else:
        assert (decoded.shape, decoded.dtype) == ((50, 50, 3), np.uint8)


@examples(max_examples=500, deadline=None)
@given(mutated(PICTURES))
def test_a_damaged_picture_is_a_whole_patch_or_refused(data: bytes) -> None:
    _assert_is_patch_or_refused(data)


@examples(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(CHUNKS), min_size=1, max_size=6), st.data())
def test_any_chunks_in_any_order_are_a_whole_patch_or_refused(chunks: list[bytes], data: st.DataObject) -> None:
    """Their checksums are right, so that what reads them looks into them."""
    changed = []
    for one in chunks:
        content = bytearray(one[8:-4])
        for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=3)):
            content[place] = data.draw(st.integers(0, 255))
        changed.append(chunk(one[4:8], bytes(content)))
    _assert_is_patch_or_refused(png(*changed))


@pytest.mark.parametrize("seed", range(4))
def test_a_patch_with_one_bit_wrong_never_has_other_pixels(seed: int) -> None:
    pixels = noise()
    whole = patch(pixels)
    generator = random.Random(seed)  # Hypothesis would shrink what is alike everywhere
    for _ in range(400):
        place = generator.randrange(len(whole))
        data = whole[:place] + bytes([whole[place] ^ 1 << generator.randrange(8)]) + whole[place + 1 :]
        if check_bytes(data) is None:
            decoded = decode_patch(data)
            assert isinstance(decoded, Refusal) or np.array_equal(decoded, pixels)


def _as_zip(method: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in MEMBERS.items():
            archive.writestr(name, data)
    return file.getvalue()


def _as_tar(mode: str, form: int) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=form) as archive:  # type: ignore[call-overload]
        for name, data in MEMBERS.items():
            info = tarfile.TarInfo(name if form != tarfile.PAX_FORMAT else f"{'ä' * 60}/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


ARCHIVES = [
    _as_zip(zipfile.ZIP_STORED),
    _as_zip(zipfile.ZIP_DEFLATED),
    zip_of(*[Member(name, data, flags=8) for name, data in MEMBERS.items()], comment=b"a word"),
    _as_tar("w", tarfile.PAX_FORMAT),
    _as_tar("w", tarfile.GNU_FORMAT),
    _as_tar("w:gz", tarfile.USTAR_FORMAT),
    b"".join(member(name, data) for name, data in MEMBERS.items()) + member("x", b"", b"S") + END,
]


def _read_all(source: Source, folder: Path) -> None:
    for number in range(len(source.names)):
        assert source.names[number].isprintable()
        hazard = source.hazard(number)
        assert hazard is None or hazard[0] in RULES
        assert source.size(number) >= 0
        for limit in (0, 100, 1 << 20):
            with suppress(UnreadableFileError):
                assert len(source.read(number, limit)) <= limit
        target = folder / "copy"
        try:
            source.copy(number, target)
            assert target.stat().st_size == source.size(number)
        except UnreadableFileError:
            assert not target.exists()
        target.unlink(missing_ok=True)


@examples(max_examples=400, deadline=None)
@given(mutated(ARCHIVES))
def test_a_damaged_archive_is_refused_or_gives_bytes(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "delivery")
        path.write_bytes(data)
        try:
            listed = sorted(list_delivered_names(path))
            with open_source(path, Path(folder, "scratch")) as source:
                assert sorted(source.names) == listed
                _read_all(source, Path(folder))
        except BcdError:
            pass
        left = {one.relative_to(folder).as_posix() for one in Path(folder).rglob("*")}
        assert left <= {"delivery", "scratch"}


def _place(number: int) -> str:
    return name_of(f"P{number % 3}", number // 3 % 3, number % 2)


FILES: dict[str, Callable[[int], tuple[str, bytes]]] = {
    "a patch": lambda n: (_place(n), PATCHES[n]),
    "a patch without a label": lambda n: (f"P{n % 3}/P{n % 3}_idx1_x{1 + 50 * n}_y51.png", PATCHES[n]),
    "a patch of other pixels": lambda n: (_place(n), PATCHES[-1 - n]),
    "a copy": lambda n: (_place(n).replace("/0/", "/").replace("/1/", "/"), PATCHES[n]),
    "another's patch": lambda n: (_place(n + 1), PATCHES[n]),
    "no picture": lambda n: (_place(n), b"See attachment."),
    "no name": lambda n: (f"P0/IMG_{n}.png", PATCHES[n]),
    "litter": lambda n: (f"P{n}/.DS_Store", b"x"),
    "a slide": lambda n: (f"P{n % 3}.svs", b"See attachment."),
    "a slide of several files": lambda n: (f"P{n % 3}.mrxs", b"See attachment."),
    "a table of labels": lambda n: (f"{n}/labels.csv", f"patient,slide,x,y,label\nP0,1,{1 + 50 * n},51,1".encode()),
    "no table": lambda n: (f"{n}/labels.csv", b"label\n1"),
    "a path that climbs out": lambda n: (f"P{n % 3}/../../escaped.png", b"x"),
}
"""Files of a delivery, by what they are; with few numbers, so that they meet."""

PATCHES: list[bytes] = [patch() for _ in range(24)]

DELIVERIES = st.lists(st.tuples(st.sampled_from(list(FILES)), st.integers(0, 11)), min_size=1, max_size=14)


@pytest.fixture(scope="module")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which nothing was admitted yet, to copy."""
    home = tmp_path_factory.mktemp("empty") / "home"
    store = open_store(load_settings(home))
    declare_hospital(store, "east", "pseudonyms", SignOff("test", "test"))
    store.engine.dispose()
    return home


@examples(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kinds=DELIVERIES)
def test_every_file_of_any_delivery_is_counted_once(kinds: list[tuple[str, int]], empty_home: Path) -> None:
    files = [FILES[kind](number) for kind, number in kinds]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "delivery.zip")
        path.write_bytes(zip_of(*[Member(name, data) for name, data in files]))
        settings = load_settings(Path(shutil.copytree(empty_home, Path(folder, "home"))))
        store = open_store(settings)
        try:
            first = admit(store, path, Hospital("east"))
        except BcdError:
            assert list_batches(store) == []
            [whole] = list_stored_deliveries(store)
            right = sum(kind == "a table of labels" for kind, _ in kinds)  # where no patch is, a table may be
            assert whole.admitted == 0
            assert 0 <= whole.files - whole.refused_files - whole.ignored <= right
            return
        refused = list_stored_refusals(store, first.id)
        tables = Counter(name for name, _ in files if name.endswith("labels.csv"))
        tables -= Counter(one.name for one in refused)
        assert first.files == len(files) == first.admitted_files + len(refused) + first.ignored
        assert first.admitted == first.admitted_files - tables.total()  # tables are taken, and no patches
        again = admit(store, path, Hospital("east"))
        assert vars(again) == vars(first) | {"already": True}
        assert list_stored_refusals(store, first.id) == refused
        assert [batch.batch for batch in list_batches(store)] == [first.batch]
        assert {one.name for one in Path(folder).iterdir()} <= {"delivery.zip", "home", "home.keys"}
