"""The copies that a machine keeps of what lies in the store: they follow what others change, and are bounded.

Now and then, while the store is used, a machine asks what was changed or removed, and looks at its copies of that
again. What was used longest ago goes where the copies are more than `store_cache_gb`; a folder that somebody has in
use stays, and one that the bucket does not hold.
"""

from __future__ import annotations

import json
import shutil
import time
from contextlib import suppress

from bcd.errors import DamagedError
from bcd.files import whole_file
from bcd.progress import say_progress
from bcd.settings import Settings
from bcd.store.bucket import open_bucket
from bcd.store.place import CHANGED, FolderManifest, Place, lock_recorded, read_recorded

_FOLLOW_SECONDS = 3600.0
"""So often a machine that uses the store asks what was changed or removed in it."""

_FOLLOWED = "followed"
"""The file of what was changed when it was asked last; its time is when."""


def keep_copies(settings: Settings, used: Place) -> None:
    """Follows what others changed, and makes room, each now and then."""
    used.touch()
    followed = settings.stored / _FOLLOWED
    if not followed.exists() or time.time() - followed.stat().st_mtime > _FOLLOW_SECONDS:
        follow_changes(settings)
    with lock_recorded(settings) as counter:
        if read_recorded(counter) < _most_bytes(settings) / 100:
            return
        counter.write_text("0")
    make_room(settings)


def follow_changes(settings: Settings) -> None:
    """Makes the copies of this machine what the bucket holds, of what anybody changed or removed since it was asked.

    Where that is a batch, prepared patches go, as they do on the machine that erases.
    """
    followed = settings.stored / _FOLLOWED
    known = json.loads(followed.read_text()) if followed.exists() else {}
    found = open_bucket(settings.store_url).find_stamped(CHANGED)
    changed = [key for key, stamp in found.items() if known.get(key) != stamp]
    places = {key: Place(settings, settings.home / key.removeprefix(f"{CHANGED}/")) for key in changed}
    if any(place.path.is_relative_to(settings.batches) for place in places.values()):
        shutil.rmtree(settings.prepared, ignore_errors=True)
    for key, place in places.items():
        if place.read_record() is not None:
            try:
                with place.turn():
                    place.compare()
            except DamagedError as error:  # which is no fault of what this process does
                say_progress(str(error))
                del found[key]  # it is asked again
    with whole_file(followed) as partial:
        partial.write_text(json.dumps(found))


def make_room(settings: Settings) -> None:
    """Removes the copies that were used longest ago, until the others are within `store_cache_gb`."""
    held = _list_copies(settings)
    total = sum(size for _, size, _ in held)
    for _, size, place in sorted(held, key=lambda each: each[0]):
        if total <= _most_bytes(settings):
            return
        if _drop_unused(place):
            total -= size


def measure_copies(settings: Settings) -> int:
    """Returns the bytes of what this machine keeps a copy of."""
    return sum(size for _, size, _ in _list_copies(settings))


def _list_copies(settings: Settings) -> list[tuple[float, int, Place]]:
    """Returns of each copy when it was used, its bytes and its place."""
    held = []
    for record in settings.stored.rglob("*.json"):
        name = record.relative_to(settings.stored).as_posix().removesuffix(".json")
        with suppress(FileNotFoundError):  # another process makes room too
            size = FolderManifest.model_validate_json(record.read_bytes()).size
            held.append((record.stat().st_mtime, size, Place(settings, settings.home / name)))
    return held


def _most_bytes(settings: Settings) -> float:
    return settings.store_cache_gb * 1e9


def _drop_unused(place: Place) -> bool:
    from filelock import Timeout

    try:
        with place.use().write_lock(blocking=False), place.turn().acquire(blocking=False):
            place.drop()
    except Timeout:
        return False
    return True
