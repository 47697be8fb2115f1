"""The command `connectory`. The commands are in `connectory.commands`, which needs the server extra; those for authors do not."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; an error is one line on standard error and exit code 1."""
    try:
        from connectory.commands import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "connectory":
            raise
        from connectory import authoring
        from connectory.checks.linux import hide_memory

        if sys.argv[1:2] and sys.argv[1] in authoring.COMMANDS:
            hide_memory()  # from connection tests, among others
            sys.exit(authoring.run(sys.argv[1:]))
        without = ", ".join(authoring.COMMANDS)
        print(
            f'The service needs {error.name}; run: pip install "connectory[server]" (without it there are: {without})',
            file=sys.stderr,
        )
        sys.exit(1)
    run(sys.argv[1:])
