"""The admission report: what it says and shows is what catalog, quarantine and batch hold, and no more."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from html import unescape
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from PIL import Image

from bcd.admission.report import EXAMPLES, write_admission_report
from bcd.admission.rules import FIXES, RULES
from bcd.drift.state import UNTRUSTED
from bcd.errors import NotFoundError
from bcd.patches import Hospital
from bcd.settings import Settings
from bcd.store import tables
from bcd.store.drift import DriftRecord, record_drift
from bcd.store.sign_off import SignOff
from bcd.store.store import Store

NOW = datetime(2026, 11, 23, 7, 30, tzinfo=UTC)


class Refused(NamedTuple):
    name: str
    rule: str
    data: bytes | None = None
    message: str = "It broke a rule."


class Patch(NamedTuple):
    patient: str
    x: int
    label: int | None = 0
    flags: str = ""


Settle = Callable[..., str]


def picture(colour: Sequence[int], size: tuple[int, int] = (50, 50), kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, tuple(colour)).save(buffer, kind)
    return buffer.getvalue()


def patch_name(patient: str, x: int, label: int = 0) -> str:
    return f"{patient}/{label}/{patient}_idx5_x{x}_y51_class{label}.png"


@pytest.fixture
def settle(store: Store) -> Settle:
    """Stores a delivery as admission leaves it: catalog rows, quarantine, batch."""

    def make(
        refused: Sequence[Refused] = (),
        patches: Sequence[Patch] = (),
        *,
        name: str = "delivery.zip",
        ignored: int = 0,
    ) -> str:
        identity = hashlib.sha256(repr((name, refused, patches)).encode()).hexdigest()
        batch = _store_batch(store.settings, identity, patches) if patches else None
        quarantine = store.settings.quarantine / identity
        rows = []
        for number, one in enumerate(refused, start=1):
            kept: str | None = None
            if one.data is not None:
                kept = f"{number:06d}-{one.name.rpartition('/')[2]}"
                quarantine.mkdir(parents=True, exist_ok=True)
                (quarantine / kept).write_bytes(one.data)
            sha256 = hashlib.sha256(one.data or b"").hexdigest()
            row: dict[str, object] = {
                "delivery": identity,
                "name": one.name,
                "rule": one.rule,
                "message": one.message,
            }
            rows.append(row | {"sha256": sha256, "kept": kept})
        flags = Counter(flag for each in patches for flag in each.flags.split())
        with store.write() as connection:
            connection.execute(
                sa.insert(tables.deliveries).values(
                    id=identity,
                    hospital="east",
                    name=name,
                    admitted_at=NOW,
                    files=len(patches) + len(refused) + ignored,
                    admitted_files=len(patches),
                    admitted=len(patches),
                    ignored=ignored,
                    patients=len({each.patient for each in patches}),
                    positive=sum(each.label == 1 for each in patches),
                    unlabelled=sum(each.label is None for each in patches),
                    flags=dict(flags),
                )
            )
            if rows:
                connection.execute(sa.insert(tables.refusals), rows)
            if batch is not None:
                _insert_patches(connection, identity, batch, patches)
        return identity

    return make


def _store_batch(settings: Settings, identity: str, patches: Sequence[Patch]) -> str:
    batch = hashlib.sha256(identity.encode()).hexdigest()
    folder = settings.batches / batch
    folder.mkdir(parents=True)
    index = pd.DataFrame(patches).assign(slide="5", y=51)
    index.to_parquet(folder / "index.parquet", index=False)
    generator = np.random.default_rng(0)
    np.save(folder / "pixels.npy", generator.integers(0, 256, (len(patches), 50, 50, 3), dtype=np.uint8))
    return batch


def _insert_patches(connection: sa.Connection, identity: str, batch: str, patches: Sequence[Patch]) -> None:
    number = connection.execute(
        sa.insert(tables.batches).values(id=batch, delivery=identity).returning(tables.batches.c.number)
    ).scalar_one()
    rows = [
        {"hospital": "east", "patient": each.patient, "slide": "5", "x": each.x, "y": 51, "label": each.label}
        | {"batch": number, "row": row, "pixel_sha256": f"{batch} {row}"}
        for row, each in enumerate(patches)
    ]
    connection.execute(sa.insert(tables.patches), rows)


@pytest.fixture
def report(store: Store) -> Callable[[str], str]:
    return lambda identity: write_admission_report(store, identity).read_text("utf-8")


def text_of(html: str) -> str:
    body = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def pictures_of(html: str) -> list[Image.Image]:
    return [Image.open(io.BytesIO(base64.b64decode(data))) for data in re.findall(r"base64,([^\"]+)", html)]


def test_every_rule_says_what_to_do() -> None:
    assert FIXES.keys() == RULES.keys()


def test_the_counts_add_up_to_the_files(settle: Settle, report: Callable[[str], str]) -> None:
    patches = [Patch("A1", 1, 1), Patch("A1", 51), Patch("B2", 1), Patch("B2", 51, None)]
    identity = settle([Refused("notes.txt", "name", b"hello")], patches, ignored=2)
    text = text_of(report(identity))
    assert "7 files = 4 admitted + 1 refused + 2 ignored" in text
    assert re.search(r"\b1 labelled IDC, 33\.3 %", text)
    assert "A1 2 1 50.0 % 0 B2 2 0 0.0 % 1" in text
    assert re.search(rf"east · 23 November 2026, 07:30 UTC · \w+ {identity[:12]}", text)
    assert "Research use only. Not for diagnosis." in text


def test_each_rule_is_told_with_its_count_meaning_and_fix(settle: Settle, report: Callable[[str], str]) -> None:
    refused = [Refused(f"file-{number}", rule, b"?") for number, rule in enumerate([*RULES, "size", "size"])]
    text = text_of(report(settle(refused, [Patch("A1", 1)])))
    counts = Counter(one.rule for one in refused)
    for rule, meaning in RULES.items():
        files = "3 files" if counts[rule] == 3 else "1 file"
        assert f"{rule} {files} {meaning.replace('`', '')}" in text
        assert FIXES[rule] in text
    assert text.index("size 3 files") < text.index("name 1 file")


def test_a_refused_picture_is_shown_with_its_true_shape(settle: Settle, report: Callable[[str], str]) -> None:
    html = report(
        settle([Refused(patch_name("A1", 1), "size", picture((200, 40, 160), (50, 17)))], [Patch("A1", 51)])
    )
    [shown] = pictures_of(html)
    assert shown.size == (50, 17)
    assert np.abs(np.asarray(shown, int)[8, 25] - (200, 40, 160)).max() < 12
    assert "1 · 50x17" in text_of(html)


def test_what_is_no_picture_is_a_placeholder_with_its_name(settle: Settle, report: Callable[[str], str]) -> None:
    refused = [
        Refused("a/photo.gif", "not-png", picture((1, 2, 3), kind="GIF")),
        Refused("b/odd.png", "not-png", b"%PDF"),
        Refused("c/gone.png", "not-png"),
    ]
    html = report(settle(refused, [Patch("A1", 1)]))
    assert re.findall(r'<div class="none">(.*?)</div>', html) == ["odd.png", "gone.png"]
    assert len(pictures_of(html)) == 1


def test_files_of_which_none_is_a_picture_are_named(settle: Settle, report: Callable[[str], str]) -> None:
    html = report(settle([Refused(f"folder/{n}.png", "empty", b"") for n in range(9)], [Patch("A1", 1)]))
    assert re.search(r"1 folder/0\.png 2 folder/1\.png 3 folder/2\.png 4 folder/3\.png \w+ 5\b", text_of(html))


def test_a_cut_off_picture_shows_as_much_as_there_is(settle: Settle, report: Callable[[str], str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    noise[:10] = (250, 10, 10)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    data = buffer.getvalue()
    html = report(settle([Refused("cut.png", "truncated", data[: len(data) * 3 // 4])], [Patch("A1", 1)]))
    [shown] = pictures_of(html)
    assert np.asarray(shown)[4, 25, 0] > 200


def test_a_large_picture_is_not_decoded_nor_shown(settle: Settle, report: Callable[[str], str]) -> None:
    scan = picture((250, 250, 250), (800, 1000), "JPEG")  # a letter, say, with the patient's name on it
    html = report(settle([Refused("scan.jpg", "name", scan)], [Patch("A1", 1)]))
    assert not pictures_of(html)
    assert "scan.jpg" in text_of(html)


def test_examples_are_spread_over_the_delivery(settle: Settle, report: Callable[[str], str]) -> None:
    refused = [Refused(patch_name("A1", 1 + 50 * n), "size", picture((n, n, n), (50, 9))) for n in range(100)]
    html = report(settle(refused, [Patch("B1", 1)]))
    places = [int(place) for place in re.findall(r"<figcaption>(\d+) · 50x9", html)]
    assert len(places) == EXAMPLES
    assert (places[0], places[-1]) == (1, 100)
    assert places == sorted(places)


def test_a_contradiction_shows_both_sides(settle: Settle, report: Callable[[str], str]) -> None:
    same, other = picture((9, 9, 9)), picture((200, 9, 9))
    refused = [
        Refused(patch_name("A1", 1, 0), "two-labels", same),
        Refused(patch_name("C1", 1, 0), "two-labels", other),
        Refused(patch_name("C1", 51, 1), "two-labels", other),
        Refused(patch_name("A1", 51, 1), "two-labels", same),
        Refused(patch_name("B1", 1), "duplicate-cell", other),
    ]
    html = report(settle(refused, [Patch("B1", 1)]))
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", html)
    pairs = {frozenset(captions[:2]), frozenset(captions[2:4])}
    assert pairs == {frozenset(["1 · label 0", "4 · label 1"]), frozenset(["2 · label 0", "3 · label 1"])}
    assert captions[4:] == ["5", "admitted"]
    assert len(pictures_of(html)) == 6


def test_flagged_patches_are_shown_and_said_to_be_admitted(settle: Settle, report: Callable[[str], str]) -> None:
    flags = ["", "pen", "", "blur pen", "", "pen"]
    html = report(settle([], [Patch("A1", 1 + 50 * n, flags=raised) for n, raised in enumerate(flags)]))
    text = text_of(html)
    assert "blur 1 patch" in text
    assert "pen 3 patches" in text

    assert not re.search(r"stain \d+ patch", text)
    assert re.findall(r'title="patient A1, slide 5, x (\d+), y 51"', html) == ["151", "51", "151", "251"]
    assert len(pictures_of(html)) == 4


def test_it_is_read_without_being_seen_and_fits_the_screen_and_the_page(
    settle: Settle, report: Callable[[str], str], read_page: Callable[[str], Any], measure_page: Callable[[str], None]
) -> None:
    long = Refused(f"folder/{120 * 'a'}.png", "name", b"not a picture")
    small = [Refused(patch_name("A1", 1 + 50 * n), "size", picture((n, n, n), (50, 9))) for n in range(9)]
    html = report(settle([long, *small], [Patch("A1", 501, flags="pen")]))
    read = read_page(html)
    assert len(read.captions) == 2
    assert len(read.pictures) == 10
    assert len(set(read.pictures)) == 10
    assert all(said in read.pictures[-1] for said in ("A1", "slide 5", "x 501", "y 51", "pen"))
    assert len(read.contents) == 7
    measure_page(html)


def test_a_patient_who_withdrew_is_not_shown(settle: Settle, report: Callable[[str], str], store: Store) -> None:
    refused = [Refused(patch_name(patient, 1), "blank", picture((250, 250, 250))) for patient in ("A1", "B1")]
    patches = [Patch(patient, 51, flags="blur") for patient in ("A1", "B1")]
    identity = settle([*refused, Refused(patch_name("A1", 51), "duplicate-cell", picture((1, 2, 3)))], patches)
    assert len(pictures_of(report(identity))) == 6
    with store.write() as connection:
        connection.execute(
            sa.insert(tables.withdrawn).values(hospital="east", patient="A1", **vars(SignOff("Ada", "asked")))
        )
    assert len(pictures_of(report(identity))) == 2


def test_doubts_about_earlier_patches_are_listed(settle: Settle, report: Callable[[str], str], store: Store) -> None:
    identity = settle([Refused(patch_name("A1", 1), "two-labels", b"x")], [Patch("B1", 1)])
    with store.write() as connection:
        connection.execute(
            sa.insert(tables.conflicts).values(
                hospital="east",
                patient="A1",
                slide="5",
                x=1,
                y=51,
                rule="two-labels",
                delivery=identity,
                message="Label 1 before, label 0 here.",
                found_at=NOW,
            )
        )
    text = text_of(report(identity))
    assert re.search(r"contradicts 1 patch\b", text)
    assert "east/A1 5 1 51 two-labels Label 1 before, label 0 here." in text
    assert "bcd label import FILE" in text


def test_it_says_who_released_what(settle: Settle, report: Callable[[str], str], store: Store) -> None:
    identity = settle([Refused(patch_name("A1", 1), "blank", b"x")], [Patch("B1", 1)])
    other = settle([], [Patch("A1", 1)], name="release of delivery.zip")
    with store.write() as connection:
        connection.execute(
            sa.insert(tables.releases).values(refusal=1, delivery=other, **vars(SignOff("Ada", "it is mucin", NOW)))
        )
    assert "released by Ada on 2026-11-23: it is mucin" in text_of(report(identity))


def test_nothing_refused_is_said(settle: Settle, report: Callable[[str], str]) -> None:
    assert "1 file = 1 admitted + 0 refused" in text_of(report(settle([], [Patch("A1", 1)])))


def test_a_delivery_without_a_batch_is_told(settle: Settle, report: Callable[[str], str]) -> None:
    text = text_of(report(settle([Refused(patch_name("A1", 1), "already-admitted")])))
    assert "1 file = 0 admitted + 1 refused" in text
    assert "n/a" in text


def test_names_are_escaped(settle: Settle, report: Callable[[str], str]) -> None:
    html = report(settle([Refused('"><script>alert(1)</script>', "name", b"x")], [Patch("A1", 1)], name="<b>x.zip"))
    assert "<script" not in html
    assert "<b>x.zip" not in html


def test_it_needs_neither_network_nor_scripts(settle: Settle, report: Callable[[str], str]) -> None:
    html = report(settle([Refused(patch_name("A1", 1), "size", picture((1, 2, 3), (50, 9)))], [Patch("A1", 51)]))
    assert "<script" not in html
    assert "http" not in html
    assert "url(" not in html


def test_it_comes_out_the_same_again(settle: Settle, store: Store) -> None:
    refused = [Refused(patch_name("A1", 1 + 50 * n), "size", picture((n, 2, 3), (50, 9))) for n in range(30)]
    identity = settle(refused, [Patch("B1", 1, flags="blur")])
    path = write_admission_report(store, identity)
    before = path.read_bytes()
    path.unlink()
    assert write_admission_report(store, identity).read_bytes() == before
    assert path == store.settings.reports / f"{identity[:12]}.html"


def test_twenty_thousand_refusals_make_a_small_report(settle: Settle, report: Callable[[str], str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    rules = list(RULES)
    refused = [
        Refused(
            f"{'long/' * 50}{n}.png", rules[n % len(rules)], buffer.getvalue() if n < 1000 else None, "why " * 200
        )
        for n in range(20_000)
    ]
    html = report(settle(refused, [Patch("A1", 1 + 50 * n) for n in range(10)]))
    assert len(html) < 5_000_000
    assert "1,000 of 20,000" in text_of(html)


def test_an_unknown_delivery_is_told(store: Store) -> None:
    with pytest.raises(NotFoundError, match="ffff"):
        write_admission_report(store, "f" * 64)


@pytest.mark.parametrize(
    "said",
    [
        ("fine", False, "Drift: fine.", "drift"),
        ("fine", True, "Drift: fine, foreign hospital.", "drift yellow"),
        ("unusual", False, "Drift: unusual. Sharpness is low.", "drift yellow"),
        (UNTRUSTED, False, "not to be relied on. Sharpness is low.", "reason"),
    ],
)
def test_how_the_delivery_compares_with_the_champions_patients_stands_above_the_counts(
    store: Store, settle: Settle, report: Callable[[str], str], said: tuple[str, bool, str, str]
) -> None:
    level, foreign, shown, colour = said
    identity = settle(patches=[Patch("A1", 1, 1)])
    assert "Drift" not in text_of(report(identity))
    reasons = ["Sharpness is low."] if level != "fine" else []
    state = {"reasons": reasons, "foreign": foreign}
    record_drift(store, DriftRecord(identity, Hospital("east"), "bcd-idc/3", "admission", level, state, NOW))
    html = report(identity)
    assert shown in text_of(html)
    assert re.search(rf'<p class="{colour}" data-drift="{level}">', html)
    assert html.index("data-drift") < html.index('<p class="equation">')
    assert "Compared with the patients of bcd-idc/3 on 2026-11-23." in text_of(html)
