"""How patches are prepared, as options."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from bcd.options import Options

PREPARATION: Final = 1
"""Version of `prepare`: another number where the same options give other pixels."""


class PrepareOptions(Options):
    """How patches are prepared before a network sees them; part of every bundle."""

    sharpen: bool = Field(True, description="Sharpen with the 3x3 kernel of the founding work.")
    version: Literal[1] = Field(PREPARATION, description="Version of the preparation; this bcd knows only this one.")
