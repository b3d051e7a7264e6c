"""Units for systemd: what `bcd up` starts on a home, as a machine that is never logged in to runs it.

systemd starts them again when they end, keeps their output in its journal, which it rotates, and lets them write the
home alone. A unit holds no secret and no setting but the home: each process reads `bcd.toml`, and the variables of
`/etc/bcd.env` where that file exists.

Examples:
        python -m bcd.cli.units prefect    # becomes Prefect's server
"""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

from bcd.cli import daemons, processes
from bcd.errors import BcdError
from bcd.files import whole_file
from bcd.settings import Settings

_DEPLOY = "deploy"
_VARIABLES = "/etc/bcd.env"

_UNIT = """\
[Unit]
Description=bcd: {what}
After=network.target{after}{requires}{part_of}

[Service]
Type={kind}
User={user}
Environment=BCD_HOME={home}
EnvironmentFile=-{variables}
WorkingDirectory={home}
ExecStart={python} -m {command}
{restart}
UMask=0077
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={home} -{keys}
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictSUIDSGID=yes
LockPersonality=yes
CapabilityBoundingSet=

[Install]
WantedBy={wanted_by}
"""

_TARGET = """\
[Unit]
Description=bcd on {home}
Wants={wanted}

[Install]
WantedBy=multi-user.target
"""

_RESTART = "Restart=always\nRestartSec=5\nTimeoutStopSec=60"
_ONCE = "RemainAfterExit=yes\nRestart=on-failure\nRestartSec=5\nTimeoutStartSec=10min"


def write_units(settings: Settings, folder: Path) -> list[Path]:
    """Writes a unit for each server, one that deploys the flows, one for each client, and the target that wants them.

    Args:
        settings: The home; the units name nothing else of it.
        folder: Where they go.

    Raises:
        BcdError: The path of the home holds a space or a percent sign, which mean something in a unit.
    """
    servers = [name for name in processes.SERVERS if name in daemons.list_needed_daemons(settings)]
    texts = {f"bcd-{name}.service": _unit(settings, name, daemons.TITLES[name]) for name in servers}
    deploys = [f"bcd-{name}.service" for name in servers if name in daemons.NEEDED_TO_DEPLOY]
    texts[f"bcd-{_DEPLOY}.service"] = _unit(settings, _DEPLOY, "the flows are deployed", deploys)
    for name in processes.CLIENTS:
        texts[f"bcd-{name}.service"] = _unit(settings, name, daemons.TITLES[name], [f"bcd-{_DEPLOY}.service"])
    texts["bcd.target"] = _TARGET.format(home=settings.home, wanted=" ".join(sorted(texts)))
    return _write_texts(texts, folder)


def write_worker_unit(settings: Settings, pool: str, limit: int, folder: Path) -> Path:
    """Writes the unit of `bcd worker` for a pool.

    Args:
        settings: The home of its runs; the unit names nothing else of it.
        pool: The work pool's name.
        limit: How many runs it has at a time.
        folder: Where it goes.

    Raises:
        BcdError: The path of the home holds a space or a percent sign, which mean something in a unit.
    """
    text = _fill_unit(
        settings,
        f"a worker of the pool {pool}",
        command=f"bcd.cli.main worker --pool {pool} --limit {limit}",
        restart=f"{_RESTART}\nKillMode=mixed",  # it ends its runs itself, and tells the server
    )
    [unit] = _write_texts({f"bcd-worker-{pool}.service": text}, folder)
    return unit


def _write_texts(texts: dict[str, str], folder: Path) -> list[Path]:
    for name, text in texts.items():
        with whole_file(folder / name) as partial:
            partial.write_text(text)
    return [folder / name for name in sorted(texts)]


def run_systemd_unit(name: str) -> None:
    """Becomes the process of a unit, or deploys the flows and ends."""
    from bcd.config import load_configuration
    from bcd.runtime import enter_runtime

    settings = load_configuration()
    enter_runtime(settings)
    if name == _DEPLOY:
        for line in daemons.deploy_onto_units(settings):
            sys.stdout.write(f"{line}\n")
        return
    command, variables = daemons.prepare_daemon(settings, name)
    os.execve(command[0], command, variables)  # noqa: S606 - it is to take this process's place


def _unit(settings: Settings, name: str, what: str, needs: list[str] | None = None) -> str:
    once = name == _DEPLOY
    needed = " ".join(needs or [])
    return _fill_unit(
        settings,
        what,
        after=f" {needed}" if needed else "",
        requires=f"\nRequires={needed}" if needed else "",
        part_of="\nPartOf=bcd.target",
        kind="oneshot" if once else "simple",
        command=f"bcd.cli.units {name}",
        restart=_ONCE if once else _RESTART,
        wanted_by="bcd.target",
    )


def _fill_unit(settings: Settings, what: str, **more: str) -> str:
    if set(str(settings.home)) & set(" %\\\"'") or set(sys.executable) & set(" %\\\"'"):
        raise BcdError(
            f"The path {settings.home} or {sys.executable} holds a character that means something in a unit.",
            "Move the home (docs/how-to/move-a-home.md) or the installation to a path without it.",
        )
    alone = {"after": "", "requires": "", "part_of": "", "kind": "simple", "wanted_by": "multi-user.target"}
    return _UNIT.format(
        what=what,
        user=getpass.getuser(),
        home=settings.home,
        keys=settings.keys,
        variables=_VARIABLES,
        python=sys.executable,
        **alone | more,
    )


if __name__ == "__main__":
    run_systemd_unit(sys.argv[1])
