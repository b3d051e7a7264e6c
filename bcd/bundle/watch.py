"""The watch over deliveries: each is compared with the champion's patients, and again when its scores are there.

A comparison that a run missed, since the registry was away or another version became champion, is made up for by the
next `catch_up`: the catalog says which deliveries were compared with whom.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from bcd.admission.report import write_admission_report
from bcd.bundle.registry import read_champion_bundle
from bcd.drift.delivery import compare_delivery, has_scores
from bcd.drift.state import LEVELS
from bcd.drift.trend import HEADER, TrendRow, draw_trend, list_trend
from bcd.errors import DamagedError
from bcd.progress import say_progress
from bcd.store.delivery_queries import list_batches
from bcd.store.drift import DriftRecord, list_drift
from bcd.store.objects import put
from bcd.tracking.run import table_as_run_csv
from bcd.tracking.store import start_run

if TYPE_CHECKING:
    from pathlib import Path

    from bcd.drift.state import Known
    from bcd.store.deliveries import Delivery
    from bcd.store.store import Store


def watch_delivery(store: Store, delivery: Delivery) -> DriftRecord | None:
    """Compares a delivery with the champion's patients and says so in its admission report; None: no champion."""
    champion = _find_champion(store)
    return None if champion is None else _compare_delivery(store, *champion, delivery)


def catch_up(store: Store) -> list[DriftRecord]:
    """Compares every delivery that was not compared with the champion's patients yet, or not with its scores.

    One whose batch is damaged is named and left for the next time; the others are compared.
    """
    champion = _find_champion(store)
    if champion is None:
        return []
    name, known = champion
    done = {one.delivery: one.stage for one in list_drift(store, bundle=name)}
    found = []
    for each in list_batches(store):
        stage = done.get(each.id)
        if stage is None or (stage == "admission" and known is not None and has_scores(store, name, each)):
            try:
                found.append(_compare_delivery(store, name, known, each))
            except DamagedError as error:
                say_progress(f"Delivery {each.name} of {each.hospital} is not compared: {error}")
    return found


def compare_scored_with_bundle(
    store: Store, bundle: str, known: Known | None, batches: Collection[str]
) -> list[DriftRecord]:
    """Compares the deliveries that brought some batches again, with the scores that their patients have by now."""
    return [_compare_delivery(store, bundle, known, each) for each in list_batches(store) if each.batch in batches]


def follow(store: Store, picture: Path) -> list[TrendRow]:
    """Lists every delivery as it compares with the champion's patients, and draws and logs it as a run of MLflow.

    Args:
        store: The open store.
        picture: The PNG file that is drawn, where there is something to draw.
    """
    champion = _find_champion(store)
    rows = [] if champion is None else list_trend(store, champion[0])
    if not rows:
        return []
    name = champion[0] if champion else ""
    draw_trend(rows, name, picture)
    put(store.settings, picture)
    with start_run(store.settings, key=f"monitor/{name}", name=f"monitor {name}", kind="monitor") as run:
        for row in rows:
            figures = {"shift": row.shift, "p": row.state.p, "level": float(LEVELS.index(row.state.level))}
            run.log_metrics({f"{figure}_{row.hospital}": value for figure, value in figures.items()}, step=row.step)
        run.log_text(table_as_run_csv(HEADER, [row.cells() for row in rows]), "drift.csv")
        run.log_file(picture)
    return rows


def _find_champion(store: Store) -> tuple[str, Known | None] | None:
    found = read_champion_bundle(store.settings)
    if found is None:
        return None
    name, record = found
    return name, record.known


def _compare_delivery(store: Store, bundle: str, known: Known | None, delivery: Delivery) -> DriftRecord:
    record = compare_delivery(store, bundle, known, delivery)
    write_admission_report(store, delivery.id)
    return record
