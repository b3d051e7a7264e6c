from __future__ import annotations

import numpy as np
import pandas as pd

from bcd.review.suspicious import rank_labels


def test_the_label_that_the_score_contradicts_most_is_first() -> None:
    scores = pd.DataFrame({"label": [1, 0, 1, 0], "probability": [0.2, 0.9, 0.8, 0.1], "context_probability": np.nan})
    ranked = rank_labels(scores)
    assert ranked.index.tolist() == [1, 0, 2, 3]
    assert ranked["value"].round(9).tolist() == [0.9, 0.8, 0.2, 0.1]


def test_where_neighbours_are_known_the_probability_in_context_counts() -> None:
    scores = pd.DataFrame({"label": [0, 0], "probability": [0.9, 0.6], "context_probability": [0.3, np.nan]})
    assert rank_labels(scores).index.tolist() == [1, 0]
