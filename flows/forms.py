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

from bcd.config import TABLES, load_configuration
from bcd.registry.options import GateOptions
from bcd.scoring.options import ScoreOptions
from bcd.search.options import SearchOptions
from bcd.store.options import SplitOptions
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
        fields = handler.resolve_ref_schema(shown)["properties"]
        for name, value in self._read().items():
            fields[name]["default"] = to_jsonable_python(value)
        return shown

    def _complete(self, given: Any) -> Any:
        return {**self._read(), **given} if isinstance(given, dict) else given

    def _read(self) -> dict[str, Any]:
        return dict(load_configuration().options(self.table, TABLES[self.table]))


Text = Annotated[str, StringConstraints(strip_whitespace=True)]
Splits = Annotated[SplitOptions, Configured("splits")] | None
Search = Annotated[SearchOptions, Configured("search")] | None
Training = Annotated[TrainOptions, Configured("training")] | None
Ensemble = Annotated[EnsembleOptions, Configured("ensemble")] | None
Gate = Annotated[GateOptions, Configured("gate")] | None
Scoring = Annotated[ScoreOptions, Configured("scoring")] | None
