"""The catalog's tables, as SQLAlchemy knows them; `bcd.store.migrations` makes them.

A patch is known by (hospital, patient, slide, x, y). Nothing is ever edited: a correction is a new row of
`label_revisions`, a doubt that arises later a row of `conflicts`, a decision a new row of `gate_decisions`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from bcd.patches import CELL, PERSON, SLIDE


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """A moment in UTC; SQLite forgets the zone of what it stores, so it is put back on reading."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """Turns a moment with a zone to UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """Says that what was read is UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _number_column() -> sa.Column[int]:
    return sa.Column("number", sa.Integer, primary_key=True, autoincrement=True)


def _patient_columns() -> tuple[sa.Column[str], sa.Column[str]]:
    return sa.Column("hospital", sa.String(64), nullable=False), sa.Column("patient", sa.String(64), nullable=False)


def _cell_columns() -> tuple[sa.Column[Any], ...]:
    return (
        *_patient_columns(),
        sa.Column("slide", sa.String(16), nullable=False),
        sa.Column("x", sa.Integer, nullable=False),
        sa.Column("y", sa.Integer, nullable=False),
    )


def _sign_off_columns() -> tuple[sa.Column[Any], ...]:
    """The columns of `bcd.store.sign_off.SignOff`."""
    return (
        sa.Column("by", sa.String(255), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
    )


hospitals = sa.Table(
    "hospitals",
    metadata,
    sa.Column("hospital", sa.String(64), primary_key=True),
    sa.Column("identifiers", sa.String(16), nullable=False),
    sa.Column("key_fingerprint", sa.String(64), nullable=True),
    sa.Column("coarsest", sa.Float, nullable=False, server_default="1.2"),
    *_sign_off_columns(),
)

coarse_limits = sa.Table(
    "coarse_limits",
    metadata,
    _number_column(),
    sa.Column("hospital", sa.ForeignKey("hospitals.hospital"), nullable=False),
    sa.Column("coarsest", sa.Float, nullable=False),
    *_sign_off_columns(),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("hospital", sa.String(64), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("admitted_at", UtcDateTime, nullable=False),
    sa.Column("files", sa.Integer, nullable=False),
    sa.Column("admitted_files", sa.Integer, nullable=False),
    sa.Column("admitted", sa.Integer, nullable=False),
    sa.Column("ignored", sa.Integer, nullable=False),
    sa.Column("patients", sa.Integer, nullable=False),
    sa.Column("positive", sa.Integer, nullable=False),
    sa.Column("unlabelled", sa.Integer, nullable=False),
    sa.Column("flags", sa.JSON, nullable=False),
    sa.Column("reason", sa.Text, nullable=True),
    sa.Column("label_rows", sa.Integer, nullable=False, server_default="0"),
    sa.Column("unmatched_rows", sa.Integer, nullable=False, server_default="0"),
    sa.Column("label_note", sa.Text, nullable=False, server_default=""),
)

attempts = sa.Table(
    "attempts",
    metadata,
    _number_column(),
    sa.Column("delivery", sa.String(64), nullable=False, index=True),
    sa.Column("started_at", UtcDateTime, nullable=False),
)

batches = sa.Table(
    "batches",
    metadata,
    _number_column(),
    sa.Column("id", sa.String(64), nullable=False, unique=True),
    sa.Column("delivery", sa.ForeignKey("deliveries.id"), nullable=False),
)

patients = sa.Table(
    "patients",
    metadata,
    *_patient_columns(),
    sa.Column("first_batch", sa.ForeignKey("batches.number"), nullable=False, index=True),
    sa.PrimaryKeyConstraint(*PERSON),
)

patches = sa.Table(
    "patches",
    metadata,
    *_cell_columns(),
    sa.Column("label", sa.Integer, nullable=True),
    sa.Column("batch", sa.ForeignKey("batches.number"), nullable=False),
    sa.Column("row", sa.Integer, nullable=False),
    sa.Column("pixel_sha256", sa.String(64), nullable=False, index=True),
    sa.PrimaryKeyConstraint(*CELL),
)

refusals = sa.Table(
    "refusals",
    metadata,
    _number_column(),
    sa.Column("delivery", sa.ForeignKey("deliveries.id"), nullable=False, index=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("rule", sa.String(32), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("kept", sa.Text, nullable=True),
)

releases = sa.Table(
    "releases",
    metadata,
    sa.Column("refusal", sa.ForeignKey("refusals.number"), primary_key=True),
    sa.Column("delivery", sa.ForeignKey("deliveries.id"), nullable=False),
    *_sign_off_columns(),
)

conflicts = sa.Table(
    "conflicts",
    metadata,
    _number_column(),
    *_cell_columns(),
    sa.Column("rule", sa.String(32), nullable=False),
    sa.Column("delivery", sa.ForeignKey("deliveries.id"), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("found_at", UtcDateTime, nullable=False),
    sa.Index(None, *CELL),
)

stains = sa.Table(
    "stains",
    metadata,
    sa.Column("batch", sa.ForeignKey("batches.number"), primary_key=True),
    sa.Column("patient", sa.String(64), primary_key=True),
    sa.Column("slide", sa.String(16), primary_key=True),
    sa.Column("patches", sa.Integer, nullable=False),
    sa.Column("red", sa.Float, nullable=False),
    sa.Column("green", sa.Float, nullable=False),
    sa.Column("blue", sa.Float, nullable=False),
)

complete_slides = sa.Table(
    "complete_slides",
    metadata,
    *_patient_columns(),
    sa.Column("slide", sa.String(16), nullable=False),
    sa.Column("origin", sa.String(16), nullable=False),
    sa.Column("batch", sa.ForeignKey("batches.number"), nullable=False),
    sa.PrimaryKeyConstraint(*SLIDE),
)

completeness = sa.Table(
    "completeness",
    metadata,
    _number_column(),
    *_patient_columns(),
    sa.Column("slide", sa.String(16), nullable=False),
    sa.Column("complete", sa.Boolean, nullable=False),
    *_sign_off_columns(),
)

slide_frames = sa.Table(
    "slide_frames",
    metadata,
    *_patient_columns(),
    sa.Column("slide", sa.String(16), nullable=False),
    sa.Column("spacing_x", sa.Float, nullable=False),
    sa.Column("spacing_y", sa.Float, nullable=False),
    sa.Column("left", sa.Integer, nullable=False),
    sa.Column("top", sa.Integer, nullable=False),
    sa.Column("batch", sa.ForeignKey("batches.number"), nullable=False),
    sa.PrimaryKeyConstraint(*SLIDE),
)

label_revisions = sa.Table(
    "label_revisions",
    metadata,
    _number_column(),
    *_cell_columns(),
    sa.Column("label", sa.Integer, nullable=True),
    sa.Column("asked", sa.Boolean, nullable=False, server_default=sa.false()),
    *_sign_off_columns(),
    sa.Index(None, *CELL),
)

withdrawn = sa.Table(
    "withdrawn",
    metadata,
    *_patient_columns(),
    *_sign_off_columns(),
    sa.PrimaryKeyConstraint(*PERSON),
)

erasures = sa.Table(
    "erasures",
    metadata,
    _number_column(),
    *_patient_columns(),
    sa.Column("batch", sa.ForeignKey("batches.number"), nullable=False),
    sa.Column("patches", sa.Integer, nullable=False),
    sa.Column("erased_at", UtcDateTime, nullable=False),
    sa.UniqueConstraint(*PERSON, "batch"),
)

splits = sa.Table(
    "splits",
    metadata,
    sa.Column("protocol", sa.String(64), nullable=False),
    *_patient_columns(),
    sa.Column("split", sa.String(16), nullable=False),
    sa.PrimaryKeyConstraint("protocol", *PERSON),
)

gate_decisions = sa.Table(
    "gate_decisions",
    metadata,
    _number_column(),
    sa.Column("key", sa.String(255), nullable=False, unique=True),
    sa.Column("decided_at", UtcDateTime, nullable=False),
    sa.Column("verdict", sa.String(16), nullable=False),
    sa.Column("challenger", sa.String(64), nullable=False),
    sa.Column("champion", sa.String(64), nullable=True),
    sa.Column("snapshot", sa.String(64), nullable=False),
    sa.Column("reasons", sa.JSON, nullable=False),
    sa.Column("evidence", sa.JSON, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False, server_default="gate"),
    sa.Column("by", sa.String(255), nullable=False, server_default=""),
    sa.Column("reason", sa.Text, nullable=False, server_default=""),
)

ledger = sa.Table(
    "ledger",
    metadata,
    _number_column(),
    sa.Column("hospital", sa.String(64), nullable=False),
    sa.Column("patient", sa.String(64), nullable=False),
    sa.Column("bundle", sa.String(255), nullable=False),
    sa.Column("content", sa.String(64), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("folder", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=True),
    sa.Index(None, *PERSON, "bundle"),
)

drift = sa.Table(
    "drift",
    metadata,
    _number_column(),
    sa.Column("delivery", sa.String(64), nullable=False),
    sa.Column("hospital", sa.String(64), nullable=False),
    sa.Column("bundle", sa.String(255), nullable=False),
    sa.Column("stage", sa.String(16), nullable=False),
    sa.Column("level", sa.String(32), nullable=False),
    sa.Column("state", sa.JSON, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Index(None, "delivery", "bundle"),
)
