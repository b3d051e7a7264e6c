"""A decision says of what kind it is, and, where a person took it, who and why."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds the columns; until now every decision was the gate's own."""
    # SQLite adds a column that may not be null only with a default.
    op.add_column("gate_decisions", sa.Column("kind", sa.String(length=16), nullable=False, server_default="gate"))
    op.add_column("gate_decisions", sa.Column("by", sa.String(length=255), nullable=False, server_default=""))
    op.add_column("gate_decisions", sa.Column("reason", sa.Text(), nullable=False, server_default=""))
