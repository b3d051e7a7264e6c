"""A lineage as a folder: the page, the JSON, the table of patches, and the crate, read back."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from rocrate.rocrate import ROCrate

from bcd.errors import BcdError
from bcd.lineage.trace import trace
from bcd.lineage.write import PROFILE, render_lineage, write_lineage
from bcd.store.store import Store


@pytest.fixture
def folder(store: Store, tmp_path: Path) -> Path:
    write_lineage(trace(store, "1001"), tmp_path / "out")
    return tmp_path / "out"


def test_the_folder_holds_four_files_and_nothing_of_the_home(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        "ro-crate-metadata.json",
        "lineage.html",
        "lineage.json",
        "patches.csv",
    }
    patches = pd.read_csv(folder / "patches.csv", dtype=str)
    assert len(patches) == 6
    assert {"x", "y", "pixel_sha256", "file_sha256", "probability"} <= set(patches)


def test_the_crate_is_read_back_with_every_link_its_maker_and_its_time(store: Store, folder: Path) -> None:
    lineage = trace(store, "1001")
    crate = ROCrate(folder)
    assert {entity.id for entity in crate.data_entities} == {"lineage.html", "lineage.json", "patches.csv"}
    root = crate.root_dataset
    assert root["conformsTo"].id == PROFILE
    assert all(root.get(name) for name in ("name", "description", "datePublished", "license"))

    named = {entity["name"]: entity for entity in crate.get_by_type("CreativeWork") if entity.id.startswith("#link-")}
    assert list(named) == [link.key for link in lineage.links]
    made = {action["result"][0]["name"]: action for action in crate.get_by_type("CreateAction")}
    assert set(made) == {link.key for link in lineage.links if link.previous}
    for link in lineage.links:
        entity = named[link.key]
        assert entity.get("sha256", "") == link.sha256
        assert [each["name"] for each in entity.get("isBasedOn", [])] == list(link.previous)
        if link.previous:
            action = made[link.key]
            assert [each["name"] for each in action["object"]] == list(link.previous)
            assert action["instrument"].type == "SoftwareApplication"
            assert action.get("endTime", "") == ("" if link.at is None else link.at.isoformat())
    assert crate.mainEntity["name"] == lineage.links[-1].key
    forced = made[lineage.of("decision")[-1].key]["agent"]
    assert (forced.type, forced["name"]) == ("Person", "Dr Lee")
    assert named[lineage.of("delivery")[0].key]["creator"].type == "Organization"


def test_the_json_has_the_same_links(store: Store, folder: Path) -> None:
    written = json.loads((folder / "lineage.json").read_text())
    links = trace(store, "1001").links
    assert [one["key"] for one in written["links"]] == [link.key for link in links]
    assert [one["sha256"] for one in written["links"]] == [link.sha256 for link in links]


def test_the_page_says_the_same_in_order_and_fits_a_telephone(store: Store, read_page, measure_page) -> None:
    lineage = trace(store, "1001")
    html = render_lineage(lineage)
    read_page(html)
    places = [html.index(f"<span>{link.kind}</span> {link.name}") for link in lineage.links]
    assert places == sorted(places)
    assert all(link.sha256 in html for link in lineage.links)
    measure_page(html)


def test_a_lineage_is_written_over_an_earlier_one_and_over_nothing_else(store: Store, folder: Path) -> None:
    write_lineage(trace(store, "champion"), folder)
    assert not (folder / "patches.csv").exists()
    assert [entity.id for entity in ROCrate(folder).data_entities] == ["lineage.html", "lineage.json"]
    other = folder.parent / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(BcdError, match="other"):
        write_lineage(trace(store, "champion"), other)
    assert (other / "thesis.txt").read_text() == "mine"
