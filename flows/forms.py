"""What the forms of the dashboard show and take.

A section of options shows what the home's bcd.toml says when the flow is deployed, and what is left out of it is as
bcd.toml says when the flow runs. Text is trimmed.

Examples:
    >>> def retrain(snapshot: Text = "", gate: Gate = None): ...
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, StringConstraints
from pydantic_core import CoreSchema, core_schema, to_jsonable_python

from bcd.config import TABLES, load_configuration
from bcd.errors import BcdError
from bcd.gate.options import GateOptions
from bcd.options import Options
from bcd.patches import FINEST, MOST_COARSE
from bcd.scoring.options import ScoreOptions
from bcd.search.options import SearchOptions
from bcd.snapshots.options import SplitOptions
from bcd.training.options import EnsembleOptions, TrainOptions


@dataclass(frozen=True)
class Configured:
    """Marks options that a table of bcd.toml completes.

    Attributes:
        table: Name of the table, such as `training`.
    """

    table: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._complete, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        shown = handler(schema)
        _show_defaults(shown, load_configuration().options(self.table, TABLES[self.table]), handler)
        return shown

    def _complete(self, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        configuration = load_configuration()
        try:
            return configuration.options(self.table, TABLES[self.table], **given)
        except BcdError as error:
            raise BcdError(error.what, "Correct it in the form and run again.") from error


def _show_defaults(schema: dict[str, Any], options: Options, handler: GetJsonSchemaHandler) -> None:
    """Makes what the options say the defaults of a section, and of the sections within it."""
    fields = handler.resolve_ref_schema(schema)["properties"]
    for name, value in options:
        if name not in fields:  # in bcd.toml alone
            continue
        fields[name]["default"] = to_jsonable_python(value)
        if isinstance(value, Options):
            _show_defaults(fields[name], value, handler)


Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=255)]
Place = Annotated[str, StringConstraints(strip_whitespace=True, max_length=4096)]
"""A path or an address."""

Spacing = Annotated[float, Field(ge=FINEST, le=MOST_COARSE)] | None
"""In µm per pixel, as far as slides are taken."""

Splits = Annotated[SplitOptions, Configured("splits")] | None
Search = Annotated[SearchOptions, Configured("search")] | None
Training = Annotated[TrainOptions, Configured("training")] | None
Ensemble = Annotated[EnsembleOptions, Configured("ensemble")] | None
Gate = Annotated[GateOptions, Configured("gate")] | None
Scoring = Annotated[ScoreOptions, Configured("scoring")] | None
