"""Zips that are damaged, lie, or attack; each holds two whole patches of its own patient."""

from __future__ import annotations

import bz2
import dataclasses
import lzma
import stat
import struct

from cases import ADMITTED, BadDelivery, name_of, patch
from zip_writer import FULL, Member, deflated, zip64, zip_of

LONG = "9" * 60_000


class _Zips:
    """Makes the cases of one patient after the other."""

    def __init__(self) -> None:
        self.cases: list[BadDelivery] = []
        self.begin()

    def begin(self) -> None:
        """Takes the next patient: p, two whole patches, and the path of a third."""
        self.p = f"Z{len(self.cases):02}"
        self.whole = [Member(name_of(self.p, place), patch()) for place in (0, 1)]
        self.path = name_of(self.p, 2)

    def add(self, what: str, data: bytes, *fates: tuple[str, str], spoilt: int = 0) -> None:
        """Adds a delivery of the whole patches, the last ones of which may be spoilt, and of others."""
        whole = [(one.name, ADMITTED) for one in self.whole[: 2 - spoilt]]
        self.cases.append(BadDelivery(f"zip: {what}", f"{self.p}.zip", data, (*whole, *fates)))
        self.begin()

    def refuse(self, what: str, data: bytes, error: str) -> None:
        """Adds a delivery that is not opened."""
        self.cases.append(BadDelivery(f"zip: {what}", f"{self.p}.zip", data, error=error))
        self.begin()

    def beside(self, what: str, fate: str, shown: str | None = None, /, **wrong: object) -> None:
        """Adds a delivery of the whole patches and one that is wrong."""
        one = Member(self.path, patch())
        one = dataclasses.replace(one, **wrong)
        self.add(what, zip_of(*self.whole, one), (one.name if shown is None else shown, fate))


def bad_zips() -> list[BadDelivery]:
    """Returns every case."""
    zips = _Zips()
    for part in (_paths, _kinds, _members, _sizes, _bombs, _lists, _ends):
        part(zips)
    return zips.cases


def _paths(zips: _Zips) -> None:
    for what, form, shown in (
        ("a path that climbs out", "../{}", None),
        ("a path that climbs out from within", "a/b/../../../{}", None),
        ("a path that climbs and stays", "a/../{}", None),
        ("a path that climbs out, of Windows", "..\\..\\{}", "../../{}"),
        ("an absolute path", "/tmp/{}", None),
        ("a path that begins with two slashes", "//tmp/{}", "/tmp/{}"),
        ("a drive", "C:\\{}", "C:/{}"),
        ("a drive without a slash", "C:{}", None),
        ("a share of Windows", "\\\\server\\share\\{}", "/server/share/{}"),
        ("a NUL", "{}\0.txt", r"{}\x00.txt"),
        ("only ..", "..", None),
        ("60,000 characters", LONG + "/{}", LONG[:1024] + "…"),
        ("no name", "", None),
    ):
        path = zips.path
        zips.beside(what, "unsafe-path", (shown or form).format(path), name=form.format(path))
    slide, part = Member(f"{zips.p}.mrxs", b"x"), Member(f"{zips.p}/../../../escaped", patch())
    fates = [(slide.name, "unreadable"), (part.name, "unsafe-path")]
    zips.add("a part of a slide climbs out", zip_of(*zips.whole, slide, part), *fates)
    zips.beside("backslashes", ADMITTED, zips.path, name=zips.path.replace("/", "\\"))
    zips.beside("a path with . and //", ADMITTED, zips.path, name="./" + zips.path.replace("/", "/.//"))
    zips.beside("a path that is no UTF-8", "name", "é.png", name="\udc82.png")


def _kinds(zips: _Zips) -> None:
    for what, kind in {
        "link": stat.S_IFLNK,
        "pipe": stat.S_IFIFO,
        "socket": stat.S_IFSOCK,
        "character device": stat.S_IFCHR,
        "block device": stat.S_IFBLK,
        "folder with bytes": stat.S_IFDIR,
    }.items():
        zips.beside(f"a {what}", "not-a-file", data=b"/etc/passwd", mode=kind | 0o777)
    inner = zip_of(Member("inner.png", patch()))
    for suffix in ("zip", "tar", "tar.gz", "TGZ", "7z", "rar", "bz2", "xz", "zst"):
        zips.beside(f"a .{suffix} in it", "nested-archive", name=f"{zips.p}/more.{suffix}", data=inner)
    for part in ("z01", "zip.001", "7z.002", "part3.rar", "r00"):
        zips.beside(f"a .{part} in it", "split", name=f"{zips.p}/more.{part}", data=inner)
    zips.beside("a zip in it, named .png", "nested-archive", data=inner)
    zips.beside("a zip in it, named as nothing", "nested-archive", name="more", data=inner)
    zips.beside("an empty member", "empty", data=b"")


