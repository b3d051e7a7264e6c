"""Monitor: how the deliveries of each hospital compare with the champion's patients, over time.

Examples:
        python flows/monitor.py
"""

from __future__ import annotations

if __name__ == "__main__":
    from flows.alone import begin_flow_alone

    begin_flow_alone()

from prefect import flow
from prefect.artifacts import create_table_artifact

from bcd.bundle.watch import catch_up, follow
from bcd.config import load_configuration
from bcd.drift.state import UNTRUSTED
from bcd.drift.trend import HEADER, TrendRow
from bcd.store.store import open_store
from flows.reporting import finish_flow, name_flow_run, publish_picture, report_to_prefect, told_to_prefect
from flows.watch import tell_drift


@flow(name="monitor", flow_run_name=name_flow_run)
@told_to_prefect
def monitor() -> list[TrendRow]:
    """Compares deliveries that were not compared yet; leaves each hospital's trend: table, plot, MLflow run."""
    settings = load_configuration()
    picture = settings.reports / "drift.png"
    with report_to_prefect(), open_store(settings) as store:
        found = catch_up(store)
        tell_drift(settings, found)
        rows = follow(store, picture)
    if not rows:
        return finish_flow([], "There is no champion, or no delivery, to compare.")
    table = [dict(zip(HEADER, row.cells(), strict=True)) for row in rows]
    create_table_artifact(table, key="drift-trend", description="How deliveries compare with the champion's patients")
    publish_picture("drift-plot", picture, "How far the deliveries of each hospital lie off")
    untrusted = sum(row.state.level == UNTRUSTED for row in rows)
    return finish_flow(rows, f"Deliveries compared: {len(rows)}; not to be trusted: {untrusted}.")


if __name__ == "__main__":
    monitor()
