"""The card of the released model: its bundle's record, and what is known of its recipe out of fold."""

from __future__ import annotations

from dataclasses import replace

from bcd.bundle import released
from bcd.bundle.card.card import Card, make_card_headline, render_card
from bcd.bundle.card.sections import INTENDED, USE, Section, describe_provenance, describe_scoring, make_context
from bcd.bundle.record import BundleRecord, read_record
from bcd.bundle.released.figures import Figures, Yardstick, read_released_figures
from bcd.bundle.scorer import RECORD
from bcd.evaluation.evaluation import Evaluation
from bcd.evaluation.report.tables import METRIC_NAMES, Table, certified_threshold_table, threshold_parts
from bcd.formats import NOT_AVAILABLE, format_count, format_estimate, format_share, format_signed
from bcd.training.ensemble import describe_ensemble

OF_THE_RECIPE = (
    "Every figure, and every certificate, is of the recipe and not of this very file: each patient was scored by "
    "copies that were trained in the same way without the patient's fold, and calibrated on the other folds. The "
    "file itself was trained on all of these patients: there is nobody left on whom it could be evaluated here."
)


def write_released_card() -> Card:
    """Writes the card of the released model.

    Raises:
        BcdError: This copy of bcd holds none, or none of its figures.
    """
    record, figures = read_record(released.released_bundle() / RECORD), read_released_figures()
    pictures = {said: (released.released_folder() / name).read_bytes() for name, said in figures.pictures.items()}
    sentence = _describe_released(record, figures)
    headline = make_card_headline(figures.natural)
    shown = "; ".join(f"{name} {value}" for name, value in headline.items())
    short = "\n\n".join(
        [
            sentence,
            f"**{USE}** Out of fold, natural sample: {shown}.",
            OF_THE_RECIPE,
            "The whole card: `bcd model card released`.",
        ]
    )
    return render_card(
        short, sentence, headline, _make_sections(record, figures), pictures, whose="natural sample, out of fold"
    )


def _describe_released(record: BundleRecord, figures: Figures) -> str:
    data = figures.data
    return (
        f"The model that comes with bcd: {describe_ensemble(record.architecture, record.ensemble)}, trained on "
        f"{data.patches:,} patches of {data.patients} patients of the {data.name}, {record.created_at:%Y-%m-%d}; "
        "research use only."
    )


def _make_sections(record: BundleRecord, figures: Figures) -> list[Section]:
    sections = [
        Section("Intended use", [USE, *INTENDED]),
        Section("What the figures are of", [OF_THE_RECIPE, _describe_choice(figures)]),
        Section("Limits", points=_list_limits(record, figures)),
        _make_data(figures),
        _make_model(record, figures),
        Section("Results out of fold", tables=[_metric_table(figures)]),
        Section("What is confident at which level", tables=_threshold_tables(figures.natural)),
        _make_certified(record),
        *_make_context(record, figures),
        *_make_yardsticks(figures.yardsticks),
        *_make_robustness(figures),
        _make_failures(figures.natural),
        Section("Compute", [f"Training took {figures.training_hours:.1f} hours on {figures.device}."]),
        describe_provenance(record, "by benchmarks/released.py, which makes it again"),
    ]
    return [section for section in sections if section is not None]


def _describe_choice(figures: Figures) -> str:
    tried = format_count(figures.recipes_tried, "recipe")
    return (
        f"The patients were dealt to {figures.folds} folds. Evaluated on these folds before this choice: {tried}."
        " Where there were several, figures of the best flatter it."
    )


def _list_limits(record: BundleRecord, figures: Figures) -> list[str]:
    limits = [
        "Patches are scored one by one: no architecture of the tissue beyond 200 µm is seen.",
        f"All patients come from one set ({figures.data.name}): how it does elsewhere is not known. bcd says in each "
        "report how far the stain is from theirs.",
    ]
    missing = [f"{100 * row.target_error:g} %" for row in record.policy.certified if row.threshold is None]
    if missing:
        limits.append(f"No threshold could be certified for a target error of {', '.join(missing)}.")
    costly = [shift for shift in figures.robustness if shift.loss > 0.03]
    limits += [f"{shift.name} costs {shift.loss:.3f} of AUROC." for shift in costly]
    return [*limits, *figures.limits]


def _make_data(figures: Figures) -> Section:
    data = figures.data
    text = [
        f"{data.name}. {data.citation.rstrip('.')}. Licence: {data.licence}.",
        f"{data.patches:,} whole patches of {data.patients} patients,"
        f" {format_share(data.positive, data.patches)} IDC."
        f" Hospital {data.hospital} in the record of training patients, which lies in the bundle.",
    ]
    digests = Table("Files that it came from.", ["file", "SHA-256"], [[*row] for row in data.digests.items()])
    return Section("Data", text, tables=[digests] if data.digests else [])


