"""`bcd store`: what several machines share."""

from __future__ import annotations

from bcd.cli.options import command_group

app = command_group("What several machines share, at store_url.", "bcd store push")


@app.command(name="push")
def push_store_command() -> None:
    """Copy what this home holds to store_url, for a home that was made before it was set. May be repeated."""
    from bcd.cli.terminal import open_terminal
    from bcd.errors import BcdError
    from bcd.retention.share import share_home
    from bcd.settings import load_settings

    settings = load_settings()
    with open_terminal(settings) as console:
        if not settings.store_url:
            raise BcdError("store_url is empty.", "Set it in bcd.toml or as BCD_STORE_URL, as s3://BUCKET/PREFIX.")
        number = share_home(settings)
        console.print(f"{number:,} folders and files of {settings.home} are at {settings.store_url}.", soft_wrap=True)
