"""A delivery that was refused as a whole says why, and attempts to admit one are counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Adds the reason and the attempts; until now what was refused as a whole was not recorded."""
    op.add_column("deliveries", sa.Column("reason", sa.Text(), nullable=True))
    op.create_table(
        "attempts",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("delivery", sa.String(length=64), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_attempts")),
    )
    op.create_index(op.f("ix_attempts_delivery"), "attempts", ["delivery"])
