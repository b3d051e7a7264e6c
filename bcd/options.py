"""The base of every options model: one definition for the command line, bcd.toml and the Prefect form."""

from __future__ import annotations

import hashlib

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """A frozen, strict set of options; an unknown key is an error, and every field carries its help text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def fingerprint(self) -> str:
        """Returns 12 hex digits that are equal exactly when the options are."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]
