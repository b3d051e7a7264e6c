"""The evaluation of a network or an ensemble: scores of val and test patients, the policy, the figures.

The policy is fitted on val patients and then evaluated, unchanged, on test patients, who chose nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bcd.bundle.engine import Engine
from bcd.evaluation.evaluation import Evaluation, evaluate_scores
from bcd.evaluation.options import EvaluateOptions
from bcd.evaluation.policy.calibration import cross_fit_or_none
from bcd.evaluation.policy.context import CONTEXT, cross_fit_context
from bcd.evaluation.policy.policy import Policy, fit_policy
from bcd.evaluation.report.figures import draw_evaluation
from bcd.files import whole_folder
from bcd.patches import CELL, lie_on
from bcd.preprocessing.prepared import PatchRows, PreparedSnapshot
from bcd.progress import say_progress, track_progress

if TYPE_CHECKING:
    import pandas as pd

    from bcd.training.options import Turns

_SPLITS = ("val", "test")


@dataclass(frozen=True)
class EvaluatedNetwork:
    """What an evaluation left in its folder.

    Attributes:
        policy: Calibrator and levels, fitted on the val patients.
        evaluations: The evaluation of each split. That of val, by cross-fitted probabilities, flatters all
            the same: its patients chose the epoch. A split without patients is left out.
        folder: Holds `SPLIT.parquet` (scores), `SPLIT.json` and `SPLIT/*.png` of each evaluated split.
    """

    policy: Policy
    evaluations: dict[str, Evaluation]
    folder: Path

    def scores(self, split: str) -> pd.DataFrame:
        """Reads the scores of a split."""
        import pandas as pd

        return pd.read_parquet(self.folder / f"{split}.parquet")

    def figures(self, split: str) -> list[Path]:
        """Returns the pictures of a split."""
        return sorted((self.folder / split).glob("*.png"))


def find_evaluated_retraining(folder: Path) -> EvaluatedNetwork | None:
    """Reads what an evaluation left in its folder; None where there is none."""
    if not folder.exists():
        return None
    evaluations = {
        split: Evaluation.model_validate_json((folder / f"{split}.json").read_text())
        for split in _SPLITS
        if (folder / f"{split}.json").exists()
    }
    policy = Policy.model_validate_json((folder / "policy.json").read_text())
    return EvaluatedNetwork(policy, evaluations, folder)


def evaluate_retrained(
    prepared: PreparedSnapshot,
    graph: Path,
    options: EvaluateOptions,
    folder: Path,
    *,
    turns: Turns = 1,
) -> EvaluatedNetwork:
    """Evaluates a network or an ensemble, or finds it evaluated.

    Policy and figures are of the mean logit over networks and turns, which is what a bundle of them answers.

    Args:
        prepared: The snapshot, prepared as the networks were trained.
        graph: The graph of the networks, which the bundle will score with.
        options: Resamples, levels and minimums.
        folder: Where the result goes, whole or not at all; of the same networks and options only.
        turns: In how many of its exact turns a patch is looked at.

    Raises:
        BcdError: A patient is in two splits.
        InsufficientEvidenceError: The val patches are of one class.
    """
    from bcd.snapshots.evidence import assert_no_leakage

    if found := find_evaluated_retraining(folder):
        say_progress("The network is already evaluated.")
        return found
    assert_no_leakage(prepared.snapshot)
    scores = _score_splits(prepared, graph, turns)
    val = scores["val"]
    whose = val.groupby([val["hospital"].astype(str), val["patient"].astype(str)]).ngroup()
    policy = fit_policy(val["logit"], val["label"], whose, options).with_context(val, options)
    for frame in scores.values():
        frame["probability"] = policy.calibrator.apply(frame["logit"])
        frame[CONTEXT] = policy.score_context(frame)
    crossed = cross_fit_or_none(val["logit"], val["label"], whose, folds=options.folds)
    if crossed is not None:
        val["probability"] = crossed
    if policy.context is not None:
        val[CONTEXT] = cross_fit_context(val, folds=options.folds)
    with whole_folder(folder) as partial:
        (partial / "policy.json").write_text(policy.model_dump_json(indent=2))
        for split, frame in scores.items():
            _evaluate_split(frame, options, prepared.snapshot.id, split=split, policy=policy, folder=partial)
    found = find_evaluated_retraining(folder)
    assert found is not None
    return found


def _evaluate_split(
    scores: pd.DataFrame, options: EvaluateOptions, snapshot: str, *, split: str, policy: Policy, folder: Path
) -> None:
    scores.to_parquet(folder / f"{split}.parquet", index=False)
    evaluation = evaluate_scores(scores, options, snapshot=snapshot, split=split, policy=policy)
    (folder / f"{split}.json").write_text(evaluation.model_dump_json(indent=2))
    (folder / split).mkdir()
    draw_evaluation(scores, evaluation, folder / split)


def _score_splits(prepared: PreparedSnapshot, graph: Path, turns: Turns) -> dict[str, pd.DataFrame]:
    engine = Engine(graph)
    columns = [*CELL, "label", "split", "batch"]
    scores = {}
    for split in _SPLITS:
        rows = prepared.rows(split)
        if split == "val" or len(rows):  # without val there is no policy; without test, nothing is reported
            with track_progress(f"Scoring {split} patients", total=len(rows)) as advance:
                logits = engine.predict(PatchRows(prepared.pixels, rows), turns=turns, advance=advance)
            patches = prepared.snapshot.patches.iloc[rows][columns]
            scores[split] = patches.assign(logit=logits, complete=lie_on(patches, prepared.snapshot.complete))
    return scores
