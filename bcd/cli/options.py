"""Options and arguments that several commands share, each said once; and how a group of commands is made."""

from __future__ import annotations

from typing import Annotated

import typer

By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who decides this.")]
Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why, without a patient's name; it is recorded for ever.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the facts as JSON, and nothing else.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say only what would be done.")]

ADOPT = "`bcd model adopt released --by NAME --reason TEXT`"
"""The command that gives a home its first champion."""


def command_group(noun: str, *examples: str) -> typer.Typer:
    """Returns an empty group of commands, whose help ends with examples.

    Args:
        noun: What the group is for, in a sentence.
        *examples: Whole commands.
    """
    epilog = "\n\n".join(["Examples:", *(f"  {example}" for example in examples)])
    return typer.Typer(help=noun, epilog=epilog, no_args_is_help=True)
