"""What Tab offers for a name: the snapshots, batches, patients, hospitals and versions of the home."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from bcd.settings import Settings


def complete_snapshot(context: typer.Context, incomplete: str) -> list[str]:
    """Offers ids of snapshots."""
    settings = _load_completion_settings(context)
    return _complete_beginning(
        incomplete, (folder.name[:12] for folder in settings.snapshots.glob("[0-9a-f]*")) if settings else ()
    )


def complete_batch(context: typer.Context, incomplete: str) -> list[str]:
    """Offers names of deliveries."""
    from bcd.store.delivery_queries import list_stored_deliveries
    from bcd.store.store import open_store

    settings = _load_completion_settings(context)
    return _complete_beginning(
        incomplete, (each.name for each in list_stored_deliveries(open_store(settings))) if settings else ()
    )


def complete_patient(context: typer.Context, incomplete: str) -> list[str]:
    """Offers patients as the store calls them."""
    from bcd.store.patient_list import list_patient_names
    from bcd.store.store import open_store

    settings = _load_completion_settings(context)
    return list_patient_names(open_store(settings), incomplete) if settings else []


def complete_hospital(context: typer.Context, incomplete: str) -> list[str]:
    """Offers declared hospitals."""
    from bcd.store.hospitals import list_hospitals
    from bcd.store.store import open_store

    settings = _load_completion_settings(context)
    return _complete_beginning(
        incomplete, (each.hospital for each in list_hospitals(open_store(settings))) if settings else ()
    )


def complete_version(context: typer.Context, incomplete: str) -> list[str]:
    """Offers versions of the model, and the aliases that they hold."""
    from bcd.bundle.rows import read_registered_versions

    settings = _load_completion_settings(context)
    rows = read_registered_versions(settings) if settings else []
    return _complete_beginning(
        incomplete, [alias for row in rows for alias in row.aliases] + [row.version for row in rows]
    )


def _complete_beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _load_completion_settings(context: typer.Context) -> Settings | None:
    """Returns the settings of the home; None where there is none: Tab makes no home and tells no error."""
    from bcd.errors import BcdError
    from bcd.settings import load_settings, require_home

    try:
        settings = load_settings(context.find_root().params.get("home"))
        require_home(settings)
    except BcdError:
        return None
    return settings
