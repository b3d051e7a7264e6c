"""From the batches to the version of the model: snapshot, study, training, bundle, policy and every decision on it.

Read from the catalog, the registry, the bundle's record and the folder of its retraining. What is not there any more,
or never was in this home, is a link that says so.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from bcd.bundle.aliases import find_decided_version
from bcd.bundle.record import BundleRecord, read_record
from bcd.bundle.registry import open_bundle_folder
from bcd.bundle.rows import read_registered_versions
from bcd.bundle.scorer import RECORD
from bcd.errors import BcdError
from bcd.files import hash_file
from bcd.formats import format_count, format_signed
from bcd.lineage.link import Link, hash_text, keys_of
from bcd.lineage.patches import trace_batches
from bcd.retraining.plan import read_choice_of_plan
from bcd.snapshots.freeze import find_snapshot, split_in_snapshot
from bcd.snapshots.manifest import read_frozen_date, read_manifest
from bcd.store.decisions import list_stored_decisions
from bcd.store.objects import require
from bcd.tracking.lookup import KEY_TAG, MODEL
from bcd.tracking.owner import PROCESS_TAG
from bcd.tracking.store import find_run, follow_moved_mlflow, open_mlflow_client

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

    from bcd.bundle.rows import VersionRow
    from bcd.patches import Person
    from bcd.settings import Settings
    from bcd.store.decisions import Decision
    from bcd.store.store import Store

_RELEASED = "The network came with bcd and was trained elsewhere, on patients of the public IDC set"


def trace_version(
    store: Store, version: str, until: datetime | None = None, person: Person | None = None
) -> list[Link]:
    """Traces a version of the model back to the batches that it was trained on.

    Args:
        store: The open store.
        version: Its number.
        until: Only decisions that were taken by then; a version that was registered later is another one.
        person: A patient, whose split in the snapshot is told.

    Returns:
        Deliveries, batches, snapshot, study, training, bundle, policy and decisions, each after those that it was
        made of.
    """
    follow_moved_mlflow(store.settings)  # the bundle's files are looked for where the home is now
    rows = read_registered_versions(store.settings)
    row = next((one for one in rows if one.version == version), None)
    if row is not None and until is not None and row.registered_at > until:
        row = None
    decided = [
        one
        for one in list_stored_decisions(store)
        if one.challenger == version
        and (until is None or one.decided_at <= until)
        and (row is None or find_decided_version(rows, one) == row)
    ]
    if row is None:
        gone = f"{MODEL}/{version} is no longer in the registry: it was pruned, or the registry was begun anew."
        bundle = Link(kind="bundle", name=f"{MODEL}/{version}", missing=gone)
        return [bundle, *_trace_decisions(decided, [bundle])]
    record, links = _trace_bundle(store, row, person)
    if record is None:
        return [*links, *_trace_decisions(decided, links[-1:])]
    policy = _trace_policy(record, links[-1])
    return [*links, policy, *_trace_decisions(decided, [policy])]


def _trace_bundle(store: Store, row: VersionRow, person: Person | None) -> tuple[BundleRecord | None, list[Link]]:
    """Returns the record of a version, where it can be read, and its links up to the bundle."""
    told: dict[str, Any] = {"kind": "bundle", "name": row.name, "at": row.registered_at, "by": "bcd"}
    try:
        with open_bundle_folder(store.settings, row) as folder:
            record, sha256 = read_record(folder / RECORD), hash_file(folder / RECORD)
            home = store.settings.home
            where = folder.relative_to(home).as_posix() if folder.is_relative_to(home) else ""
    except (OSError, BcdError) as error:
        snapshot = _trace_snapshot(store, row.tags.get("bcd.snapshot", ""), person)
        gone = f"Its files cannot be read: {error}"
        return None, [*snapshot, Link.model_validate(told | {"missing": gone, "previous": keys_of(snapshot[-1:])})]
    if record.origin == "released":
        links = _trace_released(record)
    else:
        snapshot = _trace_snapshot(store, record.snapshot, person)
        links = [*snapshot, *_trace_retraining(store.settings, row, record, snapshot[-1])]
    versions = ", ".join(f"{name} {number}" for name, number in record.versions.items())
    more = {
        "sha256": sha256,
        "hash_of": f"{RECORD}, which names the hash of the networks",
        "facts": (f"Made with {versions}.", *((f"Code: commit {record.git}.",) if record.git else ())),
        "where": where,
        "previous": keys_of(links[-1:]),
    }
    return record, [*links, Link.model_validate(told | more)]


def _trace_snapshot(store: Store, identity: str, person: Person | None) -> list[Link]:
    """Returns the deliveries and batches of a snapshot, and the snapshot."""
    try:
        folder = find_snapshot(store.settings, identity)
        manifest, frozen = read_manifest(store.settings, folder), read_frozen_date(store.settings, folder)
    except BcdError as error:
        return [Link(kind="snapshot", name=identity[:12] or "unknown", sha256=identity, missing=error.what)]
    links = {link.key: link for traced in trace_batches(store, manifest.batches).values() for link in traced}
    counts = ", ".join(f"{split} {each['patients']:,}" for split, each in manifest.counts.items() if each["patients"])
    facts = [f"Protocol {manifest.protocol}; patients by split: {counts}."]
    if person is not None:
        split = split_in_snapshot(store.settings, manifest.id, *person)
        facts.append(f"Patient {'/'.join(person)} is {f'one of its {split} patients' if split else 'not in it'}.")
    snapshot = Link(
        kind="snapshot",
        name=manifest.id[:12],
        sha256=manifest.id,
        hash_of="protocol, and place, label, split and hash of pixels of every patch",
        at=frozen,
        by="bcd",
        facts=tuple(facts),
        where=folder.relative_to(store.settings.home).as_posix(),
        previous=keys_of(link for link in links.values() if link.kind == "batch"),
    )
    return [*links.values(), snapshot]


def _trace_released(record: BundleRecord) -> list[Link]:
    """Returns study and training of the network that comes with bcd: none of it was recorded in this home."""
    snapshot = Link(
        kind="snapshot", name=record.snapshot[:12], sha256=record.snapshot, missing=f"{_RELEASED}: not in this home."
    )
    study = Link(
        kind="study", name="none here", previous=(snapshot.key,), missing=f"{_RELEASED}: no study of this home."
    )
    training = Link(
        kind="training",
        name="of the released wheel",
        sha256=record.engine.sha256,
        hash_of="the networks as they score",
        at=record.created_at,
        by="the authors of bcd",
        previous=(study.key,),
        missing=f"{_RELEASED}: the network is from the released wheel of bcd {record.versions.get('bcd', '')}.",
    )
    return [snapshot, study, training]


def _trace_retraining(settings: Settings, row: VersionRow, record: BundleRecord, snapshot: Link) -> list[Link]:
    """Returns the study and the training of a version, from its plan and its runs in MLflow."""
    key = row.tags.get(KEY_TAG, "")
    study = _trace_study(settings, key, snapshot)
    run = _read_run(settings, row.run_id)
    plan = require(settings, settings.work / key / "plan.json")
    training = Link(
        kind="training",
        name=f"plan {key}" if plan.is_file() else f"run {row.run_id}",
        sha256=record.engine.sha256,
        hash_of="the networks as they score",
        at=record.created_at,  # the run of a retraining ends with its gate
        by=_machine_of(run),
        facts=(
            *((f"Plan {key}, SHA-256 {hash_file(plan)}.",) if plan.is_file() else ()),
            *(
                (f"Run {row.run_id} of MLflow, {run.info.run_name}, begun {_begin_of(run)}.",)
                if run is not None
                else ()
            ),
        ),
        where=f"work/{key}" if plan.is_file() else "",
        previous=(study.key,),
        missing="" if plan.is_file() else f"No plan lies in work/{key}: it was removed, or never was in this home.",
    )
    return [study, training]


def _trace_study(settings: Settings, key: str, snapshot: Link) -> Link:
    told: dict[str, Any] = {"kind": "study", "previous": (snapshot.key,)}
    try:
        choice = read_choice_of_plan(settings, key)
    except (BcdError, ValidationError) as error:
        gone = f"What was searched is not known: {getattr(error, 'what', None) or 'its file is of another bcd.'}"
        return Link.model_validate(told | {"name": f"of plan {key}", "missing": gone})
    if choice.study is None:
        return Link.model_validate(told | {"name": "none", "facts": (choice.note,)})
    run = _read_run_of(settings, f"search/{choice.study}")
    file = require(settings, settings.work / key / "study.json")
    found = {
        "name": choice.study,
        "sha256": hash_file(file) if file.is_file() else "",
        "hash_of": "study.json: every trial and the choice" if file.is_file() else "",
        "at": _end_of(run),
        "by": _machine_of(run),
        "facts": (choice.note,),
        "where": f"work/{key}/study.json" if file.is_file() else "",
        "missing": "" if file.is_file() else "Its study.json is gone.",
    }
    return Link.model_validate(told | found)


def _trace_policy(record: BundleRecord, bundle: Link) -> Link:
    policy = record.policy
    calibrator = policy.calibrator
    levels = ", ".join(f"{level:.4g}" for level in policy.levels)
    return Link(
        kind="policy",
        name=f"of {bundle.name}",
        sha256=hash_text(policy.model_dump_json()),
        hash_of="the policy as JSON",
        at=record.created_at,
        by=bundle.by,
        facts=(
            f"Probability = sigmoid({calibrator.slope:.4g} · logit {format_signed(calibrator.intercept)});"
            f" levels {levels};"
            f" {format_count(len(policy.certified), 'certified threshold')};"
            f" {'neighbours count on complete slides' if policy.context else 'no stage of neighbours'}.",
        ),
        previous=(bundle.key,),
    )


def _trace_decisions(decided: list[Decision], made_of: list[Link]) -> list[Link]:
    """Returns a link for each decision, oldest first, each after the one before it."""
    if not decided:
        name = f"none on {made_of[-1].name.removeprefix('of ')}"
        missing = "The gate has not decided on it, and nobody else has."
        return [Link(kind="decision", name=name, previous=keys_of(made_of), missing=missing)]
    links: list[Link] = []
    for one in decided:
        against = f" against {MODEL}/{one.champion}" if one.champion else ""
        links.append(
            Link(
                kind="decision",
                name=f"{one.kind} {one.verdict} {one.decided_at:%Y-%m-%dT%H:%M:%S}",
                sha256=hash_text(_decision_as_text(one)),
                hash_of="the decision as JSON, with its evidence",
                at=one.decided_at,
                by=one.by,
                facts=(f"{one.verdict} of {MODEL}/{one.challenger}{against}.", *one.reasons),
                previous=keys_of(links[-1:] or made_of),
            )
        )
    return links


def _decision_as_text(decision: Decision) -> str:
    return json.dumps(vars(decision), sort_keys=True, default=str)


def _read_run_of(settings: Settings, key: str) -> MlflowRun | None:
    return find_run(open_mlflow_client(settings), key)


def _read_run(settings: Settings, run_id: str) -> MlflowRun | None:
    """Returns a run of MLflow; None where there is none, or it was deleted."""
    if not run_id:
        return None
    from mlflow.exceptions import MlflowException

    try:
        return open_mlflow_client(settings).get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _begin_of(run: MlflowRun) -> str:
    return f"{datetime.fromtimestamp(run.info.start_time / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def _end_of(run: MlflowRun | None) -> datetime | None:
    if run is None or run.info.end_time is None:
        return None
    return datetime.fromtimestamp(run.info.end_time / 1000, UTC)


def _machine_of(run: MlflowRun | None) -> str:
    """Returns who wrote a run: bcd, on the machine that it names."""
    machine = "" if run is None else run.data.tags.get(PROCESS_TAG, "").partition(" ")[0]
    return f"bcd on {machine}" if machine else ""
