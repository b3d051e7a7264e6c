"""How patches are prepared, as options."""

from __future__ import annotations

import hashlib
from typing import Final, Literal

from pydantic import Field

from bcd.options import Options

PREPARATION: Final = 1
"""Version of `prepare`: another number where the same options give other pixels."""

_ALWAYS = {"stain": "none", "version": 1}


class PrepareOptions(Options):
    """How patches are prepared before a network sees them; part of every bundle."""

    sharpen: bool = Field(True, description="Sharpen with the 3x3 kernel of the founding work.")
    stain: Literal["none", "reinhard", "macenko"] = Field(
        "none",
        description="Normalise the stain of each patch by itself, before sharpening. An ablation: it can hurt.",
    )
    version: Literal[1] = Field(PREPARATION, description="Version of the preparation; this bcd knows only this one.")

    def fingerprint(self) -> str:
        """Returns 12 hex digits that are equal exactly when the options are.

        Options that came later do not count while they say what was always done: what was prepared and searched
        before they came keeps its name.
        """
        unsaid = {name for name, value in _ALWAYS.items() if getattr(self, name) == value}
        return hashlib.sha256(self.model_dump_json(exclude=unsaid).encode()).hexdigest()[:12]
