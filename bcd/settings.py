"""Where things live: `BCD_*` variables and `bcd.toml` in BCD_HOME.

Everything that bcd keeps lies under one folder, `Settings.home`. A variable wins over the file. The options of a
concern (training, search, …) are tables of the same file, read with the options model of that concern, so that one
definition serves bcd.toml, the command line and the Prefect form.

Example:
    >>> settings = load_settings()
    >>> settings.inbox.name
    'inbox'
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from bcd.errors import BcdError
from bcd.options import Options

OptionsT = TypeVar("OptionsT", bound=Options)

DEFAULT_HOME = "~/.bcd"


class Settings(BaseSettings):
    """Folders, ports and addresses of one bcd installation."""

    model_config = SettingsConfigDict(env_prefix="BCD_", env_nested_delimiter="__", frozen=True, extra="forbid")

    home: Path = Field(Path(DEFAULT_HOME), description="The one folder that holds all state.")
    keys: Path = Field(
        Path(), description="Where the key of pseudonyms lies; empty: beside BCD_HOME, as HOME.keys, never in it."
    )
    catalog_url: str = Field("", description="SQLAlchemy URL of the catalog; empty: SQLite under BCD_HOME.")
    study_url: str = Field("", description="SQLAlchemy URL of the studies' storage; empty: SQLite under BCD_HOME.")
    mlflow_url: str = Field("", description="An MLflow server to use instead of bcd's own store.")
    prefect_port: int = Field(4200, ge=1, le=65535, description="Port of the Prefect server that `bcd up` starts.")
    mlflow_port: int = Field(5000, ge=1, le=65535, description="Port of the MLflow server that `bcd up` starts.")
    studies_port: int = Field(8080, ge=1, le=65535, description="Port of the Optuna dashboard that `bcd up` starts.")
    inbox_quiet_seconds: float = Field(
        10.0, ge=0, description="A delivery in the inbox is taken once nothing in it changed for so long."
    )
    after_admission: Literal["move", "delete", "keep"] = Field(
        "move",
        description="What becomes of an admitted delivery of the inbox: moved to received/, deleted, or kept.",
    )
    splits: dict[str, Any] = Field({}, description="Options of SplitOptions.")
    preparation: dict[str, Any] = Field({}, description="Options of PrepareOptions.")
    search: dict[str, Any] = Field({}, description="Options of SearchOptions.")
    training: dict[str, Any] = Field({}, description="Options of TrainOptions.")
    ensemble: dict[str, Any] = Field({}, description="Options of EnsembleOptions.")
    evaluation: dict[str, Any] = Field({}, description="Options of EvaluateOptions.")
    gate: dict[str, Any] = Field({}, description="Options of GateOptions.")
    scoring: dict[str, Any] = Field({}, description="Options of ScoreOptions.")
    synthetic: dict[str, Any] = Field({}, description="Options of HospitalOptions.")

    @field_validator("home")
    @classmethod
    def _make_absolute(cls, home: Path) -> Path:
        if "?" in str(home):
            raise ValueError(f"{home} holds a question mark, at which the address of a database in it would end")
        return home.expanduser().absolute()

    @model_validator(mode="before")
    @classmethod
    def _keep_keys_apart(cls, values: Any) -> Any:
        home = Path(values.get("home", DEFAULT_HOME)).expanduser().absolute()
        keys = values.get("keys") or home.with_name(f"{home.name}.keys")
        return {**values, "keys": Path(keys).expanduser().absolute()}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Reads, in order of weight: arguments, variables, bcd.toml of the home that those name."""
        named = init_settings().get("home") or os.environ.get("BCD_HOME") or DEFAULT_HOME
        file = Path(named).expanduser() / "bcd.toml"
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=file)

    @property
    def inbox(self) -> Path:
        """Deliveries waiting to be admitted, as `inbox/HOSPITAL/DELIVERY`."""
        return self.home / "inbox"

    @property
    def received(self) -> Path:
        """Deliveries of the inbox after admission, as `received/HOSPITAL/DELIVERY`."""
        return self.home / "received"

    @property
    def set_aside(self) -> Path:
        """Deliveries of the inbox that could not be admitted at all, each with its reason."""
        return self.home / "set-aside"

    @property
    def batches(self) -> Path:
        """Admitted pixels and their index, a folder a batch."""
        return self.home / "store" / "batches"

    @property
    def snapshots(self) -> Path:
        """Frozen lists of patches."""
        return self.home / "store" / "snapshots"

    @property
    def quarantine(self) -> Path:
        """Refused files, a folder a delivery."""
        return self.home / "store" / "quarantine"

    @property
    def scratch(self) -> Path:
        """Temporary files of admissions under way: unpacked archives, fetched deliveries, slides."""
        return self.home / "cache" / "scratch"

    @property
    def reports(self) -> Path:
        """Admission reports, a page a delivery."""
        return self.home / "reports"

    @property
    def prepared(self) -> Path:
        """Prepared pixels of snapshots; may be deleted at any time."""
        return self.home / "cache" / "prepared"

    @property
    def work(self) -> Path:
        """Studies, networks and evaluations of retraining runs, by their key."""
        return self.home / "work"

    @property
    def scores(self) -> Path:
        """Scored patients: Parquet, pictures and reports."""
        return self.home / "scores"

    @property
    def mlflow(self) -> Path:
        """Database and artifacts of bcd's own MLflow store."""
        return self.home / "mlflow"

    @property
    def prefect(self) -> Path:
        """PREFECT_HOME."""
        return self.home / "prefect"

    @property
    def logs(self) -> Path:
        """What the servers and the worker of `bcd up` write."""
        return self.home / "logs"

    @property
    def servers(self) -> Path:
        """Process ids and addresses of what `bcd up` started."""
        return self.home / "servers.json"

    @property
    def catalog(self) -> str:
        """SQLAlchemy URL of the catalog."""
        return self.catalog_url or f"sqlite:///{self.home / 'catalog.db'}"

    @property
    def study_storage(self) -> str:
        """SQLAlchemy URL of the Optuna storage."""
        return self.study_url or f"sqlite:///{self.home / 'optuna.db'}"

    def options(self, table: str, model: type[OptionsT], **overrides: object) -> OptionsT:
        """Reads one table of bcd.toml (or its `BCD_TABLE__KEY` variables) with the options model of its concern.

        Args:
            table: Name of the table, such as `training`.
            model: The options model that validates it.
            **overrides: Options named on the command line or in the form; those that are None are left out.

        Raises:
            BcdError: An option is unknown or out of bounds.
        """
        values = {**getattr(self, table), **{k: v for k, v in overrides.items() if v is not None}}
        try:
            # Not strict: variables are text.
            return model.model_validate(values, strict=False)
        except ValidationError as error:
            raise _as_bcd_error(error, f"[{table}]") from error


