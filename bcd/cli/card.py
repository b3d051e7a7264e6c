"""`bcd card`: the model card of a version."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def card(
    model: Annotated[str, typer.Argument(help="An alias, or a version such as 3 or bcd-idc/3.")] = "champion",
    to: Annotated[
        Path | None, typer.Option(help="Write it to this .html or .md file instead of printing it.")
    ] = None,
) -> None:
    """Print the model card of a version, or write it to a file."""
    from bcd.errors import BcdError
    from bcd.files import whole_file
    from bcd.runtime import enter
    from bcd.settings import load_settings, require_home

    if to is not None and to.suffix.lower() not in (".html", ".md"):
        raise BcdError(f"{to} is neither .html nor .md.", "Name the file as one of them.")
    settings = load_settings()
    require_home(settings)
    enter(settings)
    from bcd.bundle.registry import find_card

    found = find_card(settings, model)
    if to is None:
        typer.echo(found.markdown)
        return
    with whole_file(to) as partial:
        partial.write_text(found.html if to.suffix.lower() == ".html" else found.markdown, encoding="utf-8")
    typer.echo(f"{to}: the card of {model}.")
