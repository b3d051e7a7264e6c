"""Opening a delivery: what it is shows in its first bytes, not in its name.

Examples:
    >>> with open_source(Path("delivery.tar.gz"), Path("/var/tmp")) as source:  # doctest: +SKIP
    ...     data = source.read(0, limit=1 << 20)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import Enum, auto
from pathlib import Path

from bcd.admission.rules import DeliveryError
from bcd.admission.slides.dicom import MARK_BYTES, begins_as_dicom
from bcd.admission.slides.names import PICTURE_SUFFIXES, SLIDE_SUFFIXES
from bcd.admission.sources import tars, zips
from bcd.admission.sources.containers import archive_kind, describe_file, is_table
from bcd.admission.sources.dicom_names import DicomNamedSource
from bcd.admission.sources.folders import FolderSource, is_folder, walk
from bcd.admission.sources.hazards import clean_name
from bcd.admission.sources.source import Source
from bcd.errors import NotFoundError
from bcd.patches import is_patch_of_another_format


class Kind(Enum):
    """What a delivery is."""

    FOLDER = auto()
    ZIP = auto()
    TAR = auto()
    PICTURE = auto()


def _find_kind(path: Path) -> Kind:
    """Finds what a delivery is; a single slide or picture, which alone goes by its name, is a delivery of one file.

    Raises:
        BcdError: It is missing.
        DeliveryError: It cannot be read, or is nothing that can be opened.
    """
    try:
        if path.is_dir():
            return Kind.FOLDER
        if not path.exists():
            raise NotFoundError(f"There is no delivery {path}.", "Check the path.")
        if path.is_file() and (kind := _find_file_kind(path)) is not None:
            return kind
    except OSError as error:
        raise DeliveryError("unreadable", f"{path} cannot be read: {error.strerror}.") from error
    if is_table(path):
        raise DeliveryError("labels-alone", f"{path} is a table, without patches that it may label.")
    rule, what = describe_file(path) if path.is_file() else ("not-a-file", "is no file: a pipe or a device")
    raise DeliveryError(rule, f"{path} {what}.")


@contextmanager
def open_source(path: Path, scratch: Path) -> Iterator[Source]:
    """Opens a delivery; its DICOM files are named as such, whatever it calls them.

    Args:
        path: A folder, a zip, a tar (plain or compressed with gzip), or a single slide or picture.
        scratch: Folder for temporary files, of which none is left.

    Raises:
        BcdError: It is missing.
        DeliveryError: It is none of these, is damaged or not whole, or is absurd in number or size of what is in it.
    """
    match _find_kind(path):
        case Kind.FOLDER:
            yield DicomNamedSource(FolderSource(path))
        case Kind.PICTURE:
            yield DicomNamedSource(FolderSource(path.parent, only=path.name))
        case Kind.ZIP:
            with closing(zips.ZipSource(path)) as source:
                yield DicomNamedSource(source)
        case Kind.TAR:
            with tars.open_tar(path, scratch) as tar:
                yield DicomNamedSource(tar)


def list_delivered_names(path: Path) -> Iterator[str]:
    """Yields the paths of the files in a delivery as far as it is asked for them; unpacks and reads no file.

    Raises:
        BcdError: As `open_source`, but of a tar only what shows as far as it is asked.
    """
    match _find_kind(path):
        case Kind.FOLDER:
            yield from (clean_name(name) for name, state in walk(path) if not is_folder(state))
        case Kind.PICTURE:
            yield clean_name(path.name)
        case Kind.ZIP:
            with closing(zips.ZipSource(path)) as source:
                yield from source.names
        case Kind.TAR:
            yield from tars.list_tar_names(path)


def is_whole_archive(path: Path) -> bool:
    """Whether an archive has its end; True of what is no archive, of which that cannot be seen.

    Raises:
        BcdError: As `_find_kind`.
    """
    match _find_kind(path):
        case Kind.ZIP:
            return zips.is_whole_zip(path)
        case Kind.TAR:
            return tars.is_whole_tar(path)
        case _:
            return True


def _find_file_kind(path: Path) -> Kind | None:
    with path.open("rb") as file:
        head = file.read(MARK_BYTES)
    if is_table(path):  # a spreadsheet is a zip inside
        return None
    if head[:4] in {b"PK\3\4", b"PK\5\6"}:
        return Kind.ZIP
    if tars.is_tar(path):
        return Kind.TAR
    is_picture = path.suffix.lower() in SLIDE_SUFFIXES | PICTURE_SUFFIXES or begins_as_dicom(head)
    if (is_picture or is_patch_of_another_format(path.name)) and archive_kind(head) is None:
        return Kind.PICTURE
    # A zip may have something before it, such as the program that unpacks it.
    return Kind.ZIP if zips.is_whole_zip(path) else None
