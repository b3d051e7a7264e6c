"""A lineage as a folder: a page for people, JSON for programs, a table of patches, and the metadata of an RO-Crate.

    ro-crate-metadata.json  lineage.html  lineage.json  patches.csv (of a patient's)

It names what lies in BCD_HOME by its hash and copies none of it. The crate follows the profile Process Run Crate:
every link that was made of others is the result of an action, with its agent and the time at which it ended.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcd import __version__
from bcd.errors import BcdError
from bcd.files import keep_folder, partial_folder
from bcd.lineage.link import PATCHES, Lineage, Link
from bcd.pages import render_page

if TYPE_CHECKING:
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

PAGE, FACTS, CRATE = "lineage.html", "lineage.json", "ro-crate-metadata.json"

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"

_SOFTWARE = "#bcd"

_TERMS = "No licence is given: what the links name belongs to the hospitals. Research use only."


def write_lineage(lineage: Lineage, folder: Path) -> None:
    """Writes a lineage as a folder, whole; one that was written there before is replaced.

    Raises:
        BcdError: The folder is there and holds something else.
    """
    if folder.exists() and not (folder / FACTS).is_file():
        raise BcdError(f"{folder} is there and holds no lineage.", "Name another folder with --to.")
    with partial_folder(folder.absolute().parent) as partial:
        (partial / PAGE).write_text(render_lineage(lineage), "utf-8")
        (partial / FACTS).write_text(json.dumps(lineage_as_json(lineage), indent=2, ensure_ascii=False), "utf-8")
        if lineage.patches is not None:
            lineage.patches.to_csv(partial / PATCHES, index=False)
        _write_crate(lineage, partial)
        if folder.exists():
            shutil.rmtree(folder)
        keep_folder(partial, folder)


def lineage_as_json(lineage: Lineage) -> dict[str, Any]:
    """Returns a lineage as JSON values: what it is of, and its links."""
    links = [{"key": link.key, **link.model_dump(mode="json")} for link in lineage.links]
    return {"subject": lineage.subject, "links": links}


def render_lineage(lineage: Lineage) -> str:
    """Returns the page of a lineage, which needs nothing beside it."""
    places = {link.key: f"link-{number}" for number, link in enumerate(lineage.links, 1)}
    return render_page("bcd.lineage", "page.html.j2", {"lineage": lineage, "places": places})


def _write_crate(lineage: Lineage, folder: Path) -> None:
    """Adds the metadata that make a folder a crate."""
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    crate = ROCrate()
    crate.name = f"Lineage: {lineage.subject}"
    crate.description = f"Where it comes from, in {len(lineage.links)} links, as bcd {__version__} recorded them."
    crate.license = crate.add(ContextEntity(crate, "#terms", properties={"@type": "CreativeWork", "name": _TERMS}))
    crate.root_dataset["conformsTo"] = crate.add(
        ContextEntity(
            crate, PROFILE, properties={"@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"}
        )
    )
    software = {"@type": "SoftwareApplication", "name": "bcd", "version": __version__}
    crate.add(ContextEntity(crate, _SOFTWARE, properties=software))
    for name, about in _FILES.items():
        if (folder / name).exists():
            kind = {".html": "text/html", ".json": "application/json", ".csv": "text/csv"}[Path(name).suffix]
            crate.add_file(folder / name, name, properties={"name": about, "encodingFormat": kind})
    entities: dict[str, ContextEntity] = {}
    for number, link in enumerate(lineage.links, 1):
        made_of = [entities[key] for key in link.previous]
        entities[link.key] = _add_link(crate, number, link, made_of)
    crate.root_dataset["mentions"] = crate.get_by_type("CreateAction")
    crate.mainEntity = entities[lineage.links[-1].key]
    crate.metadata.write(folder)


_FILES = {
    PAGE: "The lineage as a page",
    FACTS: "The lineage as JSON",
    PATCHES: "Every patch of the patient with the hash of the file that it came in",
}


def _add_link(crate: ROCrate, number: int, link: Link, made_of: list[ContextEntity]) -> ContextEntity:
    """Adds a link, whoever made it, and the action that made it of others."""
    from rocrate.model.contextentity import ContextEntity

    told = {
        "@type": "CreativeWork",
        "name": link.key,
        "description": " ".join([*([link.missing] if link.missing else []), *link.facts]),
        "sha256": link.sha256,
        "dateCreated": "" if link.at is None else link.at.isoformat(),
    }
    entity = crate.add(
        ContextEntity(crate, f"#link-{number}", properties={name: said for name, said in told.items() if said})
    )
    agent = _find_agent(crate, link.by)
    if agent is not None:
        entity["creator"] = agent
    if made_of:
        entity["isBasedOn"] = made_of
        action = crate.add(
            ContextEntity(
                crate,
                f"#action-{number}",
                properties={"@type": "CreateAction", "name": f"What made {link.key}"}
                | ({"endTime": told["dateCreated"]} if link.at else {}),
            )
        )
        action["instrument"] = crate.dereference(_SOFTWARE)
        action["object"], action["result"] = made_of, [entity]
        if agent is not None:
            action["agent"] = agent
    return entity


def _find_agent(crate: ROCrate, by: str) -> ContextEntity | None:
    """Returns whoever made something: bcd itself, a hospital, or a person; None where nobody is recorded."""
    from urllib.parse import quote

    from rocrate.model.contextentity import ContextEntity

    if not by or by == "the gate" or by.startswith(("bcd", "delivery ")):
        return crate.dereference(_SOFTWARE) if by else None
    kind = "Organization" if by.startswith(("hospital ", "the authors")) else "Person"
    identity = f"#{kind.lower()}-{quote(by, safe='')}"
    return crate.dereference(identity) or crate.add(
        ContextEntity(crate, identity, properties={"@type": kind, "name": by.removeprefix("hospital ")})
    )
