"""Architectures by name or from a file: a preset, or TOML or JSON that a person wrote.

Examples:
    >>> load_architecture("compact").stages[0].filters
    32
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bcd.errors import BcdError, NotFoundError
from bcd.networks.architecture import PRESETS, Architecture

_READERS = {".toml": tomllib.loads, ".json": json.loads}


def load_architecture(named: str | Path) -> Architecture:
    """Returns a preset by its name, or the architecture that a file describes.

    Args:
        named: A preset's name, or the path of a .toml or .json file with the fields of `Architecture`, at its top or
            under the key `architecture`, as in the `training.json` of a training.

    Raises:
        BcdError: There is neither, the file cannot be read, or what it describes breaks a rule.
    """
    if (preset := PRESETS.get(str(named))) is not None:
        return preset
    path = Path(named)
    values = _read(path)
    try:
        return Architecture.model_validate(values.get("architecture", values))
    except ValidationError as error:
        faults = "; ".join(_tell(fault) for fault in error.errors())
        raise BcdError(f"{path} describes no architecture: {faults}.", _fix(error)) from error
    except BcdError as error:
        raise BcdError(f"{path}: {error.what}", error.fix) from error


def _read(path: Path) -> dict[str, Any]:
    reader = _READERS.get(path.suffix.lower())
    if not path.is_file():
        raise NotFoundError(
            f"There is no architecture {str(path)!r}: no preset has that name, and no such file exists.",
            f"Name one of {', '.join(PRESETS)}, or a .toml or .json file.",
        )
    if reader is None:
        raise BcdError(f"{path} is neither .toml nor .json.", "Write the architecture as one of them.")
    try:
        values = reader(path.read_text("utf-8"))
    except (OSError, ValueError) as error:  # what is no TOML, no JSON or no UTF-8 are ValueErrors
        raise BcdError(
            f"{path} cannot be read: {error}.", f"Fix it; it must be {path.suffix[1:].upper()}."
        ) from error
    if not isinstance(values, dict) or not isinstance(values.get("architecture", {}), dict):
        raise BcdError(f"{path} describes no architecture: it is no table of keys.", "Give it a list of `stages`.")
    return values


def _tell(fault: Any) -> str:
    what = "no such key" if fault["type"] == "extra_forbidden" else fault["msg"]
    parts = [f"stage {part + 1}" if isinstance(part, int) else part for part in fault["loc"]]
    return f"{', '.join(parts[len(parts) > 1 and parts[0] == 'stages' :])}: {what}"


def _fix(error: ValidationError) -> str:
    """Says which keys there are, where one is unknown; else to correct it."""
    unknown = [fault["loc"][:-1] for fault in error.errors() if fault["type"] == "extra_forbidden"]
    if not unknown:
        return "Correct it; docs/reference/architecture.md says what each key may be."
    model: Any = Architecture
    for part in unknown[0]:
        if isinstance(part, str):
            model = _model_of(model.model_fields[part].annotation)
    return f"Keys there are: {', '.join(model.model_fields)}."


def _model_of(annotation: Any) -> Any:
    """Returns the model in an annotation such as `list[Stage]` or `Stem | None`."""
    return next((part for part in getattr(annotation, "__args__", ()) if hasattr(part, "model_fields")), annotation)
