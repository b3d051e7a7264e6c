"""A bucket behind an `s3://` address, through fsspec, whose every error says what a person can do about it.

Credentials, region and endpoint are those of the store's own tools: for S3 the `AWS_*` variables and files,
`AWS_ENDPOINT_URL` for a store other than Amazon's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bcd.errors import BcdError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_AT_ONCE = 256  # objects that are asked for in one go
_SECRET = re.compile(r"(?<=://)[^/@\s]*@|\?[^\s'\")]*")


@dataclass(frozen=True)
class Bucket:
    """What lies below one address; a key is a path below it, with slashes.

    Every method raises UnavailableError where the store is out of reach or forbids it, and NotFoundError where a key
    that it needs, or the bucket, is not there.
    """

    url: str
    system: AbstractFileSystem
    root: str

    def read(self, key: str) -> bytes | None:
        """Returns the bytes of an object; None where there is no such object in the bucket."""
        with explain_remote_errors("The store", self.url):
            try:
                return bytes(self.system.cat_file(self._path(key)))
            except FileNotFoundError as error:
                if "NoSuchBucket" in repr(error.__cause__):
                    raise
                return None

    def read_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Returns the bytes of objects by their keys; of what is gone, nothing."""
        found: dict[str, bytes] = {}
        for start in range(0, len(keys), _AT_ONCE):
            paths = [self._path(key) for key in keys[start : start + _AT_ONCE]]
            with explain_remote_errors("The store", self.url):
                for path, data in self.system.cat(paths, on_error="return").items():
                    if isinstance(data, bytes):
                        found[path.removeprefix(f"{self.root}/")] = data
                    elif not isinstance(data, FileNotFoundError):
                        raise data
        return found

    def write(self, key: str, data: bytes) -> None:
        """Writes an object whole, instead of what is there."""
        with explain_remote_errors("The store", self.url):
            self.system.pipe_file(self._path(key), data)

    def upload(self, source: Path, key: str) -> None:
        """Writes a file as an object, whole."""
        with explain_remote_errors("The store", self.url):
            self.system.put_file(str(source), self._path(key))

    def download(self, key: str, target: Path) -> None:
        """Copies an object into a file."""
        with explain_remote_errors("The object", self.tell(key)):
            self.system.get_file(self._path(key), str(target))

    def find(self, key: str) -> list[str]:
        """Returns the keys of all objects below a key, sorted."""
        with explain_remote_errors("The store", self.url):
            found = self.system.find(self._path(key))
        return sorted(str(path).removeprefix(f"{self.root}/") for path in found)

    def find_stamped(self, key: str) -> dict[str, str]:
        """Returns all objects below a key, each with what changes when it is written again."""
        with explain_remote_errors("The store", self.url):
            found = self.system.find(self._path(key), detail=True)
        stamps = {path: f"{seen.get('LastModified')} {seen.get('ETag')}" for path, seen in found.items()}
        return {str(path).removeprefix(f"{self.root}/"): stamp for path, stamp in stamps.items()}

    def delete(self, key: str) -> None:
        """Deletes an object; where there is none, this changes nothing."""
        with explain_remote_errors("The store", self.url):
            self.system.rm_file(self._path(key))

    def tell(self, key: str) -> str:
        """Returns the address of an object, for messages."""
        return f"{self.url}/{key}"

    def _path(self, key: str) -> str:
        return f"{self.root}/{key}"


def open_bucket(url: str) -> Bucket:
    """Opens what lies below an address; nothing is asked of it yet.

    Raises:
        UnavailableError: A package is missing.
    """
    with explain_remote_errors("The store", url):
        from fsspec.core import url_to_fs

        system, root = url_to_fs(url, use_listings_cache=False)  # other machines write to it
        return Bucket(url.rstrip("/"), system, root.rstrip("/"))


def hide_credentials(text: str) -> str:
    """Returns a URL, or a text that has one in it, without user, password and query, for messages."""
    return _SECRET.sub("", text)


@contextmanager
def explain_remote_errors(subject: str, url: str) -> Iterator[None]:
    """Turns whatever a file system raises into what a user can fix; each has errors of its own.

    Args:
        subject: What lies at the address, as in "The delivery".
        url: The address.
    """
    shown = hide_credentials(url)
    try:
        yield
    except BcdError:
        raise
    except Exception as error:
        name, reason = type(error).__name__, hide_credentials(str(error))
        match error:
            case ImportError():
                what, fix = f"needs a package that is missing ({reason})", "Run `pip install 'bcd[remote]'`."
            case FileNotFoundError():
                what, fix = f"is not there ({reason})", "Check the bucket and the path."
            case PermissionError():
                what, fix = f"may not be used ({reason})", "Check the credentials and what they allow."
            case _ if "Credential" in name:
                what = f"needs credentials ({reason})"
                fix = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what else the store asks for."
            case _:
                what, fix = f"is out of reach ({name}: {reason})", "Check the URL, the store and the network."
        kind = NotFoundError if isinstance(error, FileNotFoundError) else UnavailableError
        raise kind(f"{subject} {shown} {what}.", fix) from error
