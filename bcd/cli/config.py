"""`bcd config`: what is configured, and where each value comes from."""

from __future__ import annotations

import typer

from bcd.cli.options import AsJson, command_group

app = command_group("Show what is configured.", "bcd config show", "bcd config show --json")


@app.command(name="show")
def show_config_command(
    context: typer.Context,
    *,
    as_json: AsJson = False,
) -> None:
    """Show every setting and option, where its value comes from, and what is wrong. A fault ends with exit code 2."""
    import json

    from bcd.cli.screen import Screen
    from bcd.config import find_all_faults, list_configuration_values
    from bcd.origins import read_given_settings
    from bcd.settings import find_home, invalid_configuration

    values = list_configuration_values(is_option=context.find_root().params.get("home") is not None)
    console = Screen(as_json=as_json)
    console.table(
        "Configuration",
        values,
        {
            "table": lambda each: each.table,
            "key": lambda each: each.key,
            "value": lambda each: json.dumps(each.value, default=str),
            "from": lambda each: each.where,
        },
    )
    console.close()
    faults = find_all_faults(read_given_settings(find_home()))
    if faults:
        raise invalid_configuration(faults, find_home())


@app.command(name="reference", hidden=True)
def settings_page_command() -> None:
    """Print docs/reference/settings.md, made from the options models."""
    from bcd.config import describe_settings

    typer.echo(describe_settings())
