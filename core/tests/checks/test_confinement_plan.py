"""What a test can read is worked out from where this machine has things, and never holds what is the service's own."""

import asyncio
import os
import resource
from pathlib import Path

import pytest

from connectory.catalog.catalog import find_connector
from connectory.checks import landlock, privileges
from connectory.checks.egress import EgressPolicy
from connectory.checks.runner import CheckRunner

pytestmark = pytest.mark.skipif(landlock.abi() == 0, reason="this kernel does not have Landlock")

READS = """
def reads(path):
    try:
        return bool(open(path, "rb").read())
    except OSError:
        return False
"""


def run(connector, **options):
    async def whole():
        runner = CheckRunner(policy=EgressPolicy(), **options)
        await runner.start()
        try:
            return await runner.run(object(), connector, lambda: {"token": "t0ken"})
        finally:
            await runner.stop()

    return asyncio.run(whole())


def test_what_is_closed_stays_so_below_a_folder_that_is_readable(site, connector_of):
    home = site / "home_of_the_service"
    home.mkdir()
    names = ("keys.json", "connectory.db", "connectory.db-wal", "backup")
    for path in (*(home / name for name in names), site / "data.txt", site / "own.json", site / "own.json.old"):
        path.write_text("content")
    readable = [str(site / "data.txt")]
    closed = [*(str(home / name) for name in names), str(site / "own.json"), str(site / "own.json.old")]
    connector = connector_of(
        f"assert [reads(path) for path in {readable}] == [True]\nassert not any(reads(path) for path in {closed})",
        top=READS,
    )
    assert run(connector).status == "failed", "nothing is closed that nobody names"
    assert run(connector, closed=[str(home), str(site / "own.json")]).status == "succeeded"


def test_a_file_that_a_setting_names_is_readable_to_its_connectors_tests(tmp_path, connector_of):
    library, other = tmp_path / "library.so", tmp_path / "other"
    for path in (library, other):
        path.write_text("content")
    made = connector_of(
        f"assert reads({str(library)!r}) and not reads({str(other)!r})",
        top=READS,
        hooks="class S(DeployerSettings):\n    made_library: str = ''\n"
        "@hookimpl\ndef connectory_settings():\n    return S\n",
    )
    assert run(made).status == "failed"
    environment = {"CONNECTORY_MADE_LIBRARY": str(library)}
    configured = find_connector(made.identifier, made.record.distribution, environment)
    assert run(configured).status == "succeeded"
    assert run(configured, closed=[str(library)]).status == "failed"


def test_threads_that_a_driver_starts_when_it_is_imported_are_confined(tmp_path, connector_of):
    (tmp_path / "file").write_text("content")
    driver = f"""
    import threading
    found, go = [], threading.Event()
    def look():
        go.wait()
        found.append(reads({str(tmp_path / "file")!r}))
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    """
    source = READS + "\n".join(line[4:] for line in driver.splitlines())
    body = "import nosy_driver\nnosy_driver.go.set()\nnosy_driver.thread.join()\nassert nosy_driver.found == [False]"
    assert run(connector_of(body, drivers={"nosy_driver": source})).status == "succeeded"


def test_a_file_that_is_replaced_while_fork_servers_run_can_be_read(site, connector_of):
    """As /etc/resolv.conf is, when the machine changes networks."""
    connector = connector_of(f"assert reads({str(site / 'replaced.txt')!r})", top=READS)

    async def whole():
        runner = CheckRunner(policy=EgressPolicy(), closed=[str(site / "nothing")])
        await runner.start()
        try:
            for content in ("one", "two"):
                (site / "new").write_text(content)
                (site / "new").rename(site / "replaced.txt")
                assert (await runner.run(object(), connector, lambda: {"token": "t"})).status == "succeeded"
        finally:
            await runner.stop()

    asyncio.run(whole())


@pytest.mark.parametrize(
    ("mapping", "first", "last"),
    [
        ("         0          0 4294967295\n", 0x70000000, 0x7000FFFF),
        ("         0       1000          1\n         1     100000      65536\n", 32_769, 65_534),
        ("         0     100000      65536\n", 32_768, 65_533),
    ],
)
def test_users_for_tests_are_ids_that_nobody_has(mapping: str, first: int, last: int):
    found = privileges._spare(mapping)
    assert (found[0], found[-1]) == (first, last)


def test_where_no_id_is_left_tests_keep_the_services():
    assert privileges._spare("         0       1000          1\n") is None


def test_the_limit_of_processes_leaves_room_for_others_where_the_kernel_counts_all():
    """A test may not see the processes of its user in other containers."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        privileges.limit_processes(alone=False)
        os.write(writer, str(resource.getrlimit(resource.RLIMIT_NPROC)[0]).encode())
        os._exit(0)
    os.wait()
    allowed = int(os.read(reader, 20))
    for end in (reader, writer):
        os.close(end)
    assert allowed > len([name for name in Path("/proc").iterdir() if name.name.isdigit()])
