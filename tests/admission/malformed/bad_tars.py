"""Tars that are damaged, lie, or attack, plain and compressed; each holds two whole patches of its own patient."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zlib

from cases import ADMITTED, BadDelivery, name_of, patch

END = bytes(1024)


class _Tars:
    """Makes the cases of one patient after the other."""

    def __init__(self) -> None:
        self.cases: list[BadDelivery] = []
        self.begin()

    def begin(self) -> None:
        """Takes the next patient: p, two whole patches, and the path of a third."""
        self.p = f"Y{len(self.cases):02}"
        names = [name_of(self.p, place) for place in (0, 1)]
        self.fates = [(name, ADMITTED) for name in names]
        self.whole = b"".join(member(name, patch()) for name in names)
        self.path = name_of(self.p, 2)

    def add(self, what: str, data: bytes, *fates: tuple[str, str], suffix: str = "tar") -> None:
        """Adds a delivery that is opened."""
        self.cases.append(BadDelivery(f"tar: {what}", f"{self.p}.{suffix}", data, (*self.fates, *fates)))
        self.begin()

    def beside(self, what: str, fate: str, shown: str, data: bytes, files: int = 1) -> None:
        """Adds a delivery of the whole patches and what is wrong: as many files, listed under one name."""
        self.add(what, self.whole + data + END, *[(shown, fate)] * files)

    def refuse(self, what: str, data: bytes, error: str = "damaged or not whole", suffix: str = "tar") -> None:
        """Adds a delivery that is not opened."""
        self.cases.append(BadDelivery(f"tar: {what}", f"{self.p}.{suffix}", data, error=error))
        self.begin()


def member(name: str, data: bytes, kind: bytes = tarfile.REGTYPE, **fields: bytes) -> bytes:
    """Returns a member, padded to whole blocks; fields are put into its header as they are."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    head = bytearray(info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")[-512:])
    for field, value in fields.items():
        place = {"size": 124, "link": 157, "sparse": 386, "path": 0}[field]
        head[place : place + len(value)] = value
    head[148:156] = b"        "
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + data + bytes(-len(data) % 512)


