"""Hospitals are declared, doubts about a patch are marked, refusals are released, and pixels can be erased."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds the tables, and says of what is there what was true until now."""
    _create_hospitals()
    _extend_deliveries()
    op.add_column("withdrawn", sa.Column("author", sa.String(length=255), nullable=False, server_default=""))
    op.create_table(
        "releases",
        sa.Column("refusal", sa.Integer(), nullable=False),
        sa.Column("delivery", sa.String(length=64), nullable=False),
        sa.Column("author", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["refusal"], ["refusals.number"], name=op.f("fk_releases_refusal")),
        sa.ForeignKeyConstraint(["delivery"], ["deliveries.id"], name=op.f("fk_releases_delivery")),
        sa.PrimaryKeyConstraint("refusal", name=op.f("pk_releases")),
    )
    _create_conflicts()
    op.create_table(
        "stains",
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("patient", sa.String(length=64), nullable=False),
        sa.Column("slide", sa.String(length=16), nullable=False),
        sa.Column("patches", sa.Integer(), nullable=False),
        sa.Column("red", sa.Float(), nullable=False),
        sa.Column("green", sa.Float(), nullable=False),
        sa.Column("blue", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["batch"], ["batches.number"], name=op.f("fk_stains_batch")),
        sa.PrimaryKeyConstraint("batch", "patient", "slide", name=op.f("pk_stains")),
    )
    op.create_table(
        "erasures",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("hospital", sa.String(length=64), nullable=False),
        sa.Column("patient", sa.String(length=64), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("patches", sa.Integer(), nullable=False),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["batch"], ["batches.number"], name=op.f("fk_erasures_batch")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_erasures")),
        sa.UniqueConstraint("hospital", "patient", "batch", name=op.f("uq_erasures_hospital_patient_batch")),
    )


def _create_hospitals() -> None:
    hospitals = op.create_table(
        "hospitals",
        sa.Column("hospital", sa.String(length=64), nullable=False),
        sa.Column("identifiers", sa.String(length=16), nullable=False),
        sa.Column("key_fingerprint", sa.String(length=64), nullable=True),
        sa.Column("declared_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("author", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("hospital", name=op.f("pk_hospitals")),
    )
    # Until now every identifier was kept as delivered; nothing else can be said of what is there.
    known = op.get_bind().execute(sa.text("SELECT DISTINCT hospital FROM deliveries")).scalars().all()
    op.bulk_insert(
        hospitals,
        [
            {
                "hospital": hospital,
                "identifiers": "pseudonyms",
                "key_fingerprint": None,
                "declared_at": datetime.now(UTC),
                "author": "migration 0002",
            }
            for hospital in known
        ],
    )


def _extend_deliveries() -> None:
    # SQLite adds a column that may not be null only with a default.
    op.add_column("deliveries", sa.Column("files", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("deliveries", sa.Column("admitted_files", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("deliveries", sa.Column("flags", sa.JSON(), nullable=False, server_default="{}"))
    op.execute(
        "UPDATE deliveries SET admitted_files = admitted, files = admitted + ignored +"
        " (SELECT count(*) FROM refusals WHERE refusals.delivery = deliveries.id)"
    )


def _create_conflicts() -> None:
    op.create_table(
        "conflicts",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("hospital", sa.String(length=64), nullable=False),
        sa.Column("patient", sa.String(length=64), nullable=False),
        sa.Column("slide", sa.String(length=16), nullable=False),
        sa.Column("x", sa.Integer(), nullable=False),
        sa.Column("y", sa.Integer(), nullable=False),
        sa.Column("rule", sa.String(length=32), nullable=False),
        sa.Column("delivery", sa.String(length=64), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["delivery"], ["deliveries.id"], name=op.f("fk_conflicts_delivery")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_conflicts")),
    )
    op.create_index(
        op.f("ix_conflicts_hospital_patient_slide_x_y"),
        "conflicts",
        ["hospital", "patient", "slide", "x", "y"],
        unique=False,
    )
