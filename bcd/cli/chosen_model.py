"""Which model a command means: the released one, one in a folder, or one of the registry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bcd.bundle.folder import load_folder
from bcd.bundle.released import RELEASED, load_released
from bcd.gate.history import find_champion_version
from bcd.scoring.exposure import tell_unproven_hospital
from bcd.tracking.lookup import ALIASES, MODEL

if TYPE_CHECKING:
    from bcd.bundle.seen import Seen
    from bcd.scoring.bundle import ScoringBundle
    from bcd.settings import Settings


@dataclass(frozen=True)
class OpenModel:
    """A model that scores files which are not admitted.

    Attributes:
        bundle: What scores.
        said: What it is and why it was chosen, as a sentence.
        seen: Who it was trained on; None: nobody knows.
        warnings: What whoever reads its scores must know.
    """

    bundle: ScoringBundle
    said: str
    seen: Seen | None
    warnings: tuple[str, ...]


def open_chosen_model(settings: Settings, which: str = "") -> OpenModel:
    """Opens the model that `--model` names; none: the champion of the home, where there is one, else the released.

    Raises:
        BcdError: There is no such model, or its files are damaged.
    """
    if which == RELEASED or not (which or find_champion_version(settings)):
        why = "" if which else ", since this home has no champion" if settings.home.exists() else ""
        bundle = load_released()
        return OpenModel(bundle, f"the model that comes with bcd{why}.", bundle.seen, (tell_unproven_hospital(),))
    if which and not _is_registered(which):
        bundle = load_folder(Path(which))
        return OpenModel(bundle, f"the bundle in {which}.", bundle.seen, (tell_unproven_hospital(),))
    return _open_registered(settings, which or "champion")


def _is_registered(which: str) -> bool:
    """Whether a name is a version or an alias, and not a folder's."""
    return which in ALIASES or which.removeprefix(f"{MODEL}/").isdigit()


def _open_registered(settings: Settings, which: str) -> OpenModel:
    from bcd.bundle.registry import load_bundle
    from bcd.bundle.seen import find_seen_by_bundle
    from bcd.errors import DamagedError, NotFoundError
    from bcd.settings import require_home

    require_home(settings)
    bundle = load_bundle(settings, which)
    try:
        seen = find_seen_by_bundle(settings, bundle)
    except (NotFoundError, DamagedError):  # its snapshot is not here any more
        seen = None
    warnings = (tell_unproven_hospital(),) if bundle.record.origin == RELEASED else ()
    return OpenModel(bundle, f"{which} of {settings.home}.", seen, warnings)
