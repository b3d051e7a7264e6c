"""`bcd up` and `bcd down`: Prefect, MLflow, Optuna's dashboard and a worker, on loopback."""

from __future__ import annotations


def up() -> None:
    """Start Prefect's, MLflow's and Optuna's pages and a worker on BCD_HOME, and deploy the flows."""
    from bcd.cli import daemons
    from bcd.cli.terminal import at_work, whole_command
    from bcd.settings import load_settings

    settings = load_settings()
    with at_work(settings, needs_home=False) as console:
        urls = daemons.start(settings)
        console.print(f"Prefect dashboard  {urls['prefect']}")
        console.print(f"MLflow UI          {daemons.runs_page(settings, urls['mlflow'])}", soft_wrap=True)
        console.print(f"Studies            {urls['studies']}/dashboard/")
        console.print(f"Inbox              {settings.inbox}/HOSPITAL/", soft_wrap=True)
        console.print(f"To stop them       {whole_command(settings, 'down')}", soft_wrap=True, highlight=False)


def down() -> None:
    """Stop what `bcd up` started."""
    import typer

    from bcd.cli import daemons
    from bcd.settings import Settings, find_home, require_home

    settings = Settings(home=find_home())  # whatever else bcd.toml says
    require_home(settings)
    stopped = daemons.stop(settings)
    typer.echo(f"Stopped {', '.join(stopped)}." if stopped else "Nothing of bcd is running on this BCD_HOME.")
