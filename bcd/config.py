"""The whole configuration: every table of bcd.toml and every `BCD_*` variable, validated before anything begins.

Examples:
    >>> settings = load_configuration()
    >>> TABLES["training"].__name__
    'TrainOptions'
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.outcome import OutcomeRule
from bcd.gate.options import GateOptions
from bcd.mapping import RunOptions
from bcd.options import Options, describe_option_limits, find_option_unit, inner_options
from bcd.origins import Given, find_faults, find_setting_origin, hide_password, merge_settings, read_given_settings
from bcd.preprocessing.options import PrepareOptions
from bcd.retention.backup.options import BackupOptions
from bcd.retraining.options import RetrainOptions
from bcd.scoring.options import ScoreOptions
from bcd.search.options import SearchOptions
from bcd.settings import Settings, find_home, find_setting_faults, invalid_configuration, load_settings
from bcd.snapshots.options import SplitOptions
from bcd.store.options import LabelOptions
from bcd.synthetic.options import HospitalOptions
from bcd.timeouts import TimeoutOptions
from bcd.training.options import EnsembleOptions, TrainOptions

TABLES: Mapping[str, type[Options]] = {
    "splits": SplitOptions,
    "preparation": PrepareOptions,
    "search": SearchOptions,
    "training": TrainOptions,
    "ensemble": EnsembleOptions,
    "outcome": OutcomeRule,
    "evaluation": EvaluateOptions,
    "gate": GateOptions,
    "retrain": RetrainOptions,
    "scoring": ScoreOptions,
    "run": RunOptions,
    "timeouts": TimeoutOptions,
    "backup": BackupOptions,
    "labels": LabelOptions,
    "synthetic": HospitalOptions,
}
"""The options model of every table of bcd.toml."""


@dataclass(frozen=True)
class Value:
    """What an option says, and who said so.

    Attributes:
        table: The table's name; empty: a setting above all tables.
        key: The option.
        value: What it says; a password in an address is hidden.
        where: Where it was set, such as `bcd.toml, line 3`, `BCD_TRAINING__EPOCHS` or a file; or `default`.
    """

    table: str
    key: str
    value: Any
    where: str


def load_configuration(home: Path | None = None) -> Settings:
    """Validates everything that is configured, and returns the settings.

    Raises:
        BcdError: bcd.toml or a variable has a fault; all of them are named, each with its line or variable.
    """
    folder = find_home(home)
    faults = find_all_faults(read_given_settings(folder))
    if faults:
        raise invalid_configuration(faults, folder)
    return load_settings(home)


def find_all_faults(given: Sequence[Given]) -> list[str]:
    """Tells in a sentence each what is wrong with what is configured; empty: nothing."""
    others: dict[str, str] = {}
    for table, model in TABLES.items():
        for key in model.model_fields:
            others[key] = f"{others[key]}, [{table}]" if key in others else f"[{table}]"
    rest = [each for each in given if not _is_misplaced(each)]
    faults = find_setting_faults(rest, others)
    for table, model in TABLES.items():
        faults += find_faults(model, (table,), rest, others)
    for each in given:
        if _is_misplaced(each):
            table, name = each.path[:2]
            faults.append(f"{each.where}: [{table}] has no option {name}; it is a table of its own, [{name}].")
    return faults


def list_configuration_values(home: Path | None = None, *, is_option: bool = False) -> list[Value]:
    """Lists every setting and option as it stands, also where it is not valid.

    Args:
        home: The folder whose bcd.toml is read; None: BCD_HOME, or ~/.bcd.
        is_option: Whether the command was asked for that folder with `--home`.
    """
    folder = find_home(home)
    given = [each for each in read_given_settings(folder) if each.path != ("home",) or not is_option]
    if is_option:
        given.append(Given(("home",), str(folder), "--home"))
    values = [_find_value(given, path, default) for path, default in _list_defaults(folder)]
    known = {(value.table, value.key) for value in values}
    unknown = [_find_value(given, each.path, None) for each in given]
    return values + [value for value in unknown if (value.table, value.key) not in known and value.value != {}]


def describe_settings() -> str:
    """Returns docs/reference/settings.md: every setting and option with default, unit, limits and meaning."""
    parts = [_HEAD, *_describe_table("", Settings)]
    for table, model in TABLES.items():
        parts += _describe_table(table, model)
    return "\n".join(parts)


def _shared_by(table: str) -> set[str]:
    """Returns the options of a table that are tables of their own, which other tables share."""
    return set(inner_options(TABLES[table])) if table in TABLES else set()


def _is_misplaced(given: Given) -> bool:
    table, *rest = given.path
    return bool(rest) and rest[0] in _shared_by(table)


def _list_defaults(home: Path) -> Iterator[tuple[tuple[str, ...], Any]]:
    plain = Settings(home=home).model_dump(mode="json")
    yield from (((name,), value) for name, value in plain.items() if name not in TABLES)
    for table, model in TABLES.items():
        own = (name for name in model.model_fields if name not in _shared_by(table))
        yield from (((table, name), model.model_fields[name].get_default()) for name in own)


def _find_value(given: list[Given], path: tuple[str, ...], default: Any) -> Value:
    *table, key = path
    value: Any = merge_settings(given)
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    origin = find_setting_origin(given, path)
    if value is None or origin is None:
        return Value(".".join(table), key, default, "default")
    return Value(".".join(table), key, hide_password(value), origin.where)


_HEAD = """\
# Settings

`bcd config show` prints what is in force here and where each value comes from. This page is made from the code
(`bcd config reference`).

- A variable wins over `BCD_HOME/bcd.toml`, which wins over the default. An option of a command wins over both.
- A secret may be a file: `/run/secrets/bcd_catalog_url`, as Docker and Kubernetes lay it, or the credential
  `bcd_catalog_url` of a systemd unit (`LoadCredential=`). It wins over `bcd.toml`, and a variable over it.
- As a variable, `epochs` of `[training]` is `BCD_TRAINING__EPOCHS=12`; `home` is `BCD_HOME` or `bcd --home FOLDER`.
- Everything is checked before a command or a flow begins: an unknown key, or a value that is not accepted, stops it
  and is named with its line or variable. `bcd down` and `bcd config` work all the same.
- Where it says “empty”, the default is an empty text.
"""


def _describe_table(table: str, model: type[BaseModel]) -> Iterator[str]:
    yield f"\n## {f'[{table}]' if table else 'Above all tables'}\n"
    yield cleandoc(model.__doc__ or "").split("\n\n", maxsplit=1)[0].replace("\n", " ") + "\n"
    yield "| option | default | unit | accepted | what it is |"
    yield "| --- | --- | --- | --- | --- |"
    for name, field in model.model_fields.items():
        if name in _shared_by(table):
            yield f"| [`{name}`](#{name}) | | | the table [{name}] | {field.description} |"
        elif table or name not in TABLES:
            cells = (
                _show_default(field),
                find_option_unit(field),
                describe_option_limits(field),
                field.description or "",
            )
            yield f"| `{name}` | {' | '.join(cells)} |".replace("  ", " ")


def _show_default(field: FieldInfo) -> str:
    default = field.get_default()
    if default is None:
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, dict):
        return "none" if not default else f"`{default}`"
    if isinstance(default, list):
        return ", ".join(f"{each:g}" for each in default) or "none"
    if isinstance(default, float):
        return f"{default:.4g}"
    return "empty" if default in {"", Path()} else f"`{default}`" if isinstance(default, str | Path) else f"{default}"