def _members(zips: _Zips) -> None:
    data = patch()
    zips.beside("a wrong checksum", "unreadable", crc=1)
    zips.beside("a bit flipped", "unreadable", data=data, raw=data[:999] + bytes([data[999] ^ 1]) + data[1000:])
    zips.beside("no local header", "unreadable", signature=b"PK\7\7")
    zips.beside("another path in the local header", ADMITTED, local=zips.path.replace("class0", "class1"))
    zips.beside("a local path that reaches too far", "unreadable", local_length=60_000)
    zips.beside("a local path that begins too late", "unreadable", local_length=9)
    zips.beside("an encrypted member", "encrypted", flags=1)
    zips.beside("a member with strong encryption", "encrypted", flags=0x41, method=99)
    zips.beside("sizes after the data", ADMITTED, flags=8)
    zips.beside("bzip2", "compression", data=data, method=12, raw=bz2.compress(data))
    zips.beside("LZMA", "compression", data=data, method=14, raw=lzma.compress(data))
    for method in (1, 6, 9, 93, 98, 65_535):
        zips.beside(f"method {method}", "compression", method=method)
    zips.beside("deflated noise", "unreadable", data=data, method=8, raw=data)
    zips.beside("deflated, cut", "unreadable", data=data, method=8, raw=deflated(data)[:-50])
    zips.beside("deflated, and more bytes", ADMITTED, data=data, method=8, raw=deflated(data) + b"more")
    zips.beside("deflated nothing", "unreadable", data=data, method=8, raw=b"")
    zips.beside("stored and said to be deflated", "unreadable", data=data, method=8, raw=data)
    path, same = zips.path, patch()
    zips.add(
        "a name twice",
        zip_of(*zips.whole, *[Member(path, patch()) for _ in range(2)]),
        *[(path, "duplicate-cell")] * 2,
    )
    whole = zips.whole
    zips.add("a name twice, the same bytes", zip_of(*whole, whole[0]), (whole[0].name, "duplicate-cell"))
    both = [Member(zips.path, same), Member(zips.path.replace("0.png", "1.png").replace("/0/", "/1/"), same)]
    zips.add("two labels", zip_of(*zips.whole, *both), *[(one.name, "two-labels") for one in both])


def _sizes(zips: _Zips) -> None:
    data = patch()
    zips.beside("declares a byte less", "bomb", data=data, size=len(data) - 1, method=8)
    zips.beside("declares nothing", "bomb", size=0, method=8)
    zips.beside("declares a byte more", "unreadable", data=data, size=len(data) + 1, method=8)
    zips.beside("stored, declares a byte less", "bomb", data=data, size=len(data) - 1)
    zips.beside("stored, declares a byte more", "unreadable", data=data, size=len(data) + 1)
    zips.beside("has fewer bytes than it says", "unreadable", data=data, raw=data, packed=len(data) - 9)
    zips.beside("has bytes beyond the archive", "unreadable", packed=FULL - 1)
    zips.beside("declares 4 GiB", "bomb", size=FULL - 1, method=8)
    zips.beside("begins beyond the archive", "unreadable", offset=FULL - 1)
    zips.beside("begins in the list", "unreadable", offset=17_500)
    for value in (2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1):
        zips.beside(f"declares {value:,} bytes", "bomb", size=FULL, extra=zip64(value), method=8)
        zips.beside(f"has {value:,} bytes", "unreadable", packed=FULL, extra=zip64(value))
        zips.beside(f"begins at {value:,}", "unreadable", offset=FULL, extra=zip64(value))
    zips.beside("zip64 without its field", "unreadable", size=FULL, packed=FULL)
    zips.beside("zip64 with half a field", "unreadable", packed=FULL, extra=zip64(9)[:6])
    zips.beside("zip64 with a field that reaches too far", "unreadable", packed=FULL, extra=b"\1\0\xff\xff")
    zips.beside("an extra field of garbage", ADMITTED, extra=b"\xff" * 11)


def _bombs(zips: _Zips) -> None:
    zeros = bytes(11 << 20)
    zips.beside("zeros", "bomb", data=zeros, method=8)
    zips.beside("zeros within bounds", "too-large", data=zeros[: 9 << 20], method=8)
    zips.beside("zeros that are said to be few", "bomb", data=zeros, method=8, size=6000)
    for what, copies in (("two members", 1), ("300 members", 299)):
        first, kernel = zips.whole
        last = Member(zips.path, patch())
        place = len(zip_of(first)) - len(zip_of(dataclasses.replace(first, listed_only=True)))
        copy = dataclasses.replace(kernel, name=name_of(zips.p, 1, 1), offset=place, listed_only=True)
        data = zip_of(first, kernel, last, *[copy] * copies)
        bombs = [(kernel.name, "bomb"), *[(copy.name, "bomb")] * copies]
        zips.add(f"{what}, one kernel", data, *bombs, (last.name, ADMITTED), spoilt=1)
    quoted = Member(name_of(zips.p, 3), b"", offset=20, packed=9000, listed_only=True)
    last = Member(zips.path, patch())
    bombs = [(one.name, "bomb") for one in (*zips.whole, quoted)]
    zips.add("a member quotes the others", zip_of(*zips.whole, last, quoted), *bombs, (last.name, ADMITTED), spoilt=2)


