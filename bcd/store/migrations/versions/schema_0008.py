"""Every row that somebody answers for says so in the same three columns: by, reason, at."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_TIMES = {
    "hospitals": "declared_at",
    "releases": "released_at",
    "label_revisions": "revised_at",
    "withdrawn": "withdrawn_at",
}
_UNKNOWN = "not recorded"


def upgrade() -> None:
    """Renames the columns, adds the reason of a declaration, and the table of limits that hospitals were allowed."""
    op.add_column("hospitals", sa.Column("reason", sa.Text(), nullable=False, server_default=_UNKNOWN))
    for table, time in _TIMES.items():
        op.execute(f'ALTER TABLE {table} RENAME COLUMN author TO "by"')
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {time} TO at")
        for column in ("by", "reason"):
            known = sa.table(table, sa.column(column))
            op.execute(sa.update(known).where(known.c[column] == "").values({column: _UNKNOWN}))
    op.create_table(
        "coarse_limits",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("hospital", sa.String(length=64), nullable=False),
        sa.Column("coarsest", sa.Float(), nullable=False),
        sa.Column("by", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["hospital"], ["hospitals.hospital"], name=op.f("fk_coarse_limits_hospital")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_coarse_limits")),
    )
