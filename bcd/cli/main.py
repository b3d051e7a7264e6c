"""The `bcd` command.

Each subcommand lives in a module of its own and imports what it needs when it runs, so that `bcd --help` answers at
once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from bcd import __version__
from bcd.cli import batch, config, hospital, label, model, network, patient, review, snapshot, store
from bcd.cli.backup import backup_command, restore_command
from bcd.cli.demo import demo_command
from bcd.cli.doctor import doctor_command
from bcd.cli.evaluate import evaluate_command
from bcd.cli.ingest import ingest_command
from bcd.cli.lineage import lineage_command
from bcd.cli.monitor import monitor_command
from bcd.cli.retrain import retrain_command
from bcd.cli.score import score_command
from bcd.cli.search import search_command
from bcd.cli.servers import down_command, up_command
from bcd.cli.status import status_command
from bcd.cli.train import train_command
from bcd.cli.upgrade import upgrade_command
from bcd.cli.worker import worker_command
from bcd.config import load_configuration
from bcd.errors import BcdError

INTERRUPTED = 130

_RUN_ANYHOW = ("config", "down")
"""What must work with a configuration that is not valid: what shows it, and what stops servers."""

_HELP = ("-h", "--help")


class _Commands(TyperGroup):
    """The group of all commands, which knows whether only the help of one was asked for."""

    def invoke(self, ctx: Any) -> Any:
        ctx.obj = not set(_HELP).isdisjoint(ctx.args)
        return super().invoke(ctx)


app = typer.Typer(
    cls=_Commands,
    help="Keep a breast-cancer patch classifier alive inside a hospital. Research use only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": [*_HELP]},
)
_DAILY: tuple[Callable[..., None], ...] = (
    demo_command,
    doctor_command,
    up_command,
    down_command,
    worker_command,
    status_command,
    ingest_command,
    search_command,
    train_command,
    retrain_command,
    evaluate_command,
    score_command,
    monitor_command,
    lineage_command,
    backup_command,
    restore_command,
    upgrade_command,
)
for _command in _DAILY:
    app.command(name=_command.__name__.removesuffix("_command"))(_command)
app.add_typer(config.app, name="config")
_NOUNS = {
    "batch": batch,
    "hospital": hospital,
    "label": label,
    "model": model,
    "network": network,
    "patient": patient,
    "review": review,
    "snapshot": snapshot,
    "store": store,
}
for _noun, _module in _NOUNS.items():
    app.add_typer(_module.app, name=_noun, rich_help_panel="Groups: bcd GROUP --help lists their commands")


@app.callback(invoke_without_command=True)
def _begin_command(
    context: typer.Context,
    home: Annotated[Path | None, typer.Option(help="The folder of all state, instead of BCD_HOME or ~/.bcd.")] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"bcd {__version__}")
        raise typer.Exit
    if home is not None:
        os.environ["BCD_HOME"] = str(home.expanduser().absolute())
    if context.invoked_subcommand not in {None, *_RUN_ANYHOW} and not context.obj:
        load_configuration()


def main() -> None:
    """Runs the command: what a user can fix is told in a sentence, with exit code 2 and no traceback."""
    try:
        app()
    except BcdError as error:
        typer.secho(f"bcd: {error.what}\n     {error.fix}", err=True, fg=typer.colors.RED)
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # Typer has caught the KeyboardInterrupt
            typer.secho(
                "\nbcd: interrupted. What was finished is kept; run the same command again to go on.",
                err=True,
                fg=typer.colors.YELLOW,
            )
        raise


if __name__ == "__main__":
    main()
