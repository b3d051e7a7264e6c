"""Slides that are complete are known, and how coarse a hospital's slides may be."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Adds the table and the column; of slides that came before, nobody said that they are complete."""
    # SQLite adds a column that may not be null only with a default.
    op.add_column("hospitals", sa.Column("coarsest", sa.Float(), nullable=False, server_default="1.2"))
    op.create_table(
        "complete_slides",
        sa.Column("hospital", sa.String(length=64), nullable=False),
        sa.Column("patient", sa.String(length=64), nullable=False),
        sa.Column("slide", sa.String(length=16), nullable=False),
        sa.Column("origin", sa.String(length=16), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["batch"], ["batches.number"], name=op.f("fk_complete_slides_batch")),
        sa.PrimaryKeyConstraint("hospital", "patient", "slide", name=op.f("pk_complete_slides")),
    )
