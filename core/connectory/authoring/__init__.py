"""The commands for authors of connectors: new-plugin, check, schema, check-plugin. None needs the server extra.

They are argparse's, because they must run where Typer, which comes with the server, is not installed. `connectory.commands` lists
them beside the others.
"""

from __future__ import annotations

from collections.abc import Sequence

COMMANDS = {
    "new-plugin": "Write the project of a new connector: a module, its tests, and what it takes to publish it.",
    "check": "Run one connection test with an installed connector, without a service or a store.",
    "schema": "Print the JSON Schema of a connector's secrets.",
    "check-plugin": "Run the conformance kit on an installed distribution, or on the project in a folder.",
}
"""Each command's name, and what it does."""


def run(arguments: Sequence[str]) -> int:
    """Run the command that `arguments` begin with, and return its exit code: 0, 1 for a failure, 2 for a wrong use."""
    from connectory.authoring.command_line import run as run_command

    return run_command(arguments)
