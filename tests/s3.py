"""A bucket on a server that speaks Amazon's protocol over HTTP, and two machines that share a store in it."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bcd.settings import Settings
from bcd.store import objects
from bcd.store.bucket import Bucket
from bcd.store.copies import make_room
from bcd.store.objects import changed_file, put, remove, require


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = tmp_path_factory.mktemp("s3") / "log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as server:
        try:
            yield _wait_for_address(log, server)
        finally:
            server.terminate()


def _wait_for_address(log: Path, server: subprocess.Popen[bytes]) -> str:
    until = time.monotonic() + 120
    while time.monotonic() < until and server.poll() is None:
        if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
            return found[0]
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str, bytes], None]]:
    """A bucket `east` that the usual AWS variables lead to; puts an object."""
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "mary",
        "AWS_SECRET_ACCESS_KEY": "open-sesame",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)
    import boto3

    client = boto3.client("s3")
    client.create_bucket(Bucket="east", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    yield lambda key, data: client.put_object(Bucket="east", Key=key, Body=data)
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST"))


@pytest.fixture
def machines(bucket: object, tmp_path: Path) -> tuple[Settings, Settings]:
    """Two homes with one catalog and one store."""
    catalog = f"sqlite:///{tmp_path / 'catalog' / 'catalog.db'}"
    one, other = (
        Settings(home=tmp_path / name, catalog_url=catalog, store_url="s3://east/bcd") for name in ("one", "other")
    )
    return one, other


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call compares with the bucket anew, as that of a new process does."""
    monkeypatch.setattr(objects, "_FRESH_SECONDS", 0.0)


class Killed(BaseException):
    """Ends what works, as a kill does: nothing is cleaned up after it."""


def die_at(step: int, work: Callable[[Settings], None], settings: Settings, *, really: bool = False) -> bool:
    """Does work that ends before a step, a change of a file or a call of the bucket; returns whether it came to it.

    Args:
        step: From 1.
        work: What is done.
        settings: With what.
        really: Whether it is done in a process of its own, which is killed.
    """
    if not really:
        try:
            _work_until(step, work, settings, really=False)
        except Killed:
            return True
        return False
    process = multiprocessing.get_context("fork").Process(
        target=_work_until, args=(step, work, settings), kwargs={"really": True}
    )
    process.start()
    process.join(60)
    assert process.exitcode in {0, -signal.SIGKILL}
    return bool(process.exitcode)


def _work_until(step: int, work: Callable[[Settings], None], settings: Settings, *, really: bool) -> None:
    left = step

    def count(do: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if left <= 0:
                if really:
                    os.kill(os.getpid(), signal.SIGKILL)
                raise Killed
            return do(*args, **named)

        return counted

    with pytest.MonkeyPatch.context() as patch:
        for name in ("read", "write", "upload", "download", "delete"):
            patch.setattr(Bucket, name, count(getattr(Bucket, name)))
        patch.setattr(Path, "replace", count(Path.replace))
        patch.setattr(Path, "unlink", count(Path.unlink))
        patch.setattr(shutil, "rmtree", count(shutil.rmtree))
        work(settings)


def put_batch(settings: Settings) -> None:
    put(settings, settings.batches / "b1")


def fetch_batch(settings: Settings) -> None:
    require(settings, settings.batches / "b1")


def change_pixels(settings: Settings) -> None:
    with changed_file(settings, settings.batches / "b1", "pixels.npy") as partial:
        partial.write_bytes(b"zeros")


def remove_batch(settings: Settings) -> None:
    remove(settings, settings.batches / "b1")


def make_all_room(settings: Settings) -> None:
    make_room(settings.model_copy(update={"store_cache_gb": 0.0}))
