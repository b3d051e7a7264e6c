"""What a training learns from: rows of mapped patches, none of them read before its turn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np

from bcd.preprocessing.prepared import PreparedSnapshot
from bcd.training.data import gather_training_material
from bcd.training.options import TrainOptions


def test_train_and_val_patches_are_gathered_as_rows_and_not_read(
    prepared: PreparedSnapshot, options: TrainOptions
) -> None:
    unread = replace(prepared, pixels=cast("Any", None))

    material = gather_training_material(unread, options)

    np.testing.assert_array_equal(material.rows, prepared.rows("train"))
    np.testing.assert_array_equal(material.val_rows, prepared.rows("val"))
    np.testing.assert_array_equal(material.val_labels, prepared.labels("val"))
    assert list(material.val_patients) == list(prepared.split("val")[2])


def test_a_training_that_looks_at_no_val_patients_has_none(prepared: PreparedSnapshot, options: TrainOptions) -> None:
    alone = options.model_copy(update={"min_val_patients": 0, "keep": "last"})

    material = gather_training_material(prepared, alone)

    assert [len(each) for each in (material.val_rows, material.val_labels, material.val_patients)] == [0, 0, 0]
