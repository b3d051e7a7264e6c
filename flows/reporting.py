"""How a flow tells Prefect what it does: progress artifacts, tables, and pictures small enough for the database."""

from __future__ import annotations

import base64
import inspect
import logging
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar, cast
from uuid import NAMESPACE_URL, UUID, uuid5

from prefect import get_run_logger, runtime
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.states import Completed, Failed, State
from prefect.utilities.urls import url_for

from bcd.errors import BcdError
from bcd.progress import Advance, is_progress_shown, show_progress
from bcd.runtime import find_report_address
from bcd.settings import LEAST_FREE, Settings
from bcd.tracking.origin import started_from
from flows.timeouts import limit_time

P = ParamSpec("P")
R = TypeVar("R")

_SECONDS_BETWEEN_UPDATES = 2.0


class PrefectSink:
    """Shows each piece of work as a progress artifact of the flow run, and no piece within another."""

    def __init__(self) -> None:
        self._is_open = False

    @contextmanager
    def track(self, description: str, total: float | None) -> Iterator[Advance]:
        """Opens a progress artifact; one without a total is only logged."""
        if self._is_open:
            yield lambda _amount: None
            return
        get_run_logger().info(description)
        if not total:
            yield lambda _amount: None
            return
        artifact = create_progress_artifact(0.0, key=make_artifact_key(description), description=description)
        done, shown_at = 0.0, time.monotonic()

        def advance(amount: float) -> None:
            nonlocal done, shown_at
            done += amount
            if time.monotonic() - shown_at >= _SECONDS_BETWEEN_UPDATES:
                shown_at = time.monotonic()
                update_progress_artifact(artifact, progress=min(100.0, 100 * done / total))

        self._is_open = True
        try:
            yield advance
        finally:
            self._is_open = False
        update_progress_artifact(artifact, progress=100.0)

    def say(self, message: str) -> None:
        """Logs one line."""
        get_run_logger().info(message)


@contextmanager
def report_to_prefect() -> Iterator[None]:
    """Shows progress in Prefect, unless a terminal shows it already; runs of MLflow link to the flow run."""
    run = runtime.flow_run.root_flow_run_id
    page = url_for("flow-run", obj_id=run) if run else None
    with started_from(page or ""), nullcontext() if is_progress_shown() else show_progress(PrefectSink()):
        yield


def told_to_prefect(run: Callable[P, R]) -> Callable[P, R]:
    """Ends a flow with the sentence of what a person can fix as the message of its state.

    It stands between `@flow` and the function. Whoever calls the flow, another flow or a command, gets the error.
    """

    @wraps(run)
    def telling(*args: P.args, **kwargs: P.kwargs) -> R | State:
        try:
            with limit_time():
                return run(*args, **kwargs)
        except BcdError as error:
            return Failed(message=str(error), data=error)

    # Prefect would look for the names of the annotations in this module.
    telling.__signature__ = inspect.signature(run, eval_str=True)  # type: ignore[attr-defined]
    return telling


def tell(event: str, resource: str, sentence: str, **more: str) -> None:
    """Emits an event of which an automation of deployment.yaml may notify somebody."""
    emit_event(event=event, resource={"prefect.resource.id": resource}, payload={"sentence": sentence, **more})


def tell_once(about: str, event: str, resource: str, sentence: str) -> None:
    """Tells as `tell` does, and returns when the server has taken it; of the same event it tells nobody again.

    Args:
        about: What no other event of the name is about.
        event: Its name.
        resource: What it happened to.
        sentence: What to tell a person.
    """
    from prefect.client.orchestration import get_client
    from prefect.events import Event, Resource

    told = Event(
        id=uuid5(NAMESPACE_URL, f"{event}/{about}"),
        event=event,
        resource=Resource({"prefect.resource.id": resource}),
        payload={"sentence": sentence},
    )
    with get_client(sync_client=True) as client:
        client.request("POST", "/events", json=[told.model_dump(mode="json")])


def tell_of_disk(settings: Settings) -> None:
    """Tells where the disk of the home is nearly full."""
    free = shutil.disk_usage(settings.home).free
    if free < LEAST_FREE:
        tell("bcd.disk.low", "bcd.home", f"{free / 2**30:.1f} GiB are free on the disk of {settings.home}.")


def finish_flow(result: R, message: str) -> R:
    """Ends a flow with its answer, and a sentence that the dashboard's list of runs shows.

    Whoever calls the flow gets the answer: Prefect takes it out of the state that is returned here.
    """
    return cast("R", Completed(message=message, data=result))


def _log_sentence(record: logging.LogRecord) -> bool:
    """Logs the sentence of what a person can fix instead of its traceback."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, BcdError):
        record.msg, record.args, record.exc_info = str(error), None, None
    return True


for _logger in ("prefect.flow_runs", "prefect.task_runs", "prefect.engine"):
    logging.getLogger(_logger).addFilter(_log_sentence)


def name_flow_run() -> str:
    """Names a flow run by its flow and what it is about, so that the dashboard's list can be read."""
    given = runtime.flow_run.parameters
    about = [given.get("hospital", ""), given.get("patient", ""), Path(given.get("delivery", "")).name]
    about.append((given.get("plan") or given.get("snapshot", "")).strip()[:8])
    return " ".join([str(runtime.flow_run.flow_name), *(word.strip() for word in about if word.strip())])


def rename_flow_run(name: str) -> None:
    """Names the flow run anew, by what is known of it only now."""
    from prefect.client.orchestration import get_client

    run = runtime.flow_run.id
    if run:
        with get_client(sync_client=True) as client:
            client.update_flow_run(UUID(run), name=name)


def is_scheduled_flow_run() -> bool:
    """Whether a schedule started this run, and not a person or an event.

    It cannot be a parameter of the schedule: the server drops those when a person changes the schedule's time.
    """
    context = FlowRunContext.get()
    return context is not None and context.flow_run is not None and bool(context.flow_run.auto_scheduled)


def make_artifact_key(text: str) -> str:
    """Makes a key of the form that Prefect accepts: lower case, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def publish_markdown(key: str, markdown: str, description: str) -> None:
    """Leaves a text or a table at the flow run."""
    create_markdown_artifact(markdown, key=make_artifact_key(key), description=description)


def link_report_in_artifact(settings: Settings, report: Path) -> str:
    """Returns Markdown that opens a report: a link where `bcd up` serves it, else its path."""
    page = find_report_address(settings, report)
    return f"[open the report]({page})" if page else f"`{report}`"


def publish_picture(key: str, picture: Path, description: str) -> None:
    """Leaves a picture at the flow run."""
    # In a text: the page of an image artifact writes the picture's address, all of it, across itself.
    publish_markdown(key, embed_picture(picture, description), description)


def embed_picture(picture: Path, description: str) -> str:
    """Returns Markdown that shows a picture, small: artifacts live in Prefect's database."""
    return f"![{description}]({_thumbnail_url(picture)})"


def _thumbnail_url(picture: Path, longest_edge: int = 900) -> str:
    import cv2

    image = cv2.imread(str(picture), cv2.IMREAD_COLOR)
    assert image is not None
    scale = min(1.0, longest_edge / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])[1]
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"
