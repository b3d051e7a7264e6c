"""Watches the inbox of a home: every delivery that is whole becomes a run of the deployment `ingest`.

What runs already is asked of the server before a run is started, and what became of a delivery is seen by whether it
still lies in the inbox: the watcher may be killed at any moment and starts no delivery twice. One that its run left
there, as where the disk was full, gets another run after a minute, then after two, and at last each half hour. What
waits for a person is told by a run that takes nothing, once.

It looks every two seconds, and more rarely where looking takes long: a large inbox costs a twentieth of one core.

Examples:
        PREFECT_API_URL=http://127.0.0.1:4200/api python -m bcd.cli.inbox_watcher
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from bcd.admission.delivery import find_deliveries, is_hidden
from bcd.admission.received import name_in_inbox
from bcd.admission.waiting import find_stuck
from bcd.cli.flow_runs import connect_server, find_deployment, list_begun_flow_runs, start_flow_run
from bcd.cli.unfinished_watcher import UnfinishedWatcher
from bcd.cli.watcher_log import WatcherLog
from bcd.errors import BcdError
from bcd.progress import show_progress
from bcd.settings import load_settings
from bcd.store.hospitals import list_hospitals
from bcd.store.store import Store, open_store

_PAUSE_SECONDS = 2.0
_SHARE = 0.05  # of the time that is spent on looking
_RETRY_SECONDS = (60.0, 120.0, 240.0, 480.0, 960.0, 1800.0)
_AT_ONCE = 1  # where a person took the deployment's limit away

Changed = tuple[str, int]
"""A delivery's name, and when it was changed last in ns: another one of the same name is another delivery."""


@dataclass(frozen=True)
class _PutOff:
    """A delivery whose run was started.

    Attributes:
        tries: Runs that were started for it before.
        until: When it may be started again, should its run leave it in the inbox; by the monotonic clock, in s.
    """

    tries: int
    until: float


class InboxWatcher:
    """Starts runs of `ingest` for what lies in the inbox.

    Args:
        prefect: Client of Prefect's interface.
        log: Is told what was started, and what kept it from starting.
    """

    def __init__(self, prefect: httpx.Client, log: WatcherLog) -> None:
        self._prefect = prefect
        self._log = log
        self._put_off: dict[Changed, _PutOff] = {}
        self._told: set[str] = set()

    def look(self) -> None:
        """Looks once; what keeps it from starting a run is logged, and the next look tries again."""
        try:
            settings = load_settings()  # anew: what a person changes in bcd.toml holds at once
            if _is_empty_inbox(settings.inbox):  # as nearly always: nothing is asked of the catalog
                self._put_off, self._told = {}, set()
            else:
                with show_progress(self._log), open_store(settings) as store:
                    self._start_runs(store)
        except (BcdError, OSError, httpx.HTTPError) as error:
            self._log.say(str(error) or type(error).__name__)

    def _start_runs(self, store: Store) -> None:
        due, untold = self._find_due(store)
        if not due and not untold:
            return
        deployment = find_deployment(self._prefect, "ingest")
        if deployment["paused"]:
            self._log.say("The deployment `ingest` is paused on the dashboard: nothing is admitted.")
            return
        under_way = self._list_under_way(deployment["id"])
        due, untold = self._find_due(store)  # again: what a run that has just ended took is gone by now
        if untold and not under_way and not due:  # by itself: it looks at the whole inbox
            self._start(deployment["id"], {})
            self._told |= untold
            return
        limit = (deployment["global_concurrency_limit"] or {"limit": _AT_ONCE})["limit"]
        for each in due:
            name = each[0]
            if "" in under_way or len(under_way) >= limit:
                return
            if name not in under_way:
                self._start(deployment["id"], {"delivery": name, "hospital": name.partition("/")[0]})
                under_way.append(name)
                tries = self._put_off[each].tries + 1 if each in self._put_off else 0
                pause = _RETRY_SECONDS[min(tries, len(_RETRY_SECONDS) - 1)]
                self._put_off[each] = _PutOff(tries, time.monotonic() + pause)

    def _find_due(self, store: Store) -> tuple[list[Changed], set[str]]:
        """Returns the deliveries that a run is to be started for, and what a run is to tell."""
        waiting, untold = self._find_waiting(store)
        self._put_off = {each: put_off for each, put_off in self._put_off.items() if each in waiting}
        now = time.monotonic()
        return [each for each in waiting if each not in self._put_off or self._put_off[each].until <= now], untold

    def _find_waiting(self, store: Store) -> tuple[list[Changed], set[str]]:
        """Returns the deliveries that a run may take, and what nobody was told yet of those that none takes."""
        declared = {record.hospital for record in list_hospitals(store)}
        waiting, stuck = [], {str(each) for each in find_stuck(store)}
        for hospital, path in find_deliveries(store.settings):
            if hospital in declared:
                try:
                    waiting.append((name_in_inbox(store, hospital, path), _changed_at(path)))
                except BcdError as error:  # without its key of pseudonyms it has no name
                    stuck.add(str(error))
        self._told &= stuck  # what is fixed, and comes again, is told again
        return waiting, stuck - self._told

    def _list_under_way(self, deployment: str) -> list[str]:
        """Returns which deliveries the unfinished runs are about; empty: all that wait."""
        begun = list_begun_flow_runs(self._prefect, deployment)
        return [run["parameters"].get("delivery", "") for run in begun]

    def _start(self, deployment: str, parameters: dict[str, str]) -> None:
        start_flow_run(self._prefect, deployment, parameters)
        self._log.write(f"Started a run of `ingest` for {parameters.get('delivery', 'what waits for a person')}.")


def _is_empty_inbox(inbox: Path) -> bool:
    """Whether no delivery lies in the inbox, neither in a hospital's folder nor beside them."""
    if not inbox.is_dir():
        return True
    shown = [path for path in inbox.iterdir() if not is_hidden(path)]
    return all(path.is_dir() and all(map(is_hidden, path.iterdir())) for path in shown)


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_ctime_ns
    except FileNotFoundError:  # taken meanwhile
        return 0


def watch() -> None:
    """Watches until the process is ended; now and then it looks, too, for what a killed process left undone."""
    prefect, log = connect_server(os.environ["PREFECT_API_URL"]), WatcherLog()
    watcher, unfinished = InboxWatcher(prefect, log), UnfinishedWatcher(prefect, log)
    while True:
        began = time.monotonic()
        watcher.look()
        unfinished.look()
        time.sleep(max(_PAUSE_SECONDS, (time.monotonic() - began) / _SHARE))


if __name__ == "__main__":
    watch()
