"""HTML pages that need nothing beside them: how templates are read, and how pictures are put into a page."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from jinja2 import Environment


def open_templates(package: str) -> Environment:
    """Opens the templates of a package; what they show is escaped, and a name that is missing is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader(package, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def embed_picture(picture: bytes, kind: Literal["png", "jpeg"]) -> str:
    """Returns a picture as the address that shows it in a page."""
    return f"data:image/{kind};base64," + base64.b64encode(picture).decode("ascii")
