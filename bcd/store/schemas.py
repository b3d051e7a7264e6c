"""Which revision a database of MLflow, Optuna or Prefect has, and whether the installed library works with it.

One of an older library is brought up to date by `bcd upgrade` (`bcd.retention.upgrade`), which keeps a copy. The
three bring their migrations along as Alembic scripts; these are read as text, so that nobody imports a library to be
told that its database is of another version of it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from bcd.errors import BcdError

if TYPE_CHECKING:
    from bcd.settings import Settings

Library = Literal["mlflow", "optuna", "prefect"]

_REVISION = re.compile(r"^(down_)?revision\b[^=\n]*=\s*[\"']([^\"']+)[\"']", re.MULTILINE)


UPGRADE = "Stop what runs (`bcd down`) and run `bcd upgrade`, which keeps a copy of what it changes."
"""What to do about a database of an older version."""

# Where a library keeps its migrations; Prefect has some for each kind of database.
_MIGRATIONS: dict[Library, str] = {
    "mlflow": "store/db_migrations/versions",
    "optuna": "storages/_rdb/alembic/versions",
    "prefect": "server/database/_migrations/versions/{dialect}",
}
_NAMES: dict[Library, str] = {"mlflow": "MLflow", "optuna": "Optuna", "prefect": "Prefect"}


@dataclass(frozen=True)
class Schema:
    """The revision of a database.

    Attributes:
        found: Its revision; None: it is not there yet, or cannot be asked now.
        newest: That of the installed library.
    """

    found: str | None
    newest: str

    @property
    def is_older(self) -> bool:
        """Whether it has to be brought up to date."""
        return self.found not in (None, self.newest)


def require_schema(library: Library, url: str) -> None:
    """Makes sure that the installed library works with a database; one that is not there yet is fine.

    Args:
        library: Whose database it is.
        url: Its SQLAlchemy URL.

    Raises:
        BcdError: Another version of the library made it; the command that helps is named.
    """
    schema = read_schema(library, url)
    if schema.is_older:
        raise BcdError(
            f"The database {hide_url_password(url)} has the revision {schema.found} of an older {_NAMES[library]};"
            f" the installed one needs {schema.newest}.",
            UPGRADE,
        )


def read_schema(library: Library, url: str) -> Schema:
    """Reads the revision of a library's database.

    Raises:
        BcdError: A newer version of the library made it.
    """
    database = sync_url(url)
    found = read_revision(database)
    known, newest = _known_revisions(library, database.get_backend_name())
    if found is None:
        return Schema(None, newest)
    name = _NAMES[library]
    if found not in known:
        raise BcdError(
            f"The database {hide_url_password(url)} has the revision {found} of a newer {name} than the one that is"
            f" installed, which knows it up to {newest}.",
            f"Install the version of {name} that made it (`pip install --upgrade {library}`),"
            " or restore the backup from before it.",
        )
    return Schema(found, newest)


def prefect_schema_database(settings: Settings) -> str:
    """Returns the address of the Prefect server's database: what its variable says, or SQLite in its home."""
    for name in ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL"):
        if url := os.environ.get(name):
            return url
    home = os.environ.get("PREFECT_HOME") or settings.prefect
    return str(sa.URL.create("sqlite", database=str(Path(home) / "prefect.db")))


def sync_url(url: str) -> sa.URL:
    """Returns the address of a database with the driver that bcd has, whichever a library's own address names."""
    made = sa.make_url(url)
    drivers = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}
    return made.set(drivername=drivers.get(made.get_backend_name(), made.drivername))


def hide_url_password(url: str) -> str:
    """Returns the address of a database as it may be told."""
    return sa.make_url(url).render_as_string(hide_password=True)


def read_revision(url: sa.URL) -> str | None:
    """Returns the revision that a database notes; None where there is none yet, or it cannot be asked now."""
    if url.get_backend_name() == "sqlite" and not (url.database and Path(url.database).exists()):
        return None
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            found = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    except (sa.exc.SQLAlchemyError, ImportError):
        return None  # whoever opens it next says why it cannot be
    return None if found is None else str(found)


@cache
def _known_revisions(library: Library, dialect: str) -> tuple[frozenset[str], str]:
    """Returns all revisions that the installed library knows, and the newest."""
    spec = find_spec(library)
    folder = Path(spec.origin if spec and spec.origin else "").parent / _MIGRATIONS[library].format(dialect=dialect)
    known: set[str] = set()
    replaced: set[str] = set()
    for script in folder.glob("*.py"):
        for is_down, revision in _REVISION.findall(script.read_text("utf-8")):
            (replaced if is_down else known).add(revision)
    newest = sorted(known - replaced)
    return frozenset(known), newest[-1] if newest else ""
