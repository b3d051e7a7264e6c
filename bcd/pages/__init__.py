"""HTML pages that need nothing beside them: one layout, one style sheet, a list of contents, embedded pictures.

A page is a template that extends `layout.html.j2` and takes its tables from `parts.html.j2`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from jinja2 import Environment

_CONTENTS = "<!-- contents -->"
_HEADING = re.compile(r"<h([23])>(.*?)</h\1>", re.DOTALL)
_FEWEST, _MOST = 3, 40  # headings; a page of many models lists its models only


def render_page(
    package: str, template: str, facts: Mapping[str, Any], filters: Mapping[str, Callable[..., str]] | None = None
) -> str:
    """Renders a template of a package as a page with a list of its contents.

    Args:
        package: Where the template lies.
        template: The template, which extends `layout.html.j2`.
        facts: What it shows; it is escaped.
        filters: The filters that it uses.
    """
    environment = open_page_templates(package)
    environment.filters.update(filters or {})
    return list_page_contents(environment.get_template(template).render(facts))


@cache
def open_page_templates(package: str) -> Environment:
    """Opens the templates of a package and the shared ones, once: what is shown is escaped, no name is missing."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=ChoiceLoader([PackageLoader(package, ""), PackageLoader(__name__, "")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def list_page_contents(page: str) -> str:
    """Gives the headings of a page (h2 and h3 without attributes) an address, and lists them at its beginning."""
    headings = _HEADING.findall(page)
    shown = "23" if len(headings) <= _MOST else "2"
    entries: list[str] = []

    def address(heading: re.Match[str]) -> str:
        level, text = heading.groups()
        place = f"part-{len(entries) + 1}"
        if level in shown:
            entries.append(f'<li class="level-{level}"><a href="#{place}">{_text_of(text)}</a></li>')
        return f'<h{level} id="{place}">{text}</h{level}>' if level in shown else heading[0]

    page = _HEADING.sub(address, page)
    if len(entries) < _FEWEST:
        return page.replace(_CONTENTS, "")
    listed = f'<nav aria-label="Contents"><b>Contents</b><ul>{"".join(entries)}</ul></nav>'
    return page.replace(_CONTENTS, listed, 1)


def _text_of(html: str) -> str:
    """Returns HTML without its tags, still escaped: in text, `<` only begins a tag."""
    return " ".join(re.sub(r"<[^>]*>", "", html).split())


def embed_picture_in_page(picture: bytes, kind: Literal["png", "jpeg", "webp"]) -> str:
    """Returns a picture as the address that shows it in a page."""
    return f"data:image/{kind};base64," + base64.b64encode(picture).decode("ascii")
