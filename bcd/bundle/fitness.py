"""Whether a registered bundle is fit to score, without importing MLflow where its files lie on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from bcd.bundle.record import read_record
from bcd.bundle.registry import load_bundle, not_loadable, require_scores
from bcd.bundle.scorer import Scorer

if TYPE_CHECKING:
    from bcd.bundle.rows import VersionRow
    from bcd.settings import Settings


def require_fit(settings: Settings, row: VersionRow) -> None:
    """Opens a bundle's files and scores two patches of nobody with it: what a scoring run would do.

    Raises:
        BcdError: Its files are gone or damaged, or it gives no finite probability.
    """
    if not row.files.startswith("file:"):  # they lie behind a server, or in object storage
        bundle = load_bundle(settings, row.version)
        require_scores(bundle.name, bundle.score)
        return
    folder = Path(url2pathname(urlsplit(row.files).path))
    try:
        record = read_record(folder / "artifacts" / "bundle.json")
        scorer = Scorer(folder / "artifacts" / "networks", record)
    except (OSError, ValueError) as error:
        raise not_loadable(row.version, error) from error
    require_scores(row.name, scorer.score)
