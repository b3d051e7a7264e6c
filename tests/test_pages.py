"""Pages list their contents, escape what they show, hold their pictures, and miss no name without an error."""

from __future__ import annotations

import base64
import re

import pytest
from jinja2 import UndefinedError

from bcd.pages import embed_picture_in_page, list_page_contents, open_page_templates


def test_a_name_that_is_missing_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="nothing"):
        open_page_templates("bcd.bundle.card").from_string("{{ nothing }}").render()


def test_what_is_shown_is_escaped() -> None:
    assert open_page_templates("bcd.bundle.card").from_string("{{ name }}").render(name="<b>") == "&lt;b&gt;"


def test_a_picture_lies_in_the_page_itself() -> None:
    head, body = embed_picture_in_page(b"picture", "png").split(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(body) == b"picture"


PAGE = "<!-- contents --><h2>First &amp; last</h2><h3><code>size</code> <span>2 files</span></h3><h2>Second</h2>"


def test_the_headings_of_a_page_are_listed_and_reached() -> None:
    page = list_page_contents(PAGE)
    assert re.findall(r'<li class="level-(\d)"><a href="#(.*?)">(.*?)</a>', page) == [
        ("2", "part-1", "First &amp; last"),
        ("3", "part-2", "size 2 files"),
        ("2", "part-3", "Second"),
    ]
    assert re.findall(r'<h\d id="(.*?)">', page) == ["part-1", "part-2", "part-3"]


def test_a_short_page_has_no_list_and_a_long_one_lists_its_parts_only() -> None:
    assert "<nav" not in list_page_contents("<!-- contents --><h2>First</h2><h2>Second</h2>")
    page = list_page_contents("<!-- contents -->" + 3 * ("<h2>Model</h2>" + 15 * "<h3>Table</h3>"))
    assert page.count("<li") == 3
