"""The review: whether the queue saves labels, and whether the list of suspicious labels holds planted ones.

    .venv/bin/python benchmarks/review.py --data FOLDER              # both tables, into docs/how-to/review.md
    .venv/bin/python benchmarks/review.py --data FOLDER --only queue

A head (logistic regression) is fitted on the features of a network that never saw the patients: of the three
trainings of the released recipe, each of which left a fold of patients out. They are found in --folder, where
`benchmarks/released.py train` leaves them, or trained there first (hours; it goes on after a kill). The features are
kept in --kept.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from released_training import RECIPE, open_patients
from review_features import read_folds
from review_labels import tell_suspicious
from review_queue import tell_queue
from simulations import replace_section

from bcd.files import whole_file

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared/data"
PAGE, PICTURE = ROOT / "docs/how-to/review.md", ROOT / "docs/images/review-queue.png"
SECTIONS = ("queue", "suspicious")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA / "batches", help="folder of the deliveries")
    parser.add_argument("--natural", type=Path, default=DATA / "natural-sample.txt", help="its list")
    parser.add_argument("--folder", type=Path, default=ROOT / "artifacts/released", help="where trainings are kept")
    parser.add_argument("--kept", type=Path, default=ROOT / "artifacts/review", help="where features are kept")
    parser.add_argument("--seeds", type=int, default=5, help="draws of patients, for the queue")
    parser.add_argument("--only", choices=SECTIONS, help="this section alone")
    parser.add_argument("--page", type=Path, default=PAGE, help="Markdown page whose sections are replaced")
    arguments = parser.parse_args()
    prepared = open_patients(arguments.data, arguments.folder / "home", RECIPE).prepared
    read = partial(read_folds, prepared, arguments.natural, arguments.folder, arguments.kept)
    for section in [arguments.only] if arguments.only else SECTIONS:
        if section == "suspicious":
            found = tell_suspicious(read("last"))
        else:
            found = tell_queue({"first": read("first"), "last": read("last")}, arguments.seeds, PICTURE)
        print(found, flush=True)
        page = replace_section(arguments.page.read_text("utf-8"), section, found)
        with whole_file(arguments.page) as written:
            written.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
