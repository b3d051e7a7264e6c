"""Optuna's dashboard on a home's studies; it reads its address itself, for a process list shows every command.

Examples:
        python -m bcd.cli.studies_page
"""

from __future__ import annotations

from bcd.config import load_configuration
from bcd.search.storage import make_storage


def serve() -> None:
    """Serves the page until the process is ended."""
    from optuna_dashboard import run_server

    settings = load_configuration()
    run_server(make_storage(settings), host="127.0.0.1", port=settings.studies_port)


if __name__ == "__main__":
    serve()
