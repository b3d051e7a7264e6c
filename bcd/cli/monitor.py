"""`bcd monitor`: how the deliveries of each hospital compare with the champion's patients."""

from __future__ import annotations

from bcd.cli.options import AsJson


def monitor_command(*, as_json: AsJson = False) -> None:
    """Compare deliveries with the champion's patients: the trend of each hospital, and what is not to be trusted."""
    from bcd.cli.terminal import open_terminal
    from bcd.settings import load_settings, require_home

    settings = load_settings()
    require_home(settings)
    with open_terminal(settings, runs_flows=True, as_json=as_json) as console:
        from bcd.drift.trend import HEADER
        from flows.monitor import monitor

        rows = monitor()
        columns = {name: (lambda each, at=at: each.cells()[at]) for at, name in enumerate(HEADER)}
        console.table("Drift of deliveries", rows, columns)
        if not rows:
            console.print("There is no champion, or no delivery, to compare.")
            return
        console.print(f"Plot: {settings.reports / 'drift.png'}", soft_wrap=True)
