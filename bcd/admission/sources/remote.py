"""A delivery behind a URL, fetched whole before it is opened: whatever fsspec reads, such as `s3://BUCKET/KEY`.

Credentials, region and endpoint are those of the store's own tools: for S3 the `AWS_*` variables and files,
`AWS_ENDPOINT_URL` for a store other than Amazon's.

Examples:
    >>> with fetch_delivery("s3://east/2024-05.zip", Path("/var/tmp")) as path:  # doctest: +SKIP
    ...     path.name
    '2024-05.zip'
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bcd.errors import BcdError, UnavailableError
from bcd.files import partial_folder
from bcd.progress import Advance, track_progress
from bcd.store.bucket import explain_remote_errors, hide_credentials

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_AT_ONCE = 256  # files that are asked for in one go
_LARGE = 16 << 20  # bytes of a file that is read piece by piece
_PIECE = 8 << 20
_STAMPS = ("ETag", "etag", "checksum", "mtime", "last_modified", "LastModified", "modified")  # by file system


def is_delivery_url(text: str) -> bool:
    """Whether a delivery is named by a URL rather than a path."""
    return _URL.match(text) is not None


@contextmanager
def fetch_delivery(url: str, scratch: Path) -> Iterator[Path]:
    """Fetches what a URL names, one file or all below a prefix, and removes it after the block.

    Args:
        url: Such as `s3://BUCKET/KEY`, `https://…`, `sftp://…`, `file://…`.
        scratch: Folder for the copy, which keeps the name it has at the end of the URL.

    Raises:
        BcdError: It is not there, or has names that no folder can hold.
        UnavailableError: It is forbidden or out of reach, changes while it is fetched, or a package is missing.
    """
    with partial_folder(scratch) as folder:
        with explain_remote_errors("The delivery", url):
            target = _fetch_delivery_files(url, folder)
        yield target


def _fetch_delivery_files(url: str, folder: Path) -> Path:
    from fsspec.core import url_to_fs

    # Nothing remembered: it is listed again after it was fetched.
    system, root = url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
    target = folder / _name_fetched_delivery(root)
    before = _list_remote_files(system, root)
    if not before:
        raise FileNotFoundError(root)
    places = {name: _place_fetched_file(url, root, name, target) for name in before}
    folders = {parent for place in places.values() for parent in place.parents}
    if len(set(places.values())) < len(places) or not folders.isdisjoint(places.values()):
        raise BcdError(f"{hide_credentials(url)} holds names that cannot be files beside each other.", "Rename them.")
    for parent in folders:
        parent.mkdir(parents=True, exist_ok=True)
    with track_progress(f"Fetching {target.name}", sum(size for size, _ in before.values())) as advance:
        _fetch_files(system, places, before, advance)
    sizes = {name: place.stat().st_size for name, place in places.items()}
    if sizes != {name: size for name, (size, _) in before.items()} or _list_remote_files(system, root) != before:
        raise UnavailableError(
            f"{hide_credentials(url)} changed while it was fetched.", "Ingest it again when all of it is there."
        )
    return target


def _fetch_files(
    system: AbstractFileSystem, places: Mapping[str, Path], listed: Mapping[str, tuple[int, str]], advance: Advance
) -> None:
    # Progress is told by this thread: the file system's own belongs to an event loop.
    small = [name for name in places if listed[name][0] < _LARGE]
    for start in range(0, len(small), _AT_ONCE):
        names = small[start : start + _AT_ONCE]
        system.get(names, [str(places[name]) for name in names])
        advance(sum(listed[name][0] for name in names))
    for name in places.keys() - set(small):
        with system.open(name, "rb") as there, places[name].open("wb") as here:
            while piece := there.read(_PIECE):
                advance(here.write(piece))


def _list_remote_files(system: AbstractFileSystem, root: str) -> dict[str, tuple[int, str]]:
    """Lists files below a path, or itself if it is one, each with its size and what tells its content's version."""
    found = system.find(root, detail=True)
    listed = {}
    for name, seen in found.items():
        details = seen or system.info(name)
        if details.get("type") == "file" and not name.endswith("/"):  # a store's sign for an empty folder does
            stamp = next((str(details[key]) for key in _STAMPS if details.get(key)), "")
            listed[name] = (int(details["size"]), stamp)
    return listed


def _place_fetched_file(url: str, root: str, name: str, target: Path) -> Path:
    """Says where a file goes: an object's key may be any text, and must not lead out of the folder."""
    if name == root:
        return target
    inner = name.removeprefix(root).removeprefix("/")
    parts = inner.split("/")
    if not name.startswith(root) or "\0" in inner or not {"", ".", ".."}.isdisjoint(parts):
        raise BcdError(
            f"{hide_credentials(url)} holds {name!r}, which is no path below it.", "Rename or remove it there."
        )
    return target.joinpath(*parts)


def _name_fetched_delivery(root: str) -> str:
    path = urlsplit(root).path if "://" in root else root  # https keeps its URL; a key may well have a ? or #
    name = path.rstrip("/").rpartition("/")[2]
    return name if name not in {"", ".", ".."} else "delivery"
