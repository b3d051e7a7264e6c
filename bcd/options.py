"""The base of every options model: one definition for the command line, bcd.toml and the Prefect form."""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import BaseModel, ConfigDict


def _describe_in_a_sentence(schema: dict[str, Any]) -> None:
    """Keeps of a docstring what a form shows: not the sections for programmers."""
    schema["description"] = schema["description"].partition("\n\n")[0]


class Options(BaseModel):
    """A frozen, strict set of options; an unknown key is an error, and every field carries its help text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, json_schema_extra=_describe_in_a_sentence)

    def fingerprint(self) -> str:
        """Returns 12 hex digits that are equal exactly when the options are."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]
