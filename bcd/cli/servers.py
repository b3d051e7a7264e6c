"""`bcd up` and `bcd down`: Prefect, MLflow, Optuna's dashboard, the reports and a worker, on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def up_command(
    *,
    reset: Annotated[bool, typer.Option("--reset", help="Undo what was changed on the Prefect dashboard.")] = False,
    systemd: Annotated[
        Path | None, typer.Option(help="Start nothing; write units for systemd into this folder, for a server.")
    ] = None,
) -> None:
    """Start the pages of Prefect, MLflow, Optuna and the reports, and a worker, on BCD_HOME, and deploy the flows."""
    from bcd.cli import daemons
    from bcd.cli.options import ADOPT
    from bcd.cli.terminal import open_terminal, whole_command
    from bcd.gate.history import find_champion_version
    from bcd.settings import load_settings

    settings = load_settings()
    with open_terminal(settings, needs_home=False) as console:
        if systemd is not None:
            from bcd.cli.units import write_units

            for unit in write_units(settings, systemd):
                console.print(str(unit), soft_wrap=True, highlight=False)
            console.print(f"Install them       sudo cp {systemd}/bcd* /etc/systemd/system/", soft_wrap=True)
            console.print("Start them         sudo systemctl daemon-reload; sudo systemctl enable --now bcd.target")
            return
        started = daemons.start(settings, reset=reset)
        for line in started.told:
            console.print(line, soft_wrap=True, markup=False)
        urls = started.urls
        console.print(f"Prefect dashboard  {urls['prefect']}")
        console.print(f"MLflow UI          {daemons.runs_page(settings, urls['mlflow'])}", soft_wrap=True)
        if "studies" in daemons.list_needed_daemons(settings):
            console.print(f"Studies            {urls['studies']}/dashboard/")
        console.print(f"Reports            {urls['reports']}")
        console.print(f"Inbox              {settings.inbox}/HOSPITAL/", soft_wrap=True)
        if find_champion_version(settings) is None:
            text = f"No champion yet    {ADOPT} starts with the model that comes with bcd"
            console.print(text, soft_wrap=True)
        console.print(f"To stop them       {whole_command(settings, 'down')}", soft_wrap=True)


def down_command() -> None:
    """Stop what `bcd up` started."""
    from bcd.cli import daemons
    from bcd.runtime import enter_runtime, read_running_servers
    from bcd.settings import Settings, find_home, require_home

    settings = Settings(home=find_home())  # whatever else bcd.toml says
    require_home(settings)
    password = read_running_servers(settings).get("password_file", "")
    settings = settings.model_copy(update={"password_file": password})
    enter_runtime(settings)
    stopped = daemons.stop(settings)
    typer.echo(f"Stopped {', '.join(stopped)}." if stopped else "Nothing of bcd is running on this BCD_HOME.")
