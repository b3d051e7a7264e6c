from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bcd.patches import PATCH_PIXELS, PatchName
from bcd.synthetic.hospital import cut_drawn_slide
from bcd.synthetic.options import HospitalOptions
from bcd.synthetic.patient import draw_synthetic_patients
from bcd.synthetic.slide import draw_synthetic_slide

Members = dict[str, NDArray[np.uint8]]


def test_colour_alone_says_something_but_not_enough() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    colours, labels, patients = [], [], []
    options = HospitalOptions(seed=2, patients=24, large_patients=0, small_patches=40)
    for number, patient in enumerate(draw_synthetic_patients(options)):
        for patch in cut_drawn_slide(patient, draw_synthetic_slide(patient)):
            colours.append([*patch.pixels.mean((0, 1)), *patch.pixels.std((0, 1))])
            labels.append(patch.name.label)
            patients.append(number)
    x, y, evaluated = np.array(colours) / 255, np.array(labels), np.array(patients) % 2 == 0
    model = LogisticRegression(C=100, max_iter=1000).fit(x[~evaluated], y[~evaluated])
    assert 0.65 < roc_auc_score(y[evaluated], model.decision_function(x[evaluated])) <= 0.90


def test_stain_differs_between_patients(members: Members, names: list[PatchName]) -> None:
    """Stroma's hue and darkness spread over patients far more than two halves of one patient differ."""
    halves: dict[str, list[NDArray[np.float64]]] = {}
    for name, picture in zip(names, members.values(), strict=True):
        tissue = picture[picture[..., 1] < 200]
        if len(tissue) > PATCH_PIXELS**2 / 2:
            halves.setdefault(name.patient, []).append(np.median(tissue, axis=0))
    own = [np.stack(colours) for colours in halves.values() if len(colours) >= 6]
    centres = np.stack([np.median(colours, axis=0) for colours in own])
    apart = np.median([np.median(c[::2], axis=0) - np.median(c[1::2], axis=0) for c in own], axis=0)
    assert centres.std(axis=0).max() > 2 * np.abs(apart).max()
    assert centres.std(axis=0).max() > 8
