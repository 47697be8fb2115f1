"""A Python environment of its own for a server whose requirements conflict with the workspace's.

What it holds is the list `environments/<name>.txt`, every distribution pinned. Needs `uv` (the workspace's own, or
one on the PATH) and a package index. Without them ServerFailed says so.
"""

import os
import platform
import shutil
import sys
from pathlib import Path

from connectory.testing.processes import ServerFailed
from testkit.cache import REPOSITORY, build_once
from testkit.processes import run

LISTS = Path(__file__).with_name("environments")


def side_python(name: str) -> Path:
    """The interpreter of the environment `name`, which is built on the first call and kept in the cache."""
    requirements = LISTS / f"{name}.txt"
    version = f"{platform.python_version()}\n{requirements.read_text()}"
    return build_once(f"environments/{name}", version, lambda folder: _build(folder, requirements)) / "bin" / "python"


def _build(folder: Path, requirements: Path) -> None:
    uv = shutil.which("uv", path=f"{REPOSITORY / '.venv' / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None:
        raise ServerFailed(f"uv is not installed, so {requirements.name} cannot be: run `make install`.")
    run("uv venv", [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, folder])
    install = [uv, "pip", "install", "--quiet", "--no-deps", "--python", folder / "bin" / "python"]
    run(f"Installing {requirements.name}", [*install, "--requirement", requirements])
