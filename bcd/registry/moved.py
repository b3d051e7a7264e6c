"""A home that was moved or copied: MLflow notes where artifacts lie as absolute addresses, and these follow the home.

The address of the experiment says where the home was. Where that is not where it is now, every address under the old
place is rewritten in one transaction, before MLflow is asked anything; otherwise it costs one row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from bcd.progress import say

if TYPE_CHECKING:
    from bcd.settings import Settings

_ADDRESSES = {
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
    "model_versions": "storage_location",
}
"""The columns of MLflow's tables that hold addresses of artifacts."""


def artifacts_address(settings: Settings) -> str:
    """Returns where this home keeps MLflow's artifacts, as a URI: MLflow decodes `%20` in a path without a scheme."""
    return (settings.mlflow / "artifacts").as_uri()


def follow_home(settings: Settings, url: sa.URL, experiment: str) -> None:
    """Rewrites the addresses in MLflow's database where the home is no longer where they say.

    Args:
        settings: Where the home is.
        url: MLflow's database, SQLite or PostgreSQL.
        experiment: Name of the experiment whose artifacts lie in the home.
    """
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    here = artifacts_address(settings)
    with engine.begin() as connection:
        if not sa.inspect(connection).has_table("experiments"):
            return
        table = sa.table("experiments", sa.column("name"), sa.column("artifact_location"))
        old = connection.scalar(sa.select(table.c.artifact_location).where(table.c.name == experiment))
        if old is None or old == here or not old.startswith(("/", "file:")):
            return
        for name, column in _ADDRESSES.items():
            address = sa.column(column, sa.String)
            begins = sa.func.substr(address, 1, len(old) + 1)
            rewritten = sa.literal(here).concat(sa.func.substr(address, len(old) + 1))
            rows = sa.update(sa.table(name, address)).where(sa.or_(address == old, begins == f"{old}/"))
            connection.execute(rows.values({column: rewritten}))
    say(
        f"The home was at another place before: MLflow's artifacts are now looked for in {settings.mlflow}/artifacts."
    )
