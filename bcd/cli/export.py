"""`bcd export`: write a bundle as one file that scores raw patches without bcd."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Format = Literal["keras", "hdf5", "onnx", "openvino"]


def export(
    model: Annotated[str, typer.Argument(help="An alias, or a version such as 3 or bcd-idc/3.")] = "champion",
    format: Annotated[Format, typer.Option(help="The kind of file.")] = "keras",  # noqa: A002
    to: Annotated[Path | None, typer.Option(help="The file; by default bcd-idc-VERSION here.")] = None,
) -> None:
    """Write a version as one file from raw patches to calibrated probability, checked against the bundle."""
    from bcd.cli.terminal import at_work
    from bcd.settings import load_settings

    settings = load_settings()
    with at_work(settings) as console:
        from bcd.bundle.export.export import export_bundle
        from bcd.bundle.export.runtimes import RUNTIMES
        from bcd.bundle.registry import open_folder, require_row

        RUNTIMES[format].require(format)
        row = require_row(settings, model)
        path = to or Path(row.name.replace("/", "-") + RUNTIMES[format].suffix)
        with open_folder(settings, row) as folder:
            note = export_bundle(folder, row.name, format, path)
        found = ", ".join(f"{name} within {off:.1g}" for name, off in note.difference.items())
        console.print(f"{path}: {note.bundle} as {format}, compared with it on {note.probes} patches: {found}.")
        console.print(f"What goes in and comes out: {path}.json", soft_wrap=True)
