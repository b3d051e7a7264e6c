"""`bcd batches`: what every delivery became."""

from __future__ import annotations


def batches() -> None:
    """Show every delivery with its batch, its counts, its flags and its admission report."""
    from bcd.admission.report import report_path
    from bcd.cli.terminal import at_work, print_table
    from bcd.settings import load_settings
    from bcd.store.delivery_queries import list_deliveries
    from bcd.store.store import open_store

    settings = load_settings()
    with at_work(settings) as console:
        deliveries = list_deliveries(open_store(settings))
        if not deliveries:
            console.print("No batch is admitted yet: `bcd ingest DELIVERY --hospital NAME`.", highlight=False)
            return
        header = [
            "batch",
            "hospital",
            "delivery",
            "admitted at",
            "patients",
            "patches",
            "IDC",
            "unlabelled",
            "refused",
        ]
        rows = [
            [
                (each.batch or ("refused" if each.reason else "none"))[:8],
                each.hospital,
                each.name,
                f"{each.admitted_at:%Y-%m-%d %H:%M}",
                f"{each.patients:,}",
                f"{each.admitted:,}",
                f"{each.positive:,}",
                f"{each.unlabelled:,}"
                + (f" ({each.unmatched_rows:,} rows unmatched)" if each.unmatched_rows else ""),
                f"{each.refused_files:,}" + (f" ({each.released:,} released)" if each.released else ""),
                f"{each.ignored:,}",
                ", ".join(f"{count:,} {flag}" for flag, count in sorted(each.flags.items()) if count),
                report_path(settings, each.id).stem,
            ]
            for each in deliveries
        ]
        print_table(console, "Batches", [*header, "ignored", "flags", "report"], rows)
        console.print(f"Reports    {settings.reports}/REPORT.html", soft_wrap=True, highlight=False)
