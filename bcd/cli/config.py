"""`bcd config`: what is configured, and where each value comes from."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="Show what is configured.", no_args_is_help=True)


@app.command()
def show(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print a list of objects: table, key, value, where.")] = False,
) -> None:
    """Print every setting and option as it stands, where it comes from, and what is wrong; exit 2 on a fault."""
    import json as as_json
    from dataclasses import asdict

    from bcd.cli.terminal import make_console, print_table
    from bcd.config import find_all_faults, list_values
    from bcd.origins import read_given
    from bcd.settings import find_home, invalid_configuration

    values = list_values(is_option=context.find_root().params.get("home") is not None)
    if json:
        typer.echo(as_json.dumps([asdict(value) for value in values], indent=2, default=str))
    else:
        rows = [[each.table, each.key, as_json.dumps(each.value, default=str), each.where] for each in values]
        print_table(make_console(), "Configuration", ["table", "key", "value", "from"], rows)
    faults = find_all_faults(read_given(find_home()))
    if faults:
        raise invalid_configuration(faults, find_home())


@app.command(hidden=True)
def reference() -> None:
    """Print docs/reference/settings.md, made from the options models."""
    from bcd.config import describe_settings

    typer.echo(describe_settings())
