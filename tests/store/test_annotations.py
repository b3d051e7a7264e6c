from __future__ import annotations

import json
from pathlib import Path

import pytest

from bcd.errors import BcdError, NotFoundError
from bcd.store.annotations import Annotations, name_annotated_patch, read_annotation_file, read_annotation_kind

RING = [[0, 0], [100, 0], [100, 100], [0, 100], [0, 0]]
HOLE = [[10, 10], [20, 10], [20, 20], [10, 10]]


def annotate(classification, geometry=None, **properties) -> dict:
    area = {"type": "Polygon", "coordinates": [RING]} if geometry is None else geometry
    said = {"objectType": "annotation", "classification": classification, **properties}
    return {"type": "Feature", "id": "PathAnnotationObject", "geometry": area, "properties": said}


@pytest.fixture
def read(tmp_path: Path):
    def _read(content) -> Annotations:
        file = tmp_path / "edited.geojson"
        file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return read_annotation_file(file)

    return _read


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Tumor", "positive"),
        ("tumour", "positive"),
        ("IDC", "positive"),
        ("Invasive ductal carcinoma", "positive"),
        ("Benign", "negative"),
        ("no-IDC", "negative"),
        ("Reviewed", "reviewed"),
        ("Reviewed*", "reviewed"),
        ("Ignore*", "ignored"),
        ("Necrosis", None),
        ("Negative", None),  # in QuPath, of a stain
        ("Positive", None),
        ("Tumor: Positive", None),
        ("Predicted IDC", None),  # the model's
        ("", None),
    ],
)
def test_classes_that_are_understood_are_few(name: str, kind: str | None) -> None:
    assert read_annotation_kind(name) == kind


@pytest.mark.parametrize(
    "classification",
    [
        {"name": "Tumor", "colorRGB": -3670016},  # 0.2, 0.3
        {"name": "Tumor", "color": [200, 0, 0]},  # 0.4
        {"names": ["Tumor"], "color": [200, 0, 0]},  # 0.5
    ],
)
def test_the_forms_of_every_qupath_are_read(read, classification) -> None:
    feature = annotate(classification)
    for form in ({"type": "FeatureCollection", "features": [feature]}, feature, [feature]):
        (polygon,) = read(form).polygons
        assert (polygon.kind, [ring.tolist() for ring in polygon.rings]) == ("positive", [RING])


def test_holes_parts_and_nested_objects_are_read(read) -> None:
    parts = {"type": "MultiPolygon", "coordinates": [[RING, HOLE], [RING]]}
    inner = annotate({"name": "Benign"})
    read_back = read([annotate({"name": "Tumor"}, parts, childObjects=[inner])]).polygons
    assert [(one.kind, len(one.rings)) for one in read_back] == [("positive", 2), ("positive", 1), ("negative", 1)]


def test_a_file_in_utf_8_with_a_mark_is_read(read) -> None:
    assert read(b"\xef\xbb\xbf" + json.dumps(annotate({"name": "Tumor"})).encode()).polygons


@pytest.mark.parametrize("legacy", [False, True])
def test_detections_are_no_labels_and_say_whose_the_slide_is(read, legacy: bool) -> None:
    patch = annotate(
        {"name": "Predicted IDC"}, objectType="detection", name=name_annotated_patch("east", "1001", "5", 1, 51)
    )
    if legacy:
        del patch["properties"]["objectType"]
        patch["id"] = "PathDetectionObject"
    found = read([patch, patch, annotate({"name": "Tumor"})])
    assert (len(found.polygons), found.others, found.slides) == (1, 2, {("east", "1001", "5")})


def test_patches_of_the_model_turned_into_annotations_are_refused(read) -> None:
    with pytest.raises(BcdError, match=r"Predicted IDC \(2\)"):
        read([annotate({"name": "Predicted IDC"})] * 2 + [annotate({"name": "Tumor"})])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "edited.geojson .*JSON"),
        (b'{"type": "FeatureCollection", "features": [', r"no JSON, or half a file \(line 1\)"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        ("text", "no GeoJSON"),
        ({"type": "FeatureCollection"}, "no GeoJSON"),
        ({"type": "Topology", "objects": {}}, "no GeoJSON"),
        ([1], "holds '1'"),
        ([RING], "no GeoJSON of objects"),
        ({"type": "FeatureCollection", "features": []}, "holds no annotation"),
        (annotate({"name": "Tumor"}, objectType="detection"), r"holds no annotation \(1 other"),
        (annotate({"name": "Necrosis"}), r"Necrosis \(1\)\. Understood are Tumor, .*Reviewed; Ignore\*"),
        (annotate({"name": 7}), r"7 \(1\)"),
        (annotate(None), r"no class \(1\)"),
        (annotate("Tumor"), r"no class \(1\)"),
        (annotate({"name": "Tumor"}, {"type": "LineString", "coordinates": RING}), r"Object 1 .*\(LineString\)"),
        (annotate({"name": "Tumor"}, "here"), "no geometry"),
        (annotate({"name": "Tumor"}, {"type": "Polygon", "coordinates": []}), "Object 1 .*at least three points"),
        (annotate({"name": "Tumor"}, {"type": "Polygon"}), "at least three points"),
        (annotate({"name": "Tumor"}, {"type": "Polygon", "coordinates": RING}), "at least three points"),
        (annotate({"name": "Tumor"}, {"type": "Polygon", "coordinates": [RING[:2]]}), "at least three points"),
        (annotate({"name": "Tumor"}, {"type": "Polygon", "coordinates": [[[0, 0], ["a", 1], [1, 1]]]}), "at least"),
        (
            annotate({"name": "Tumor"}, {"type": "Polygon", "coordinates": [[[0, 0], [float("nan"), 1], [1, 1]]]}),
            "at",
        ),
        (annotate({"name": "Tumor"}, {"type": "MultiPolygon", "coordinates": [[RING], 3]}), "at least three points"),
        ({"type": "Feature"}, r"no class \(1\)"),
    ],
)
def test_a_malformed_file_gets_a_sentence(read, content, message: str) -> None:
    with pytest.raises(BcdError, match=message):
        read(content)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"lost\.geojson"):
        read_annotation_file(tmp_path / "lost.geojson")
