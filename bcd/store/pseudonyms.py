"""Pseudonyms: what stands in bcd for a raw hospital's identifiers of patients.

A pseudonym is an HMAC-SHA256 of hospital and identifier under one key, so the same patient keeps it across
deliveries and nobody without the key finds the way back, nor tries identifiers one by one. The key is made at its
first use in `Settings.keys`, apart from the store; the catalog holds its fingerprint and refuses another key, which
would make every patient a new one.

Examples:
    >>> pseudonyms = open_pseudonyms(store, Hospital("east"))  # doctest: +SKIP
    >>> pseudonyms.patient("1950-03-14 Miller")  # doctest: +SKIP
    'PQ5N2ZC7XJ4A6WB3TKDMF'
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import tempfile
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from bcd.errors import BcdError, DamagedError
from bcd.files import lock_file
from bcd.patches import Hospital, PatientId
from bcd.settings import Settings
from bcd.store import tables
from bcd.store.hospitals import find_declared_hospital
from bcd.store.store import Store

KEY_BYTES = 32

_RESTORE = "Restore the key from its backup: with another one every patient would become a new one."


@dataclass(frozen=True)
class Pseudonyms:
    """Makes the pseudonyms of one hospital.

    Attributes:
        hospital: Whose identifiers it replaces.
    """

    hospital: Hospital
    _key: bytes = field(repr=False)

    def patient(self, identifier: str) -> PatientId:
        """Returns a patient's pseudonym: P and 20 letters and digits (100 bits)."""
        return PatientId("P" + base64.b32encode(self._digest("patient", identifier)).decode()[:20])

    def hide(self, text: str) -> str:
        """Returns what stands for any other text that may name somebody, such as a file's or an archive's name."""
        return f"hidden-{self._digest('text', text).hex()[:12]}"

    def _digest(self, kind: str, text: str) -> bytes:
        # Composed: the same name is spelt in two ways by the archives of two operating systems.
        message = "\0".join((kind, self.hospital, unicodedata.normalize("NFC", text)))
        return hmac.digest(self._key, message.encode("utf-8", "surrogatepass"), hashlib.sha256)


def open_pseudonyms(store: Store, hospital: Hospital) -> Pseudonyms | None:
    """Opens the pseudonyms of a hospital; None where its identifiers are pseudonyms already.

    The first use for any hospital makes the key, the first use for this one records its fingerprint. A process that
    dies between the two leaves a key that the next run records.

    Raises:
        BcdError: The hospital is not declared, or the key is missing, damaged, another one, or inside BCD_HOME.
    """
    if find_declared_hospital(store, hospital).identifiers == "pseudonyms":
        return None
    path = key_path(store.settings)
    with store.lock("pseudonyms"):
        expected = find_fingerprints(store)
        if not path.exists() and not expected:
            _make_key(path)
        key = _read_key(path, expected)
        if expected.get(hospital) is None:
            _record_fingerprint(store, hospital, fingerprint_pseudonym_key(key))
    return Pseudonyms(hospital, key)


def borrow_pseudonyms(store: Store, hospital: Hospital) -> Pseudonyms | None:
    """Opens the pseudonyms of a hospital to look at a delivery, and writes nothing.

    Where no delivery of a hospital with raw identifiers was ever admitted there is no key yet: one is drawn then that
    nobody keeps, so that the pseudonyms mean something within this look only.

    Raises:
        BcdError: As `open_pseudonyms`.
    """
    if find_declared_hospital(store, hospital).identifiers == "pseudonyms":
        return None
    path, expected = key_path(store.settings), find_fingerprints(store)
    known = path.exists() or bool(expected)
    return Pseudonyms(hospital, _read_key(path, expected) if known else secrets.token_bytes(KEY_BYTES))


def key_path(settings: Settings) -> Path:
    """Returns where the key of pseudonyms lies.

    Raises:
        BcdError: That is inside BCD_HOME, where whoever copies the store copies the key with it.
    """
    if settings.keys.resolve().is_relative_to(settings.home.resolve()):
        raise BcdError(
            f"The folder of keys {settings.keys} is inside BCD_HOME {settings.home}.",
            "Name a folder outside of it with BCD_KEYS, and move the key there if it exists.",
        )
    return settings.keys / "pseudonyms.key"


def fingerprint_pseudonym_key(key: bytes) -> str:
    """Returns what tells a key from others without giving it away: 16 hex digits."""
    return hashlib.sha256(key).hexdigest()[:16]


def find_fingerprints(store: Store) -> dict[str, str]:
    """Returns the fingerprint of the key that made a hospital's pseudonyms, by hospital."""
    column = tables.hospitals.c
    query = sa.select(column.hospital, column.key_fingerprint).where(column.key_fingerprint.is_not(None))
    return {row.hospital: row.key_fingerprint for row in store.rows(query)}


def _record_fingerprint(store: Store, hospital: Hospital, value: str) -> None:
    column = tables.hospitals.c
    statement = sa.update(tables.hospitals).where(column.hospital == hospital).values(key_fingerprint=value)
    with store.write() as connection:
        connection.execute(statement)


def _make_key(path: Path) -> None:
    """Makes a key, whole or not at all; where another process was faster, that one's stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with lock_file(path.parent / ".lock"):  # two catalogs may share the folder
        for left in path.parent.glob(".partial-*"):
            left.unlink()
        if path.exists():
            return
        handle, partial = tempfile.mkstemp(prefix=".partial-", dir=path.parent)  # O_EXCL, and only the owner reads
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_bytes(KEY_BYTES).hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(partial).replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def _read_key(path: Path, expected: dict[str, str]) -> bytes:
    """Reads the key and makes sure that it is the one that made the pseudonyms of the catalog."""
    needed = " or ".join(sorted(set(expected.values()))) or "none so far"
    try:
        key = bytes.fromhex(path.read_text("ascii"))
    except FileNotFoundError as error:
        raise DamagedError(
            f"The key of pseudonyms {path} is missing; the catalog was made with the key of fingerprint {needed}.",
            _RESTORE,
        ) from error
    except OSError as error:
        raise BcdError(
            f"The key of pseudonyms {path} cannot be read: {error.strerror}.", "Let bcd read it."
        ) from error
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise DamagedError(
            f"The key of pseudonyms {path} is not 64 hex digits (fingerprint of the right one: {needed}).", _RESTORE
        )
    if any(value != fingerprint_pseudonym_key(key) for value in expected.values()):
        raise BcdError(
            f"The key of pseudonyms {path} has fingerprint {fingerprint_pseudonym_key(key)},"
            f" and the catalog was made with the key of fingerprint {needed}.",
            _RESTORE,
        )
    return key
