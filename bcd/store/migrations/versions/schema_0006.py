"""A delivery says how its tables of labels and its patches fit together."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Adds the counts; of earlier deliveries they are not known, and none is said."""
    # SQLite adds a column that may not be null only with a default.
    op.add_column("deliveries", sa.Column("label_rows", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("deliveries", sa.Column("unmatched_rows", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("deliveries", sa.Column("label_note", sa.Text(), nullable=False, server_default=""))
