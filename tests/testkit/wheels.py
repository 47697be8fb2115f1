"""Wheels as they would be published, and environments into which only they are installed."""

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from testkit.cache import REPOSITORY, build_once

UV = Path(sys.executable).with_name("uv")


def wheels_of(*projects: Path) -> list[Path]:
    """The wheels of these projects of the repository, in this order; each is built once for what its files hold."""
    with ThreadPoolExecutor() as threads:
        return list(threads.map(_wheel_of, projects))


def _wheel_of(project: Path) -> Path:
    name = f"wheels/{project.name}"
    folder = build_once(name, _digest(project), lambda folder: build_wheels(folder, project))
    [wheel] = folder.glob("*.whl")
    return wheel


def _digest(project: Path) -> str:
    """Of all that may go into its wheel, by name and content."""
    found = hashlib.sha256()
    for path in sorted(project.rglob("*")):
        parts = path.relative_to(project).parts
        if path.is_file() and "__pycache__" not in parts and parts[0] != "tests":
            content = path.read_bytes()
            found.update(f"{'/'.join(parts)} {len(content)} ".encode() + content)
    return found.hexdigest()


def build_wheels(folder: Path, *projects: Path) -> list[Path]:
    """Build the wheel of each of `projects`, all at once, into `folder`; return the wheels there."""
    builder = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder]
    building = [start([*builder, project]) for project in projects]
    for process in building:
        finished(process)
    return sorted(folder.glob("*.whl"))


def new_environment(folder: Path) -> Path:
    """A virtual environment in `folder` with pip and nothing else; return its `bin` folder."""
    finished(start([UV, "venv", "--quiet", "--seed", "--python", sys.executable, folder]))
    return folder / "bin"


def install(binaries: Path, *requirements: object) -> None:
    """Install wheels, and what else is named, with the versions of constraints.txt."""
    pinned = ["--constraint", REPOSITORY / "constraints.txt", "--python", binaries / "python"]
    finished(start([UV, "pip", "install", "--quiet", *pinned, *requirements]))
    _share_bytecode(binaries)


def _share_bytecode(binaries: Path) -> None:
    """Have what the workspace's environment holds compiled, of each file that is the same in both: uv links both to its cache.

    Compiling FastAPI and its like again takes 5 s of a processor. Python replaces such a file, and never writes into it.
    """
    [ours], [theirs] = (list(folder.parent.glob("lib/python*/site-packages")) for folder in (UV.parent, binaries))
    for name, _, files in os.walk(theirs):
        package = ours / Path(name).relative_to(theirs)
        for compiled in package.glob("__pycache__/*.pyc") if any(file.endswith(".py") for file in files) else ():
            source = f"{compiled.name.partition('.')[0]}.py"
            with suppress(FileExistsError, FileNotFoundError):
                if source in files and (package / source).samefile(Path(name, source)):
                    Path(name, "__pycache__").mkdir(exist_ok=True)
                    Path(name, "__pycache__", compiled.name).hardlink_to(compiled)


def start(
    command: list[object], *, folder: Path | None = None, settings: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a command with none of the caller's own settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CONNECTORY_", "PYTEST_", "PYTHON", "VIRTUAL_ENV"))
    }
    return subprocess.Popen(
        [str(word) for word in command],
        env=kept | (settings or {}),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(process: subprocess.Popen[str], code: int = 0) -> str:
    """Wait until a command has ended, and return what it printed."""
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == code, f"{process.args}\n{printed}"
    return printed
