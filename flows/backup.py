"""Backup: copy databases, batches, models, scores and settings, as `[backup]` of bcd.toml says.

Examples:
        python flows/backup.py
"""

from __future__ import annotations

from pathlib import Path

if __name__ == "__main__":
    from flows.alone import begin_flow_alone

    begin_flow_alone()

from prefect import flow

from bcd.config import load_configuration
from bcd.errors import BcdError
from bcd.retention.backup.make import make_backup
from bcd.retention.backup.options import BackupOptions
from bcd.store.store import open_store
from flows.reporting import finish_flow, name_flow_run, report_to_prefect, told_to_prefect


@flow(name="backup", flow_run_name=name_flow_run)
@told_to_prefect
def backup() -> str:
    """Makes a backup into the folder of [backup], while everything runs on; returns its name.

    Whoever may open the dashboard may not therefore write to every path of this machine: there is no parameter.
    """
    settings = load_configuration()
    options = settings.options("backup", BackupOptions)
    if not options.is_on:
        raise BcdError(
            "No folder of backups is named.", "Name one as `folder` under [backup] of bcd.toml, or use `bcd backup`."
        )
    with report_to_prefect(), open_store(settings) as store:
        keys = None if options.keys == Path() else options.keys
        made = make_backup(store, options.folder, keys=keys, deliveries=options.deliveries)
    size = made.manifest.size / 1e6
    return finish_flow(
        made.manifest.name,
        f"Backup {made.manifest.name}: {len(made.manifest.files):,} files, {size:,.1f} MB, of which"
        f" {made.new_files:,} files and {made.new_bytes / 1e6:,.1f} MB are new in {options.folder}.",
    )


if __name__ == "__main__":
    backup()
