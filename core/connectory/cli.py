"""The command `connectory`. The commands themselves are in `connectory.commands`, which needs the server extra."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; an error is one line on standard error and exit code 1."""
    try:
        from connectory.commands import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "connectory":
            raise
        print(f'The service needs {error.name}; run: pip install "connectory[server]"', file=sys.stderr)
        sys.exit(1)
    run(sys.argv[1:])
