"""What `make release` hands out can be checked: every file that is installed has its hash, and stands in the list of parts."""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MEMBERS = {
    "connectory",
    "connectory-console",
    *(f"connectory-{path.parent.name}" for path in ROOT.glob("plugins/*/pyproject.toml")),
}
pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release") / "dist"
    done = subprocess.run(["make", "release", f"DIST={folder}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def locked(release: Path) -> dict[str, str]:
    """The lines of requirements.txt, by name."""
    lines = release.joinpath("requirements.txt").read_text().replace("\\\n", " ").splitlines()
    return {re.split(r"==", line)[0].replace("_", "-"): line for line in lines}


def install(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("uv"), "pip", "install", "--python", sys.executable, "--require-hashes"]
    command += ["--find-links", folder, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_everything_that_runs_has_its_version_and_its_hashes(locked: dict[str, str]) -> None:
    pinned = dict(line.split("==") for line in ROOT.joinpath("constraints.txt").read_text().splitlines())
    assert locked.keys() >= MEMBERS
    for name, line in locked.items():
        assert re.search(r"==[^ ;]+.* --hash=sha256:[0-9a-f]{64}", line), line
        assert name in MEMBERS or f"=={pinned[name]} " in line
    assert not {"pytest", "ruff", "mypy"} & locked.keys()


def test_what_is_installed_is_held_against_them(release: Path, tmp_path: Path) -> None:
    assert (done := install(release, "--dry-run", "-r", str(release / "requirements.txt"))).returncode == 0, done.stderr
    [wheel] = release.glob("connectory_postgres-*.whl")
    changed = Path(shutil.copy(wheel, tmp_path))
    with zipfile.ZipFile(changed, "a") as archive:
        archive.comment = b"changed"
    ours = [
        line for line in release.joinpath("requirements.txt").read_text().splitlines() if "connectory_postgres" in line
    ]
    (tmp_path / "one.txt").write_text(ours[0])
    for folder, accepted in ((release, True), (tmp_path, False)):
        site = str(tmp_path / f"site-{accepted}")
        done = install(
            folder, "--target", site, "--no-deps", "--no-index", "--no-cache", "-r", str(tmp_path / "one.txt")
        )
        assert (done.returncode == 0) == accepted, done.stderr
        assert accepted or "Hash mismatch" in done.stderr


def test_the_list_of_parts_names_each_with_its_hashes(release: Path, locked: dict[str, str]) -> None:
    listed = json.loads((release / "sbom.cdx.json").read_text())
    assert (listed["bomFormat"], listed["specVersion"]) == ("CycloneDX", "1.6")
    hashes = {
        part["name"].replace("_", "-"): [digest for place in part["externalReferences"] for digest in place["hashes"]]
        for part in listed["components"]
    }
    assert hashes.keys() == locked.keys()
    assert all(hashes.values())


def test_the_same_sources_give_the_same_wheels(release: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT / "core"]
    subprocess.run(command, check=True, capture_output=True)
    [again] = tmp_path.glob("*.whl")
    assert again.read_bytes() == (release / again.name).read_bytes()
