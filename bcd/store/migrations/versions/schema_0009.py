"""How each delivery compares with the patients of a bundle is kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Adds the table; deliveries that came before are compared when they are asked about."""
    op.create_table(
        "drift",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("delivery", sa.String(length=64), nullable=False),
        sa.Column("hospital", sa.String(length=64), nullable=False),
        sa.Column("bundle", sa.String(length=255), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("level", sa.String(length=32), nullable=False),
        sa.Column("state", sa.JSON(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_drift")),
    )
    op.create_index(op.f("ix_drift_delivery_bundle"), "drift", ["delivery", "bundle"])
