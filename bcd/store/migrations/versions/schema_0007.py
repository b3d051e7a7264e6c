"""Where the patches of a slide that bcd cut lie in the slide's own pixels is known."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Adds the table; of slides that came before, it is not known."""
    op.create_table(
        "slide_frames",
        sa.Column("hospital", sa.String(length=64), nullable=False),
        sa.Column("patient", sa.String(length=64), nullable=False),
        sa.Column("slide", sa.String(length=16), nullable=False),
        sa.Column("spacing_x", sa.Float(), nullable=False),
        sa.Column("spacing_y", sa.Float(), nullable=False),
        sa.Column("left", sa.Integer(), nullable=False),
        sa.Column("top", sa.Integer(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["batch"], ["batches.number"], name=op.f("fk_slide_frames_batch")),
        sa.PrimaryKeyConstraint("hospital", "patient", "slide", name=op.f("pk_slide_frames")),
    )
