"""The base of every options model: one definition for the command line, bcd.toml and the Prefect form.

Examples:
    >>> from pydantic import Field
    >>> class Example(Options):
    ...     epochs: Epochs = Field(12, ge=1, le=1000, description="Times that every training patch is seen.")
    >>> describe_option_limits(Example.model_fields["epochs"]), find_option_unit(Example.model_fields["epochs"])
    ('a whole number from 1 to 1000', 'epochs')
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo


def _describe_in_a_sentence(schema: dict[str, Any]) -> None:
    """Keeps of a docstring what a form shows: not the sections for programmers."""
    schema["description"] = schema["description"].partition("\n\n")[0]


class Options(BaseModel):
    """A frozen, strict set of options; an unknown key is an error, and every field carries its help text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, json_schema_extra=_describe_in_a_sentence)

    def fingerprint(self) -> str:
        """Returns 12 hex digits that are equal exactly when the options are."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Unit:
    """What the number of an option counts or measures."""

    name: str


Days = Annotated[int, Unit("days")]
Epochs = Annotated[int, Unit("epochs")]
Folds = Annotated[int, Unit("folds")]
Microns = Annotated[float, Unit("µm per pixel")]
Patches = Annotated[int, Unit("patches")]
Patients = Annotated[int, Unit("patients")]
Pixels = Annotated[int, Unit("pixels")]
Port = Annotated[int, Unit("TCP port")]
Probability = Annotated[float, Unit("probability")]
Seconds = Annotated[float, Unit("seconds")]
Share = Annotated[float, Unit("share")]


def inner_options(model: type[BaseModel]) -> dict[str, type[Options]]:
    """Returns the options of a model that are tables themselves, by name."""
    fields = ((name, field.annotation) for name, field in model.model_fields.items())
    return {name: kind for name, kind in fields if isinstance(kind, type) and issubclass(kind, Options)}


def find_option_unit(field: FieldInfo) -> str:
    """Returns the unit of an option; empty where it has none."""
    return next((each.name for each in field.metadata if isinstance(each, Unit)), "")


def describe_option_limits(field: FieldInfo) -> str:
    """Tells which values an option accepts: its kind and its limits."""
    return _describe_annotation(field.annotation, field.metadata)


_KINDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    NoneType: "none",
}


def _describe_annotation(annotation: Any, metadata: Sequence[Any]) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation in _KINDS:
        return " ".join([_KINDS[annotation], *_describe_limits(metadata)])
    if origin is Literal:
        return f"one of {', '.join(str(part) for part in parts)}" if len(parts) > 1 else f"{parts[0]}"
    if origin is Annotated:
        inner = [each for part in parts[1:] for each in (part.metadata if isinstance(part, FieldInfo) else [part])]
        return _describe_annotation(parts[0], inner)
    if origin in {list, dict}:
        return f"a {'list, each' if origin is list else 'table, each value'} {_describe_annotation(parts[-1], [])}"
    if origin in {Union, UnionType}:
        return " or ".join(_describe_annotation(part, metadata if part is not NoneType else []) for part in parts)
    return "a table"


def _describe_limits(metadata: Sequence[Any]) -> list[str]:
    least, most = "", ""
    for each in metadata:
        if isinstance(each, annotated_types.Ge):
            least = f"from {each.ge}"
        elif isinstance(each, annotated_types.Gt):
            least = f"above {each.gt}"
        elif isinstance(each, annotated_types.Le):
            most = f"to {each.le}"
        elif isinstance(each, annotated_types.Lt):
            most = f"and below {each.lt}"
        elif isinstance(each, annotated_types.MinLen):
            least = f"of at least {each.min_length} characters" if each.min_length > 1 else "that is not empty"
        elif isinstance(each, annotated_types.MaxLen):
            most = f"of at most {each.max_length} characters"
        elif pattern := getattr(each, "pattern", None):
            most = f"of the form `{pattern}`"
    return [limit for limit in (least, most) if limit]
