"""How patches are prepared, as options."""

from __future__ import annotations

from pydantic import Field

from bcd.options import Options


class PrepareOptions(Options):
    """How patches are prepared before a network sees them; part of every bundle."""

    sharpen: bool = Field(True, description="Sharpen with the 3x3 kernel of the founding work.")