def _lists(zips: _Zips) -> None:
    for what, wrong in {
        "a header in the list is none": {"listing": b"PK\1\1"},
        "an extra field reaches beyond the list": {"extra_length": 60_000},
        "an extra field is said to be longer": {"extra_length": 4},
        "a zip64 field reaches beyond the archive": {"extra_length": 60_000, "packed": FULL, "extra": zip64(1)[:4]},
        "a field before the zip64 one reaches beyond": {"extra_length": 60_000, "size": FULL, "extra": b"\2\0\xff\0"},
    }.items():
        one = dataclasses.replace(Member(zips.path, patch()), **wrong)  # type: ignore[arg-type]
        zips.refuse(what, zip_of(*zips.whole, one), "damaged")
    for count in (0, 1, 3, 65_534):
        zips.refuse(f"says {count:,} members instead of 2", zip_of(*zips.whole, members_said=count), "damaged")
    for what, said, error in (
        ("shorter", {"length_said": 99}, "several zips in one, or damaged"),
        ("earlier", {"start_said": 9}, "several zips in one, or damaged"),
        ("longer", {"length_said": FULL - 1}, "whole zip"),
        ("later", {"start_said": 60_000}, "whole zip"),
        ("4 GiB later", {"start_said": FULL - 1}, "whole zip"),
    ):
        zips.refuse(f"the list is said to be {what}", zip_of(*zips.whole, **said), error)
    secret = [dataclasses.replace(one, flags=1) for one in zips.whole]
    zips.refuse("all encrypted", zip_of(*secret), "encrypted 2")
    large = [dataclasses.replace(one, method=9) for one in zips.whole]
    zips.refuse(
        "all by Deflate64", zip_of(*large), "packed by Deflate64, as Windows Explorer does with large folders"
    )
    zips.refuse("a zip alone in it", zip_of(Member("a/more.zip", zip_of(*zips.whole))), "hand it over on its own")


def _ends(zips: _Zips) -> None:
    whole = zip_of(*zips.whole)
    for what, data in {
        "its first half": whole[: len(whole) // 2],
        "a byte is missing": whole[:-1],
        "the last 22 bytes are missing": whole[:-22],
        "the last 100 bytes are missing": whole[:-100],
        "four bytes": b"PK\3\4",
        "zeros after its middle": whole[:6000] + bytes(len(whole) - 6000),
        "its first half is missing": whole[len(whole) // 2 :],
        "the comment is cut": zip_of(*zips.whole, comment=b"a word")[:-1],
    }.items():
        zips.refuse(what, data, "whole zip")
    folders = Member("a/", b""), Member("a/b/", b"", mode=0o40755)
    zips.refuse("nothing", zip_of(), "holds no files")
    zips.refuse("folders alone", zip_of(*folders), "holds no files")
    zips.refuse("litter alone", zip_of(Member(".DS_Store", b"x")), "holds no files")
    zips.refuse("a note alone", zip_of(Member("note.txt", b"x")), "note.txt is not named as a patch")
    zips.refuse("a patch that is none", zip_of(Member(zips.path, b"x")), "Nothing in")
    zips.refuse("two zips in one", whole + zip_of(*zips.whole), "several zips in one, or damaged")
    zips.refuse("a comment like an end", zip_of(*zips.whole, comment=b"PK\5\6" + bytes(18)), "several zips in one")
    zips.add("a comment", zip_of(*zips.whole, comment=b"a word\0" * 9))
    zips.add("a program before it", zip_of(*zips.whole, before=b"MZ" + bytes(3000)))
    zips.add("bytes after it", zip_of(*zips.whole) + b"\r\n")
    zips.refuse("the second of two disks", zip_of(*zips.whole, disk=1), "the last of 2 parts of a split zip")
    record = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 2**63, 2**63, 2**63, 2**63)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, 2**64 - 1, 1)
    whole = zip_of(*zips.whole, members_said=0xFFFF, length_said=FULL, start_said=FULL)
    zips.refuse("zip64 of 2^63 members", whole[:-22] + record + locator + whole[-22:], "whole zip")
    zips.refuse("zip64 without its record", whole[:-22] + locator + whole[-22:], "whole zip")
