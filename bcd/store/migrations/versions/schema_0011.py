"""A label revision says whether a model's scores chose the patch that a person was asked about."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Adds the column; nobody was asked about a patch so far."""
    op.add_column("label_revisions", sa.Column("asked", sa.Boolean(), nullable=False, server_default=sa.false()))