def pax(name: str, data: bytes, records: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    """Returns a member after an extended header."""
    return member("extended", records, kind) + member(name, data)


def record(key: bytes, value: bytes) -> bytes:
    """Returns a record of an extended header, as `LENGTH KEY=VALUE`."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length += 1
    return b"%d" % length + rest


def bad_tars() -> list[BadDelivery]:
    """Returns every case."""
    tars = _Tars()
    for part in (_members, _sizes, _extended, _ends, _packed):
        part(tars)
    return tars.cases


def _members(tars: _Tars) -> None:
    for what, form in {
        "a path that climbs out": "../{}",
        "a path that climbs out from within": "a/../../{}",
        "an absolute path": "/tmp/{}",
        "a drive": "C:/{}",
        "only ..": "..",
    }.items():
        path = form.format(tars.path)
        tars.beside(what, "unsafe-path", path, member(path, patch()))
    for what, kind in {
        "symbolic link": tarfile.SYMTYPE,
        "hard link": tarfile.LNKTYPE,
        "character device": tarfile.CHRTYPE,
        "block device": tarfile.BLKTYPE,
        "pipe": tarfile.FIFOTYPE,
        "member of unknown kind": b"Z",
        "volume header": b"V",
        "continued member of another volume": b"M",
    }.items():
        tars.beside(f"a {what}", "not-a-file", tars.path, member(tars.path, b"", kind, link=b"/etc/passwd"))
    tars.beside("a contiguous member", ADMITTED, tars.path, member(tars.path, patch(), tarfile.CONTTYPE))
    tars.beside("a member of the oldest kind", ADMITTED, tars.path, member(tars.path, patch(), tarfile.AREGTYPE))
    tars.beside("a path with .", ADMITTED, tars.path, member(f"./{tars.path}", patch()))
    tars.beside("backslashes", ADMITTED, tars.path, member(tars.path.replace("/", "\\"), patch()))
    tars.beside("a path that is no UTF-8", "name", r"\udcff.png", member("\udcff.png", patch()))
    tars.beside("a line end in the path", "name", r"a\n.png", member("a\n.png", patch()))
    tars.beside("a zip in it", "nested-archive", "more.zip", member("more.zip", b"PK\5\6" + bytes(18)))
    tars.beside("an empty member", "empty", tars.path, member(tars.path, b""))
    tars.beside("a sparse member", "unreadable", tars.path, member(tars.path, b"", tarfile.GNUTYPE_SPARSE))
    name = tars.path
    tars.beside("a name twice", "duplicate-cell", name, member(name, patch()) + member(name, patch()), 2)
    tars.beside("a folder", ADMITTED, tars.path, member("a/", b"", tarfile.DIRTYPE) + member(tars.path, patch()))


def _sizes(tars: _Tars) -> None:
    tars.refuse("8 GiB declared", tars.whole + member(tars.path, patch(), size=b"77777777777\0") + END)
    for what, size in {
        "a size that is no number": b"abcdefghijk\0",
        "a size below zero": b"\xff" * 11 + b"\xf0",
        "a size of 2^62": struct.pack(">BxxxQ", 0x80, 2**62),
        "a size of 2^63": struct.pack(">BxxxQ", 0x80, 2**63),
        "a size of 2^88": b"\x80" + b"\xff" * 11,
    }.items():
        tars.refuse(what, tars.whole + member(tars.path, b"", size=size) + END)
    tars.refuse(
        "a byte more declared than there is", tars.whole + member(tars.path, bytes(512), size=b"00000002001\0")
    )


def _extended(tars: _Tars) -> None:
    tars.beside(
        "a path in an extended header", ADMITTED, tars.path, pax("x", patch(), record(b"path", tars.path.encode()))
    )
    tars.beside(
        "an extended path climbs out", "unsafe-path", "../x.png", pax("x", patch(), record(b"path", b"../x.png"))
    )
    tars.beside(
        "an extended path with NUL", "unsafe-path", r"x\x00.png", pax("x", patch(), record(b"path", b"x\0.png"))
    )
    tars.beside("an extended path of nothing", "unsafe-path", "", pax("x", patch(), record(b"path", b"")))
    long = b"a" * 60_000
    tars.beside(
        "a path of 60,000 characters", "unsafe-path", "a" * 1024 + "…", pax("x", patch(), record(b"path", long))
    )
    tars.beside("comments", ADMITTED, tars.path, pax(tars.path, patch(), record(b"comment", b"a word") * 99))
    for what, value in {
        "2^63": b"9223372036854775808",
        "2^70": b"1180591620717411303424",
        "-1": b"-1",
        "-10^6": b"-1000000",
    }.items():
        tars.refuse(f"an extended size of {what}", tars.whole + pax(tars.path, patch(), record(b"size", value)) + END)
    sparse = (
        record(b"GNU.sparse.major", b"1")
        + record(b"GNU.sparse.minor", b"0")
        + record(b"GNU.sparse.realsize", b"9" * 18)
    )
    tars.beside("sparse, in an extended header", "unreadable", tars.path, pax(tars.path, b"0\n" + bytes(510), sparse))
    tars.refuse(
        "sparse, of a thousand million pieces", tars.whole + pax(tars.path, b"999999999\n" + bytes(502), sparse) + END
    )
    for what, records in {"without =": b"9 abcdef\n", "longer than the header": b"999 a=b\n"}.items():
        tars.beside(f"an extended header with records {what}", ADMITTED, tars.path, pax(tars.path, patch(), records))
    for what, records in {
        "of length 0": b"0 a=b\n",
        "of a million digits": record(b"comment", b"1" * 1_000_000),
        "that each hold all that follows": b"2 " * 250_000 + b"2 a=b\n",
        "of digits alone": b"1" * 1_000_000,
    }.items():
        tars.refuse(f"an extended header with records {what}", tars.whole + pax(tars.path, patch(), records) + END)
    tars.refuse(
        "an extended header of 2 MiB", tars.whole + pax(tars.path, patch(), record(b"a", bytes(2 << 20))) + END
    )
    tars.refuse("an extended header at the end", tars.whole + member("x", record(b"path", b"y"), tarfile.XHDTYPE))
    longname = member("././@LongLink", tars.path.encode() + b"\0", tarfile.GNUTYPE_LONGNAME)
    tars.beside("a long name", ADMITTED, tars.path, longname + member("x", patch()))
    tars.refuse("2,000 long names for one member", tars.whole + longname * 2000 + member("x", patch()) + END)


def _ends(tars: _Tars) -> None:
    whole = tars.whole
    tars.refuse("its first half", whole[: len(whole) // 2])
    tars.refuse("its end is missing", tars.whole)
    tars.refuse("a byte of its last member is missing", tars.whole[:-1])
    tars.refuse("a byte after its last member", tars.whole + b"\0")
    tars.refuse("another tar follows", tars.whole + END + tars.whole + END)
    tars.refuse("a word after its end", tars.whole + END + b"a word")
    tars.refuse("noise instead of a header", tars.whole + b"\xff" * 512 + END)
    tars.add("more zeros after its end", tars.whole + bytes(20_480))
    second = bytearray(tars.whole + END)
    second[len(tars.whole) // 2 + 150] ^= 1
    tars.refuse("the checksum of the second header", bytes(second))
    first = bytearray(tars.whole + END)
    first[150] ^= 1
    tars.refuse("the checksum of the first header", bytes(first), "neither a folder")
    tars.refuse("zeros", bytes(10_240), "neither a folder")
    tars.refuse("a header that is cut", tars.whole[:300], "neither a folder")
    tars.refuse("no bytes", b"", "has no bytes")
    tars.refuse("a text", b"See attachment.", "neither a folder")
    tars.refuse("a folder alone", member("a/", b"", tarfile.DIRTYPE) + END, "holds no files")
    tars.refuse("a note alone", member("note.txt", b"x") + END, "note.txt is not named as a patch")
    tars.refuse("a patch that is none", member(tars.path, b"x") + END, "Nothing in")


def _packed(tars: _Tars) -> None:
    for what, change in {
        "cut": lambda data: data[: len(data) // 2],
        "without checksum": lambda data: data[:-8],
        "without length": lambda data: data[:-4],
        "wrong checksum": lambda data: data[:-8] + bytes(4) + data[-4:],
        "wrong length": lambda data: data[:-4] + bytes(4),
        "a bit flipped": lambda data: data[:9000] + bytes([data[9000] ^ 1]) + data[9001:],
        "bytes after it": lambda data: data + b"a word",
        "half a second part": lambda data: data + data[:100],
    }.items():
        tars.refuse(f"gzip, {what}", change(gzip.compress(tars.whole + END)), suffix="tar.gz")
    for what, data in {
        "of no bytes": gzip.compress(b""),
        "of a text": gzip.compress(b"See attachment."),
        "of gzip": gzip.compress(gzip.compress(tars.whole + END)),
        "its header alone": gzip.compress(b"")[:10],
        "a name without end": b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * 99,
        "of a method that is none": b"\x1f\x8b\x07" + gzip.compress(tars.whole)[3:],
        "an extra field without end": b"\x1f\x8b\x08\x04" + bytes(6) + b"\xff\xff",
    }.items():
        tars.refuse(f"gzip {what}", data, "is a gzip file that holds no tar", "tar.gz")
    half = len(tars.whole) // 2
    parts = gzip.compress(tars.whole[:half]) + gzip.compress(tars.whole[half:] + END)
    tars.add("gzip in two parts", parts, suffix="tgz")
    tars.add("gzip, zeros after it", gzip.compress(tars.whole + END) + bytes(512), suffix="tgz")
    tars.refuse("gzip of 300 times its size", _bomb(tars), "a bomb", "tar.gz")
    for kind, pack, told in (
        ("bz2", bz2.compress, "is a bzip2 file"),
        ("xz", lzma.compress, "is an xz file"),
        ("zlib", zlib.compress, "neither a folder"),
    ):
        tars.refuse(f"{kind} instead of gzip", pack(tars.whole + END), told, f"tar.{kind}")
    for kind, data, told in (
        ("7z", b"7z\xbc\xaf\x27\x1c", "is a 7z archive."),
        ("tar", b"7z\xbc\xaf\x27\x1c", "is a 7z archive, whatever its name says."),
        ("rar", b"Rar!\x1a\7\1\0", "is a RAR archive."),
        ("part2.rar", b"Rar!\x1a\7\1\0", "is one part of a RAR archive that was split into several"),
        ("zst", b"\x28\xb5\x2f\xfd", "is a Zstandard file"),
        ("zip", b"<!DOCTYPE html><title>Log in", "is a web page"),
        ("svs", b"Rar!\x1a\7\1\0", "is a RAR archive, whatever its name says."),
    ):
        tars.refuse(f"{kind} instead of tar", data + bytes(99), told, kind)


def _bomb(tars: _Tars) -> bytes:
    """Returns what unpacks to 32 MiB, for a limit that a test sets lower than the 1 GiB of the engine."""
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb") as packed:
        packed.write(tars.whole + member("zeros", bytes(32 << 20)) + END)
    return file.getvalue()
