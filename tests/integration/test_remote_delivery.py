"""Deliveries behind `s3://`, from a server that speaks Amazon's protocol over HTTP."""

from __future__ import annotations

import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from bcd.admission.delivery import check_delivery
from bcd.admission.sources.open import open_source
from bcd.admission.sources.remote import fetch_delivery
from bcd.errors import BcdError, NotFoundError, UnavailableError

pytestmark = pytest.mark.integration

FILES = {f"8867/{n % 2}/8867_idx5_x{50 * n + 1}_y51_class{n % 2}.png": os.urandom(5000) for n in range(60)}


def _read(url: str, scratch: Path) -> dict[str, bytes]:
    with fetch_delivery(url, scratch) as path:
        check_delivery(path)
        with open_source(path, scratch) as source:
            return {name: source.read(member, 1 << 20) for member, name in enumerate(source.names)}


def test_a_zip_and_a_tar_are_fetched_and_read(bucket, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "may.zip", "w") as packed:
        for name, data in FILES.items():
            packed.writestr(name, data)
    with tarfile.open(tmp_path / "may.tar.gz", "w:gz") as archive:
        for name, data in FILES.items():
            (tmp_path / "one").write_bytes(data)
            archive.add(tmp_path / "one", name)
    bucket("2024/may.tar.gz", (tmp_path / "may.tar.gz").read_bytes())
    bucket("2024/may.zip", (tmp_path / "may.zip").read_bytes())
    bucket("2024/may.zip.sha256", b"another object whose key begins alike")
    for url in ("s3://east/2024/may.zip", "s3://east/2024/may.tar.gz"):
        assert _read(url, tmp_path / "scratch") == FILES
    assert list((tmp_path / "scratch").iterdir()) == []


def test_loose_files_below_a_prefix_are_fetched_and_read(bucket, tmp_path: Path) -> None:
    for name, data in FILES.items():
        bucket(f"2024/may/{name}", data)
    bucket("2024/may/", b"")  # what a console makes for an empty folder
    bucket("2024/may-not/x_idx5_x1_y1.png", b"of another delivery")
    assert _read("s3://east/2024/may", tmp_path / "scratch") == FILES
    assert _read("s3://east/2024/may/", tmp_path / "scratch") == FILES


def test_a_large_object_comes_in_pieces(bucket, tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 20
    bucket("8867.svs", data)
    with fetch_delivery("s3://east/8867.svs", tmp_path / "scratch") as path:
        assert path.name == "8867.svs"
        assert path.read_bytes() == data


def test_what_is_not_there_is_named(bucket, tmp_path: Path) -> None:
    bucket("x.zip", b"x")
    for url in ("s3://east/y.zip", "s3://west/x.zip", "s3://west"):
        with pytest.raises(NotFoundError, match=url), fetch_delivery(url, tmp_path):
            pass


def test_missing_credentials_are_named(bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    needs = pytest.raises(BcdError, match="AWS_ACCESS_KEY_ID")
    with needs, fetch_delivery("s3://east/x.zip", tmp_path):
        pass


def test_a_store_that_cannot_be_reached_is_named(bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    away = pytest.raises(UnavailableError, match=r"s3://east/x\.zip.*127\.0\.0\.1:9")
    with away, fetch_delivery("s3://east/x.zip", tmp_path):
        pass
