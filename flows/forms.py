"""What the forms of the dashboard show and take.

A section of options shows what the home's bcd.toml says when the flow is deployed, and what is left out of it is as
bcd.toml says when the flow runs. Text is trimmed.

Example:
    >>> def retrain(snapshot: Text = "", gate: Gate = None): ...
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, StringConstraints
from pydantic_core import CoreSchema, core_schema, to_jsonable_python

from bcd.options import Options
from bcd.registry.options import GateOptions
from bcd.scoring.options import ScoreOptions
from bcd.search.options import SearchOptions
from bcd.settings import load_settings
from bcd.store.options import SplitOptions
from bcd.training.ensemble import EnsembleOptions
from bcd.training.options import TrainOptions


@dataclass(frozen=True)
class Configured:
    """Marks options that a table of bcd.toml completes.

    Attributes:
        table: Name of the table, such as `training`.
        model: Its options model.
    """

    table: str
    model: type[Options]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._complete, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        shown = handler(schema)
        fields = handler.resolve_ref_schema(shown)["properties"]
        for name, value in self._read().items():
            fields[name]["default"] = to_jsonable_python(value)
        return shown

    def _complete(self, given: Any) -> Any:
        return {**self._read(), **given} if isinstance(given, dict) else given

    def _read(self) -> dict[str, Any]:
        return dict(load_settings().options(self.table, self.model))


Text = Annotated[str, StringConstraints(strip_whitespace=True)]
Splits = Annotated[SplitOptions, Configured("splits", SplitOptions)] | None
Search = Annotated[SearchOptions, Configured("search", SearchOptions)] | None
Training = Annotated[TrainOptions, Configured("training", TrainOptions)] | None
Ensemble = Annotated[EnsembleOptions, Configured("ensemble", EnsembleOptions)] | None
Gate = Annotated[GateOptions, Configured("gate", GateOptions)] | None
Scoring = Annotated[ScoreOptions, Configured("scoring", ScoreOptions)] | None
