"""Annotations of a slide, as QuPath saves them: a GeoJSON file of areas with classes.

Understood are a FeatureCollection, a Feature and a list of Features, with the properties of QuPath 0.2 to 0.6. Only
annotations count. Detections are passed over: the patches that bcd exported are such, with the class that the *model*
gives them, which is no label.

Examples:
    >>> KINDS["tumor"], read_annotation_kind("Ignore*"), read_annotation_kind("Necrosis")
    ('positive', 'ignored', None)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bcd.errors import BcdError, NotFoundError
from bcd.formats import format_some
from bcd.patches import Hospital, PatchName, PatientId, Slide, SlideId
from bcd.store.areas import Polygon
from bcd.store.label_files import refuse_other_list

Kind = Literal["positive", "negative", "reviewed", "ignored"]

KINDS: dict[str, Kind] = {
    **dict.fromkeys(("tumor", "tumour", "idc", "invasive", "invasive carcinoma"), "positive"),
    **dict.fromkeys(("invasive ductal carcinoma",), "positive"),
    **dict.fromkeys(("benign", "normal", "stroma", "no idc"), "negative"),
    **dict.fromkeys(("reviewed",), "reviewed"),
    **dict.fromkeys(("ignore",), "ignored"),
}
"""What a class says of the area under it; without case, and `Ignore*` as `ignore`."""

ACCEPTED = (
    "Understood are Tumor, Tumour, IDC, Invasive, Invasive carcinoma, Invasive ductal carcinoma; Benign, Normal,"
    " Stroma, No IDC; Reviewed; Ignore*"
)

SUFFIXES = (".geojson", ".json")

_AGAIN = "Export the annotations from QuPath again (File > Export objects as GeoJSON), and import that file."
_LEGACY = {"PathAnnotationObject": "annotation", "PathDetectionObject": "detection", "PathTileObject": "tile"}
_SHOWN = 5
_EXPORTED = re.compile(r"(review [0-9]+ )?([^/]+)/([^/]+)")


@dataclass(frozen=True)
class Annotations:
    """What a file of annotations says.

    Attributes:
        polygons: Areas by `Kind`, in the file's pixels.
        others: Number of objects that are no annotations, such as detections.
        slides: Hospital, patient and slide as bcd wrote them into the file; empty where nothing of it is left.
    """

    polygons: list[Polygon]
    others: int
    slides: frozenset[Slide]


def name_annotated_patch(hospital: str, patient: str, slide: str, x: int, y: int) -> str:
    """Returns what an exported patch is called, from which `read_annotation_file` knows whose it is."""
    return f"{hospital}/{PatchName(PatientId(patient), SlideId(slide), x, y, None).format().removesuffix('.png')}"


def name_asked_patch(number: int, name: str) -> str:
    """Returns what a patch is called in a list of `bcd review`, by its number there and its name."""
    return f"review {number} {name}"


def read_annotation_kind(name: str) -> Kind | None:
    """Returns what a class says; None where that is not known."""
    return KINDS.get(" ".join(re.sub(r"[-_]", " ", name).rstrip("*").casefold().split()))


def read_annotation_file(path: Path, *, asked: bool = False) -> Annotations:
    """Reads a file of annotations.

    Args:
        path: GeoJSON.
        asked: Whether it is a list of `bcd review`, whose patches are annotations without a class until somebody
            answers; those are passed over.

    Raises:
        BcdError: It is no GeoJSON; an annotation has no class or an unknown one, or is no area; or there is none.
    """
    features = list(_flatten_features(path, _read_features(path)))
    polygons: list[Polygon] = []
    unknown: dict[str, int] = {}
    slides: set[Slide] = set()
    others, is_list = 0, False
    for number, feature in enumerate(features, start=1):
        properties = feature["properties"]
        of_slide, is_asked = _read_slide(properties)
        slides |= of_slide
        is_list |= is_asked
        name = _read_class(properties)
        if _type_of(feature) != "annotation" or (is_asked and not name):
            others += 1
            continue
        kind = read_annotation_kind(name)
        if kind is None:
            unknown[name] = unknown.get(name, 0) + 1
            continue
        polygons += [Polygon(kind, rings) for rings in _read_areas(path, number, feature.get("geometry"))]
    refuse_other_list(path, "patch that it asks about", is_list=is_list, asked=asked)
    if unknown:
        shown = [f"{name} ({count:,})" if name else f"no class ({count:,})" for name, count in unknown.items()]
        raise BcdError(
            f"{path.name} has annotations with classes that are not understood, nothing of it was imported:"
            f" {format_some(shown, _SHOWN)}.",
            f"{ACCEPTED}. Change the class in QuPath, or delete the annotation, and export again.",
        )
    if not polygons:
        raise BcdError(
            f"{path.name} holds no annotation ({others:,} other objects).",
            f"Draw areas, give them a class, and export again. {ACCEPTED}.",
        )
    return Annotations(polygons, others, frozenset(slides))


def _read_features(path: Path) -> list[Any]:
    try:
        said = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no file {path}.", "Check the path.") from error
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError among them
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise BcdError(f"{path.name} is no JSON, or half a file{where}.", _AGAIN) from error
    if isinstance(said, dict) and said.get("type") == "FeatureCollection":
        said = said.get("features")
    elif isinstance(said, dict) and said.get("type") == "Feature":
        said = [said]
    if not isinstance(said, list):
        raise BcdError(f"{path.name} is no GeoJSON: it is neither a Feature nor a collection of them.", _AGAIN)
    return said


def _flatten_features(path: Path, features: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """Yields the features and those within them, which QuPath saves where it is asked for a hierarchy."""
    for feature in features:
        if not isinstance(feature, dict) or feature.get("type") != "Feature":
            raise BcdError(f"{path.name} is no GeoJSON of objects: it holds {str(feature)[:60]!r}.", _AGAIN)
        properties = feature.get("properties")
        if not isinstance(properties, dict):
            properties = {}
        yield {**feature, "properties": properties}
        children = properties.get("childObjects")
        if isinstance(children, list):
            yield from _flatten_features(path, children)


def _type_of(feature: dict[str, Any]) -> str:
    """Returns annotation, detection, cell, tile, …; where a file does not say it, QuPath makes an annotation too."""
    properties = feature["properties"]
    said = properties.get("objectType") or properties.get("object_type") or _LEGACY.get(str(feature.get("id")))
    return str(said or "annotation")


def _read_slide(properties: dict[str, Any]) -> tuple[set[Slide], bool]:
    """Reads the slide off the name of an exported patch, and whether `bcd review` asks about the patch."""
    named = _EXPORTED.fullmatch(str(properties.get("name") or ""))
    patch = PatchName.parse(f"{named[3]}.png") if named else None
    return ({(Hospital(named[2]), patch.patient, patch.slide)}, bool(named[1])) if named and patch else (set(), False)


def _read_class(properties: dict[str, Any]) -> str:
    """Returns the class of an object; empty: none. QuPath 0.5 writes a derived class as several names."""
    said = properties.get("classification")
    if not isinstance(said, dict):
        return ""
    names = said.get("names")
    return ": ".join(map(str, names)) if isinstance(names, list) else str(said.get("name") or "")


def _read_areas(path: Path, number: int, geometry: Any) -> list[list[np.ndarray]]:
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind not in {"Polygon", "MultiPolygon"}:
        raise BcdError(
            f"Object {number} of {path.name} is an annotation without an area ({kind or 'no geometry'}),"
            " nothing of it was imported.",
            "Annotate areas: with the brush, the wand, a polygon, a rectangle or an ellipse.",
        )
    given = geometry.get("coordinates")
    try:
        areas = [
            [np.array([point[:2] for point in ring], np.float64) for ring in area]
            for area in ([given] if kind == "Polygon" else given)
        ]
    except (TypeError, ValueError, IndexError, KeyError):
        areas = []
    rings = [ring for area in areas for ring in area]
    if not rings or not all(
        ring.ndim == 2 and ring.shape[1] == 2 and len(ring) >= 3 and np.isfinite(ring).all() for ring in rings
    ):
        raise BcdError(
            f"Object {number} of {path.name} has an outline that is none: rings of at least three points x, y are"
            " needed. Nothing of the file was imported.",
            _AGAIN,
        )
    return areas