def _make_model(record: BundleRecord, figures: Figures) -> Section:
    network, preparation, probability = describe_scoring(record, "the out-of-fold scores of the natural sample")
    return Section("Model and recipe", points=[f"{network}.", preparation, *figures.recipe, probability])


def _metric_table(figures: Figures) -> Table:
    natural, everything = figures.natural, figures.everything
    rows = [
        [
            METRIC_NAMES[name],
            format_estimate(natural.pooled[name]),
            format_estimate(natural.patient_macro[name]),
            format_estimate(everything.pooled[name]),
            format_estimate(everything.patient_macro[name]),
        ]
        for name in natural.pooled
    ]
    caption = (
        f"The natural sample: {_count_evaluated_patients(natural)}."
        f" Every patch: {_count_evaluated_patients(everything)}; its other patches are whole "
        "classes of some patients, so that its share of IDC is an artefact. Intervals by patient."
    )
    header = ["metric", "natural, pooled", "natural, mean over patients", "all, pooled", "all, mean over patients"]
    return Table(caption, header, rows)


def _count_evaluated_patients(evaluation: Evaluation) -> str:
    return (
        f"{evaluation.n_patches:,} patches of {evaluation.n_patients} patients "
        f"({evaluation.effective_patients:.1f} effective), {100 * evaluation.prevalence:.1f} % IDC"
    )


def _threshold_tables(evaluation: Evaluation) -> list[Table]:
    confident, well = threshold_parts(evaluation).values()
    return [
        replace(
            confident, caption=f"Natural sample: {_count_evaluated_patients(evaluation)}. A rate on too few is n/a."
        ),
        replace(well, caption="How right what is confident is."),
    ]


def _make_certified(record: BundleRecord) -> Section | None:
    if not record.policy.certified:
        return None
    table = certified_threshold_table(record.policy.certified)
    return Section("Thresholds by target error", tables=[replace(table, caption=f"Out of fold. {table.caption}")])


def _make_context(record: BundleRecord, figures: Figures) -> list[Section]:
    sections = make_context(record, None)
    if not sections:
        return []
    rows = [
        [
            slide.title,
            f"{slide.patches:,}",
            format_share(slide.positive, slide.patches),
            *(
                f"{gain.alone:.3f}, " + ", ".join(format_signed(by - gain.alone) for by in (gain.plain, gain.fitted))
                for gain in (slide.auroc, slide.best_f1)
            ),
        ]
        for slide in figures.context
    ]
    header = ["slide", "patches", "IDC", "AUROC: alone, plain mean, fitted", "best F1: alone, plain mean, fitted"]
    caption = (
        "Each slide by a stage fitted on the others; its network and its calibrator never saw it. The plain mean adds"
        " that of the neighbours to a patch and fits nothing. How many neighbours are dropped during the fit was"
        " chosen among four ways on these slides."
    )
    return [replace(section, tables=[*section.tables, Table(caption, header, rows)]) for section in sections]


def _make_yardsticks(yardsticks: list[Yardstick]) -> list[Section]:
    kinds: dict[tuple[str, ...], list[Yardstick]] = {}  # those with the same figures are rows of one table
    for one in yardsticks:
        kinds.setdefault(tuple(one.figures), []).append(one)
    tables = [
        Table(
            "Further figures out of fold.",
            ["on whom", "patients", "patches", *names],
            [_make_yardstick_row(one) for one in kind],
        )
        for names, kind in kinds.items()
    ]
    return [Section("Beside others", tables=tables)] if tables else []


def _make_yardstick_row(one: Yardstick) -> list[str]:
    return [
        one.title,
        str(one.patients),
        f"{one.patches:,}",
        *(format_estimate(each) for each in one.figures.values()),
    ]


def _make_robustness(figures: Figures) -> list[Section]:
    if not figures.robustness:
        return []
    rows = [
        [shift.name, f"{shift.auroc:.3f}", format_signed(shift.loss), f"{shift.calibration_error:.3f}"]
        for shift in figures.robustness
    ]
    caption = "Out-of-fold patches, changed. AUROC is the mean over patients."
    return [Section("Robustness", tables=[Table(caption, ["shift", "AUROC", "loss", "calibration error"], rows)])]


def _make_failures(evaluation: Evaluation) -> Section:
    rows = [
        [
            f"{row.hospital}/{row.patient}",
            str(row.patches),
            str(row.positive),
            str(row.predicted_positive),
            f"{100 * row.accuracy:.0f} %",
            NOT_AVAILABLE if row.auroc is None else f"{row.auroc:.3f}",
        ]
        for row in evaluation.worst
    ]
    least = evaluation.options.min_patches
    header = ["patient", "patches", "labelled IDC", "called IDC", "accuracy", "AUROC"]
    table = Table(f"The lowest accuracy among the patients with at least {least} patches.", header, rows)
    return Section("Where it fails", tables=[table])
