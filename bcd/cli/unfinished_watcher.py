"""Starts the deployment `reconcile` where a killed process left something undone, and costs no run where none did.

Every quarter of an hour, and at `bcd up`, it reads a few rows of catalog and registry. What a run could not finish
gets another one after a quarter of an hour, then after twice as long each time, at last once a day.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx

from bcd.cli.flow_runs import find_deployment, list_begun_flow_runs, list_unfinished_flow_runs, start_flow_run
from bcd.errors import BcdError
from bcd.retraining.reconcile import Unfinished, find_unfinished
from bcd.settings import load_settings
from bcd.store.store import open_store
from bcd.tracking.lookup import MODEL

if TYPE_CHECKING:
    from bcd.cli.watcher_log import WatcherLog

_PAUSE_SECONDS = 900.0
_LONGEST_SECONDS = 24 * 3600.0


class UnfinishedWatcher:
    """Starts runs of `reconcile`.

    Args:
        prefect: Client of Prefect's interface.
        log: Is told what was started, and what kept it from starting.
    """

    def __init__(self, prefect: httpx.Client, log: WatcherLog) -> None:
        self._prefect = prefect
        self._log = log
        self._looks_at = time.monotonic()
        self._left: set[str] = set()
        self._starts_at = 0.0
        self._pause = _PAUSE_SECONDS

    def look(self) -> None:
        """Looks, unless it has within the quarter of an hour; what keeps it from starting a run is logged."""
        now = time.monotonic()
        if now < self._looks_at:
            return
        self._looks_at = now + _PAUSE_SECONDS
        try:
            with open_store(load_settings()) as store:
                left = self._list_left(find_unfinished(store))
            if left != self._left:
                self._left, self._starts_at, self._pause = left, now, _PAUSE_SECONDS
            if left and now >= self._starts_at and self._start(", ".join(sorted(left))):
                self._starts_at = now + self._pause
                self._pause = min(2 * self._pause, _LONGEST_SECONDS)
        except (BcdError, OSError, httpx.HTTPError) as error:
            self._log.say(str(error) or type(error).__name__)

    def _list_left(self, unfinished: Unfinished) -> set[str]:
        """Names what is to be done, of the questions to a person those that no run asks."""
        left = {f"the aliases of {unfinished.half_done.key}"} if unfinished.half_done else set()
        left |= {f"what follows the decision on plan {unfinished.plan}"} if unfinished.plan else set()
        if unfinished.awaiting:
            asking = list_unfinished_flow_runs(self._prefect, flow="approve")
            asked = {str(run["parameters"].get("version", "")).removeprefix(f"{MODEL}/") for run in asking}
            left |= {
                f"the question about {MODEL}/{one.challenger}"
                for one in unfinished.awaiting
                if one.challenger not in asked
            }
        return left

    def _start(self, left: str) -> bool:
        """Starts a run unless one is begun, and returns whether it did."""
        found = find_deployment(self._prefect, "reconcile")
        if found["paused"]:
            self._log.say(f"The deployment `reconcile` is paused on the dashboard: undone is {left}.")
            return False
        if list_begun_flow_runs(self._prefect, found["id"]):
            return False
        start_flow_run(self._prefect, found["id"])
        self._log.write(f"Started a run of `reconcile`: undone is {left}.")
        return True
