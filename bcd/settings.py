"""Where things live: `BCD_*` variables, files of secrets, and `bcd.toml` in BCD_HOME.

Everything that bcd keeps lies under one folder, `Settings.home`. A variable wins over the file. The options of a
concern (training, search, …) are tables of the same file, read with the options model of that concern, so that one
definition serves bcd.toml, the command line and the Prefect form. Commands and flows read the settings with
`bcd.config.load_configuration`, which validates the tables too.

Examples:
    >>> settings = load_settings()
    >>> settings.inbox.name
    'inbox'
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bcd.errors import BcdError, NotFoundError
from bcd.options import Options, Port, Seconds, inner_options
from bcd.origins import FILE, Given, find_faults, merge_settings, read_given_settings

OptionsT = TypeVar("OptionsT", bound=Options)

DEFAULT_HOME = "~/.bcd"

LEAST_FREE = 5 * 2**30
"""Bytes that should be free on the disk of a home."""


class Settings(BaseModel):
    """Folders, ports and addresses of one bcd installation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(Path(DEFAULT_HOME), description="The one folder that holds all state.")
    keys: Path = Field(
        Path(), description="Where the key of pseudonyms lies; empty: beside BCD_HOME, as HOME.keys, never in it."
    )
    catalog_url: str = Field("", description="SQLAlchemy URL of the catalog; empty: SQLite under BCD_HOME.")
    study_url: str = Field("", description="SQLAlchemy URL of the studies' storage; empty: SQLite under BCD_HOME.")
    store_url: str = Field(
        "",
        description="s3://BUCKET/PREFIX of batches, snapshots, networks, scores and reports; empty: BCD_HOME alone.",
    )
    store_cache_gb: float = Field(
        100.0,
        ge=0,
        description="GB of store_url that BCD_HOME keeps a copy of; what was used longest ago goes first.",
    )
    mlflow_url: str = Field("", description="An MLflow server to use instead of bcd's own store.")
    prefect_url: str = Field(
        "", description="A Prefect server to use instead of the one that `bcd up` starts, as http://HOST:4200."
    )
    prefect_port: Port = Field(4200, ge=1, le=65535, description="Port of the Prefect server that `bcd up` starts.")
    mlflow_port: Port = Field(5000, ge=1, le=65535, description="Port of the MLflow server that `bcd up` starts.")
    studies_port: Port = Field(8080, ge=1, le=65535, description="Port of the Optuna dashboard that `bcd up` starts.")
    reports_port: Port = Field(8090, ge=1, le=65535, description="Port of the page of reports that `bcd up` starts.")
    password_file: str = Field(
        "", description="A file with USER:PASSWORD, which all pages of `bcd up` ask for; empty: they ask for none."
    )
    notify_url: str = Field(
        "", description="Address that gets failures, verdicts, drift and a full disk as JSON; empty: nobody is told."
    )
    timezone: str = Field("UTC", description="Time zone of the schedules of `bcd up`, such as Europe/Berlin.")
    trainings_at_once: int = Field(
        1, ge=1, le=256, description="Studies and trainings on one Prefect server at a time; others wait."
    )
    scorings_at_once: int = Field(
        2, ge=1, le=256, description="Runs of `score` at a time, so that one patient need not wait for the night's."
    )
    inbox_quiet_seconds: Seconds = Field(
        10.0, ge=0, description="A delivery in the inbox is taken once nothing in it changed for so long."
    )
    after_admission: Literal["move", "delete", "keep"] = Field(
        "move",
        description="What becomes of an admitted delivery of the inbox: moved to received/, deleted, or kept.",
    )
    splits: dict[str, Any] = Field({}, description="The table [splits].")
    preparation: dict[str, Any] = Field({}, description="The table [preparation].")
    search: dict[str, Any] = Field({}, description="The table [search].")
    training: dict[str, Any] = Field({}, description="The table [training].")
    ensemble: dict[str, Any] = Field({}, description="The table [ensemble].")
    evaluation: dict[str, Any] = Field({}, description="The table [evaluation].")
    outcome: dict[str, Any] = Field({}, description="The table [outcome].")
    gate: dict[str, Any] = Field({}, description="The table [gate].")
    retrain: dict[str, Any] = Field({}, description="The table [retrain].")
    scoring: dict[str, Any] = Field({}, description="The table [scoring].")
    run: dict[str, Any] = Field({}, description="The table [run].")
    timeouts: dict[str, Any] = Field({}, description="The table [timeouts].")
    backup: dict[str, Any] = Field({}, description="The table [backup].")
    labels: dict[str, Any] = Field({}, description="The table [labels].")
    synthetic: dict[str, Any] = Field({}, description="The table [synthetic].")

    @field_validator("timezone")
    @classmethod
    def _know_zone(cls, name: str) -> str:
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("a time zone of the IANA database, such as Europe/Berlin") from error
        return name

    @field_validator("store_url")
    @classmethod
    def _know_store(cls, url: str) -> str:
        if url and not re.fullmatch(r"s3://[^/?#]+(/[^?#]+)?", url.rstrip("/")):
            raise ValueError("an address such as s3://BUCKET/PREFIX")
        return url.rstrip("/")

    @field_validator("prefect_url")
    @classmethod
    def _be_an_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("the address of a Prefect server, such as http://HOST:4200")
        if parts.password or parts.username:
            raise ValueError("an address without a user and a password, which password_file names")
        return url.rstrip("/").removesuffix("/api")

    @field_validator("home")
    @classmethod
    def _make_absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @model_validator(mode="before")
    @classmethod
    def _keep_keys_apart(cls, values: Any) -> Any:
        home = Path(values.get("home", DEFAULT_HOME)).expanduser().absolute()
        keys = values.get("keys") or home.with_name(f"{home.name}.keys")
        return {**values, "keys": str(Path(keys).expanduser().absolute())}  # text, as in JSON

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
    def stored(self) -> Path:
        """What this machine knows of the copies that it keeps of what lies at `store_url`."""
        return self.home / "cache" / "stored"

    @property
    def work(self) -> Path:
        """Studies, networks and evaluations of retraining runs, by their key."""
        return self.home / "work"

    @property
    def scores(self) -> Path:
        """Scored patients: Parquet, pictures and reports."""
        return self.home / "scores"

    @property
    def shadow(self) -> Path:
        """What a challenger scored beside the champion, apart from the reports."""
        return self.home / "shadow"

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

        Options that are a table of their own, such as `outcome`, which evaluation and scoring share, come from there.

        Args:
            table: Name of the table, such as `training`.
            model: The options model that validates it.
            **overrides: Options named on the command line or in the form; those that are None are left out.

        Raises:
            BcdError: An option is unknown or out of bounds.
        """
        asked = {name: value for name, value in overrides.items() if value is not None}
        shared = {name: getattr(self, name) for name in inner_options(model) if name in Settings.model_fields}
        try:
            # Not strict: variables are text.
            return model.model_validate(_fill_asked_options({**getattr(self, table), **shared}, asked), strict=False)
        except ValidationError as error:
            given = read_given_settings(self.home)
            if faults := find_faults(model, (table,), given):
                raise invalid_configuration(faults, self.home) from error
            given += [Given((table, name), value, "") for name, value in asked.items()]
            faults = find_faults(model, (table,), given)
            raise BcdError("\n     ".join(faults), "Name a value that is accepted.") from error


def load_settings(home: Path | None = None) -> Settings:
    """Reads the settings of `home`, or of BCD_HOME, or of ~/.bcd; of tables it reads no option.

    Raises:
        BcdError: A setting is unknown or out of bounds.
    """
    folder = find_home(home)
    given = read_given_settings(folder)
    try:
        return Settings.model_validate(merge_settings(given) | {"home": folder})
    except ValidationError as error:
        raise invalid_configuration(find_setting_faults(given), folder) from error


def require_home(settings: Settings) -> None:
    """Makes sure that the home exists, for whoever only reads from it or goes on with it.

    Raises:
        BcdError: There is no such folder, or nothing of bcd is in it.
    """
    known = ("bcd.toml", "catalog.db", "inbox", "store", "mlflow", "prefect")
    if settings.catalog_url:  # another machine's home may have it all
        return
    if not any((settings.home / name).exists() for name in known):
        state = "There is no folder" if not settings.home.exists() else "Nothing of bcd is in the folder"
        raise NotFoundError(
            f"{state} {settings.home}.",
            "Name the right one with --home or BCD_HOME; `bcd ingest`, `bcd demo` and `bcd up` make a new one.",
        )


def find_setting_faults(given: Sequence[Given], others: Mapping[str, str] | None = None) -> list[str]:
    """Tells in a sentence each what is wrong with the settings above all tables; as `find_faults`."""
    faults = find_faults(Settings, (), given, others)
    inside = [each.where for each in given if each.path == ("home",) and each.where.startswith(FILE)]
    return faults + [f"{where}: home is the folder of this very file; set BCD_HOME instead." for where in inside]


def find_home(home: Path | None = None) -> Path:
    """Returns `home`, or BCD_HOME, or ~/.bcd, as an absolute path.

    Raises:
        BcdError: It holds a question mark.
    """
    found = Path(home or os.environ.get("BCD_HOME") or DEFAULT_HOME).expanduser().absolute()
    if "?" in str(found):
        raise BcdError(
            f"The home {found} holds a question mark, at which the address of a database in it would end.",
            "Name another folder with --home or BCD_HOME.",
        )
    return found


def invalid_configuration(faults: list[str], home: Path) -> BcdError:
    """Returns the error that names every fault of the configuration."""
    return BcdError("\n     ".join(faults), f"Correct {home / FILE} or the variable; `bcd config show` shows all.")


def _fill_asked_options(configured: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """Returns what was asked for, with what it leaves open as configured, in tables within it too."""
    tables = (name for name, value in asked.items() if isinstance(value, dict) and name in configured)
    return configured | asked | {name: {**configured[name], **asked[name]} for name in tables}