def load_settings(home: Path | None = None) -> Settings:
    """Reads the settings of `home`, or of BCD_HOME, or of ~/.bcd.

    Raises:
        BcdError: A setting is unknown or out of bounds.
    """
    try:
        return Settings(home=home) if home is not None else Settings()
    except ValidationError as error:
        raise _as_bcd_error(error, "bcd.toml or the BCD_* variables") from error
    except ValueError as error:  # bcd.toml is no TOML, or a variable is no JSON
        raise BcdError(f"The settings cannot be read: {error}.", "Mend bcd.toml in BCD_HOME.") from error


def require_home(settings: Settings) -> None:
    """Makes sure that the home exists, for whoever only reads from it or goes on with it.

    Raises:
        BcdError: There is no such folder, or nothing of bcd is in it.
    """
    known = ("bcd.toml", "catalog.db", "inbox", "store", "mlflow", "prefect")
    if not any((settings.home / name).exists() for name in known):
        state = "There is no folder" if not settings.home.exists() else "Nothing of bcd is in the folder"
        raise BcdError(
            f"{state} {settings.home}.",
            "Name the right one with --home or BCD_HOME; `bcd ingest`, `bcd demo` and `bcd up` make a new one.",
        )


def _as_bcd_error(error: ValidationError, where: str) -> BcdError:
    faults = "; ".join(f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors())
    return BcdError(f"Settings in {where} are not valid: {faults}.", "Correct them in bcd.toml or the environment.")
