"""Which epoch is kept, and when a training has stalled."""

from __future__ import annotations

from bcd.training.history import best_epoch, has_training_stalled


def rows(*scores: float) -> list[dict[str, float]]:
    return [{"val_score": score} for score in scores]


def test_the_highest_score_is_kept_the_first_of_equals() -> None:
    assert best_epoch(rows(0.7, 0.9, 0.8, 0.9)) == 2


def test_a_training_stalls_after_as_many_epochs_without_a_better_one() -> None:
    assert not has_training_stalled(rows(0.9, 0.8), patience=2)
    assert has_training_stalled(rows(0.9, 0.8, 0.85), patience=2)
    assert not has_training_stalled(rows(0.9, 0.8, 0.91), patience=2)


def test_without_patience_a_training_never_stalls() -> None:
    assert not has_training_stalled(rows(0.9, *[0.1] * 50), patience=0)
    assert not has_training_stalled([], patience=1)
