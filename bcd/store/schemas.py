"""Which revision a database of MLflow, Optuna or Prefect has, and whether the installed library works with it.

The three bring their migrations along as Alembic scripts; these are read as text, so that nobody imports a library
to be told that its database is of another version of it.
"""

from __future__ import annotations

import os
import re
import shlex
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


@dataclass(frozen=True)
class _Migrations:
    """Where a library keeps its migrations, and how a database is brought up to date.

    Attributes:
        folder: Inside the library; `{dialect}` where each kind of database has its own.
        upgrade: The command; empty: the library does it by itself.
    """

    folder: str
    upgrade: str


_MIGRATIONS: dict[Library, _Migrations] = {
    "mlflow": _Migrations("store/db_migrations/versions", "mlflow db upgrade {url}"),
    "optuna": _Migrations("storages/_rdb/alembic/versions", "optuna storage upgrade --storage {url}"),
    "prefect": _Migrations("server/database/_migrations/versions/{dialect}", ""),
}
_NAMES: dict[Library, str] = {"mlflow": "MLflow", "optuna": "Optuna", "prefect": "Prefect"}


def require_schema(library: Library, url: str) -> None:
    """Makes sure that the installed library works with a database; one that is not there yet is fine.

    Args:
        library: Whose database it is.
        url: Its SQLAlchemy URL.

    Raises:
        BcdError: Another version of the library made it; the command that helps is named.
    """
    database = sync_url(url)
    found = _revision_of(database)
    if found is None:
        return
    known, newest = _known_revisions(library, database.get_backend_name())
    migrations, name = _MIGRATIONS[library], _NAMES[library]
    shown = sa.make_url(url).render_as_string(hide_password=True)
    if found not in known:
        raise BcdError(
            f"The database {shown} has the revision {found} of a newer {name} than the one that is installed,"
            f" which knows it up to {newest}.",
            f"Install the version of {name} that made it (`pip install --upgrade {library}`),"
            " or restore the backup from before it.",
        )
    if found != newest and migrations.upgrade:
        command = migrations.upgrade.format(url=shlex.quote(shown))
        raise BcdError(
            f"The database {shown} has the revision {found} of an older {name}; the installed one needs {newest}.",
            f"Make a copy of it, then run `{command}`.",
        )


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


def _revision_of(url: sa.URL) -> str | None:
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
    folder = Path(spec.origin if spec and spec.origin else "").parent / _MIGRATIONS[library].folder.format(
        dialect=dialect
    )
    known: set[str] = set()
    replaced: set[str] = set()
    for script in folder.glob("*.py"):
        for is_down, revision in _REVISION.findall(script.read_text("utf-8")):
            (replaced if is_down else known).add(revision)
    newest = sorted(known - replaced)
    return frozenset(known), newest[-1] if newest else ""
