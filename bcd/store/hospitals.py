"""Hospitals: where deliveries come from, and whether their identifiers may be stored as they are.

A hospital is declared once, before its first delivery: its identifiers are `pseudonyms` already, or `raw`, and then
become pseudonyms (`bcd.store.pseudonyms`) before anything is stored, logged or reported.

Examples:
    >>> declare_hospital(store, "east", "raw", SignOff("Mary", "raw lists"))  # doctest: +SKIP
    >>> find_declared_hospital(store, "east").identifiers  # doctest: +SKIP
    'raw'
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, get_args

import sqlalchemy as sa

from bcd.errors import BcdError, NotFoundError
from bcd.options import Microns
from bcd.patches import MOST_COARSE, Hospital
from bcd.store import tables
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

Identifiers = Literal["pseudonyms", "raw"]
"""What a hospital's identifiers of patients are when they are delivered."""

COARSEST = 1.2
"""µm/px: a slide whose finest level is coarser is refused unless confirmed; scanners have 0.2 to 1."""

_HOSPITAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)


@dataclass(frozen=True)
class HospitalRecord:
    """A declared hospital.

    Attributes:
        hospital: Its name.
        identifiers: Whether its identifiers are pseudonyms already or raw.
        key_fingerprint: Fingerprint of the key that makes its pseudonyms; None where none was needed so far.
        declared: By whom, why and when that was said.
        coarsest: µm/px; a slide whose finest level is coarser is taken for mistyped and refused unless confirmed.
    """

    hospital: Hospital
    identifiers: Identifiers
    key_fingerprint: str | None
    declared: SignOff
    coarsest: Microns = COARSEST


def check_hospital(name: str) -> Hospital:
    """Returns a hospital's name if it is one: letters, digits, `-` and `_`, at most 64.

    Raises:
        BcdError: It is not.
    """
    if not _HOSPITAL.fullmatch(name):
        raise BcdError(
            f"{name!r} is not a name for a hospital.",
            "Use up to 64 letters, digits, - and _, beginning with a letter or digit.",
        )
    return Hospital(name)


def declare_hospital(store: Store, hospital: str, identifiers: Identifiers, sign_off: SignOff) -> HospitalRecord:
    """Declares a hospital; the same again changes nothing.

    Raises:
        BcdError: The name or `identifiers` is not one, or the hospital is declared otherwise, or in another case.
    """
    name = check_hospital(hospital)
    if identifiers not in get_args(Identifiers):
        raise BcdError(
            f"{identifiers!r} is not a kind of identifiers.",
            "Say `pseudonyms` where nobody can tell a patient by the identifier, else `raw`.",
        )
    with store.write() as connection:
        known = _find_hospital_row(connection, name)
        if known is None:
            known = HospitalRecord(name, identifiers, None, sign_off)
            row = {"hospital": name, "identifiers": identifiers, **vars(sign_off)}
            connection.execute(sa.insert(tables.hospitals).values(row))
    if known.identifiers != identifiers:
        raise BcdError(
            f"Hospital {name} is declared with identifiers `{known.identifiers}` ({known.declared}).",
            f"Keep it so, or declare another name: as `{identifiers}` every patient would become another person.",
        )
    return known


def store_coarse_limit(store: Store, hospital: str, coarsest: Microns, sign_off: SignOff) -> HospitalRecord:
    """Sets how coarse the finest level of a hospital's slides may be.

    Args:
        store: The open store.
        hospital: A declared hospital.
        coarsest: In µm per pixel.
        sign_off: Who allows it, and why.

    Raises:
        BcdError: The hospital is not declared, or no slide can be so coarse.
    """
    known = find_declared_hospital(store, hospital)
    if not COARSEST <= coarsest <= MOST_COARSE:
        raise BcdError(
            f"{coarsest:g} µm/px is no limit for slides.", f"Give one from {COARSEST:g} to {MOST_COARSE:g} µm/px."
        )
    columns = tables.hospitals
    row = {"hospital": known.hospital, "coarsest": coarsest, **vars(sign_off)}
    with store.write() as connection:
        connection.execute(sa.update(columns).where(columns.c.hospital == known.hospital).values(coarsest=coarsest))
        connection.execute(sa.insert(tables.coarse_limits).values(row))
    return find_declared_hospital(store, hospital)


def find_declared_hospital(store: Store, hospital: str) -> HospitalRecord:
    """Returns a declared hospital.

    Raises:
        BcdError: It is not declared, and the command that does it is named; or it is declared in another case.
    """
    name = check_hospital(hospital)
    with store.read() as connection:
        known = _find_hospital_row(connection, name)
        if known is not None:
            return known
        near = get_close_matches(name, connection.scalars(sa.select(tables.hospitals.c.hospital)).all(), n=3)
    meant = f", or correct the name: near ones are {', '.join(near)}" if near else ""
    raise NotFoundError(
        f"Hospital {name} is not declared.",
        f"Run `bcd hospital declare {name} --identifiers pseudonyms --by NAME --reason TEXT` where nobody can tell a"
        f" patient by the identifier, with `--identifiers raw` where somebody could{meant}.",
    )


def list_hospitals(store: Store) -> list[HospitalRecord]:
    """Returns the declared hospitals by name."""
    records = [_hospital_of_row(row._mapping) for row in store.rows(sa.select(tables.hospitals))]
    return sorted(records, key=lambda record: record.hospital)


def _hospital_of_row(row: sa.RowMapping) -> HospitalRecord:
    names = ("hospital", "identifiers", "key_fingerprint", "coarsest")
    return HospitalRecord(**{name: row[name] for name in names}, declared=SignOff.of(row))


def _find_hospital_row(connection: sa.Connection, hospital: Hospital) -> HospitalRecord | None:
    """Finds a declared hospital.

    Raises:
        BcdError: It is declared in another case. Two such names would be one folder on Windows and macOS, and whoever
            mistypes one would make each patient two people.
    """
    query = sa.select(tables.hospitals).where(sa.func.lower(tables.hospitals.c.hospital) == hospital.lower())
    known = [_hospital_of_row(row) for row in connection.execute(query).mappings()]
    if known and known[0].hospital != hospital:
        raise BcdError(
            f"Hospital {hospital} is declared as {known[0].hospital}; names differing in case only are one hospital.",
            f"Write {known[0].hospital}, also as the name of its folder in the inbox.",
        )
    return known[0] if known else None
