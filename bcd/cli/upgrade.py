"""`bcd upgrade`: the databases of a home become those of the installed version."""

from __future__ import annotations

from typing import Annotated

import typer


def upgrade_command(
    *,
    dumped: Annotated[
        bool, typer.Option("--dumped", help="I have copied the databases that are on PostgreSQL.")
    ] = False,
) -> None:
    """Bring the databases of an earlier version up to date; a copy of each is kept in the home."""
    from bcd.cli import daemons, processes
    from bcd.cli.terminal import open_terminal
    from bcd.errors import BcdError
    from bcd.files import lock_file
    from bcd.retention.upgrade import upgrade_home
    from bcd.settings import load_settings

    settings = load_settings()
    with open_terminal(settings) as console, lock_file(settings.home / ".locks" / ".servers.lock"):
        if daemons.is_run_by_systemd(settings):
            raise BcdError("The servers of this home run.", "Run `systemctl stop bcd.target`, then `bcd upgrade`.")
        if processes.alive(settings):
            raise BcdError("The servers of this home run.", "Run `bcd down`, then `bcd upgrade`.")
        upgraded = upgrade_home(settings, dumped=dumped)
        for each in upgraded.databases:
            console.print(f"Upgraded {each}.", soft_wrap=True)
        if upgraded.kept is not None:
            console.print(f"Copies of them as they were: {upgraded.kept}", soft_wrap=True)
        if not upgraded.databases:
            console.print("Every database is of the installed version: nothing to upgrade.")
