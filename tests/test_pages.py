"""Pages: a name that is missing is an error, what is shown is escaped, and a picture lies in the page itself."""

from __future__ import annotations

import base64

import pytest
from jinja2 import UndefinedError

from bcd.pages import embed_picture, open_templates


def test_a_name_that_is_missing_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="nothing"):
        open_templates("bcd.registry").from_string("{{ nothing }}").render()


def test_what_is_shown_is_escaped() -> None:
    assert open_templates("bcd.registry").from_string("{{ name }}").render(name="<b>") == "&lt;b&gt;"


def test_a_picture_lies_in_the_page_itself() -> None:
    head, body = embed_picture(b"picture", "png").split(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(body) == b"picture"
