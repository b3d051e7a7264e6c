"""The picture that `bcd network preview` draws: train patches, and each as a training would see it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bcd.settings import Settings

ROWS, TIMES = 6, 8
"""Patches of a preview, half of them IDC where there are so many, and augmented ones of each."""

_SCALE, _GAP, _WIDE_GAP = 3, 8, 24  # pixels of the picture: a patch's pixel, between patches, behind the first column
_DPI, _FOOT = 150, 50  # dots an inch, and under the drawing, of `bcd.charts.page`


def preview_augmentation(pixels: NDArray[np.uint8], stain: float, light: float, seed: int) -> NDArray[np.uint8]:
    """Returns prepared patches (n, 50, 50, 3) and behind each of them eight augmented ones, (n, 9, 50, 50, 3)."""
    import numpy as np

    from bcd.networks.augmentation import Augment

    augment = Augment(stain, light, seed)
    augmented = [np.asarray(augment(pixels, training=True)) for _ in range(TIMES)]
    return np.stack([pixels, *(np.rint(one).astype(np.uint8) for one in augmented)], axis=1)


def draw_preview(
    path: Path, augmented: NDArray[np.uint8], labels: NDArray[np.int64], *, title: str, note: str
) -> None:
    """Draws a row a patch at whole multiples of its pixels: as prepared, then augmented.

    Args:
        path: The PNG to write.
        augmented: What `preview_augmentation` returned.
        labels: Labels (n,) of the patches.
        title: What is shown.
        note: Where the patches come from.
    """
    import numpy as np

    from bcd.charts import GRID, MUTED, page

    rows, columns, edge = len(augmented), augmented.shape[1], _SCALE * augmented.shape[2]
    left, top = 100, 30
    width = left + columns * (edge + _GAP) + _WIDE_GAP + _GAP
    frame = [int(GRID[at : at + 2], 16) for at in (1, 3, 5)]
    height = top + rows * (edge + _GAP)
    canvas = np.full((height, width, 3), 255, np.uint8)
    starts = [left + column * (edge + _GAP) + (_WIDE_GAP if column else 0) for column in range(columns)]
    for row, patches in enumerate(augmented):
        y = top + row * (edge + _GAP)
        for x, patch in zip(starts, patches, strict=True):
            canvas[y - 1 : y + edge + 1, x - 1 : x + edge + 1] = frame
            canvas[y : y + edge, x : x + edge] = patch.repeat(_SCALE, axis=0).repeat(_SCALE, axis=1)
    with page(path, title=title, note=note, size=(width / _DPI, height / _DPI)) as figure:
        figure.set_layout_engine("none")  # it would move the pixels off the grid
        total = figure.get_figheight() * _DPI
        axes = figure.add_axes((0, _FOOT / total, 1, height / total))
        axes.imshow(canvas, interpolation="none", aspect="auto")
        axes.axis("off")
        axes.text(starts[0] + edge / 2, top - 10, "as prepared", ha="center", fontsize=9)
        axes.text((starts[1] + starts[-1] + edge) / 2, top - 10, "augmented", ha="center", fontsize=9)
        for row, label in enumerate(labels):
            y = top + row * (edge + _GAP) + edge / 2
            name = "IDC" if label else "no IDC"
            axes.text(left - 12, y, name, ha="right", va="center", fontsize=9, color=MUTED)


def choose_preview_patches(
    settings: Settings, identity: str, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64], str]:
    """Returns a few prepared patches, their labels, those of IDC last, and where they come from.

    Args:
        settings: Where snapshots lie, and how patches are prepared.
        identity: The snapshot's id or its beginning; empty: the latest, or synthetic tissue where there is none.
        seed: Seeds the choice.
    """
    from bcd.preprocessing.options import PrepareOptions
    from bcd.preprocessing.prepare import prepare
    from bcd.snapshots.manifest import list_snapshots

    if not identity and (found := list_snapshots(settings)):
        identity = found[-1].id
    pixels, labels, source = _from_snapshot(settings, identity, seed) if identity else _from_synthetic(seed)
    options = settings.options("preparation", PrepareOptions)
    return prepare(pixels, options), labels, source


def _from_snapshot(settings: Settings, identity: str, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], str]:
    import numpy as np

    from bcd.errors import InsufficientEvidenceError
    from bcd.snapshots.freeze import load_snapshot
    from bcd.store.batches import read_batch_pixels

    snapshot = load_snapshot(settings, identity)
    patches = snapshot.of("train")
    if patches.empty:
        raise InsufficientEvidenceError(
            f"Snapshot {snapshot.id[:12]} has no train patches.", "Admit more patients, or name another snapshot."
        )
    labels = patches["label"].to_numpy(np.int64)
    chosen = _choose_rows_of_labels(labels, seed)
    source = f"patches of the train split of snapshot {snapshot.id[:12]}"
    return read_batch_pixels(settings, patches.iloc[chosen]), labels[chosen], source


def _from_synthetic(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], str]:
    import numpy as np

    from bcd.patches import PATCH_PIXELS
    from bcd.progress import say_progress
    from bcd.synthetic.hospital import draw_patches
    from bcd.synthetic.options import HospitalOptions
    from bcd.synthetic.patient import draw_synthetic_patients

    say_progress("No snapshot is frozen yet, so these are patches of synthetic tissue.")
    options = HospitalOptions(seed=seed, patients=4, large_patients=0, tumour_free_share=0.0, cut_share=0.0)
    drawn = [patch for _, patches in draw_patches(draw_synthetic_patients(options)) for patch in patches]
    whole = [patch for patch in drawn if patch.pixels.shape[:2] == (PATCH_PIXELS, PATCH_PIXELS)]
    labels = np.array([patch.name.label for patch in whole], np.int64)
    chosen = _choose_rows_of_labels(labels, seed)
    return np.stack([whole[row].pixels for row in chosen]), labels[chosen], "patches of synthetic tissue"


def _choose_rows_of_labels(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Chooses rows, half of each label where there are so many, those of label 1 last."""
    import numpy as np

    order = np.random.default_rng(seed).permutation(len(labels))
    none, idc = order[labels[order] == 0], order[labels[order] == 1]
    few = min(len(idc), max(ROWS // 2, ROWS - len(none)))
    return np.concatenate([none[: ROWS - few], idc[:few]])
