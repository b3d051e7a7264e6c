"""The page that tells what started the runs which are written now: a flow run on Prefect's dashboard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_page: ContextVar[str] = ContextVar("page", default="")

_LINK = "\n\n[Started from this flow run]"


@contextmanager
def started_from(page: str) -> Iterator[None]:
    """Makes every note that is written in the block end with a link to `page`; an empty one: to none."""
    token = _page.set(page)
    try:
        yield
    finally:
        _page.reset(token)


def add_link(note: str) -> str:
    """Returns a note with the link to what started it."""
    return f"{note}{_LINK}({_page.get()})" if _page.get() else note


def strip_mlflow_link(note: str) -> str:
    """Returns a note as it was written, without the link."""
    return note.partition(_LINK)[0]
