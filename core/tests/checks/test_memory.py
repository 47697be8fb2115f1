"""What the memory of processes holds: a test's secrets are in the test's own process, and in no other that tests come from.

The service's own memory is not searched: it opens envelopes, and Python does not overwrite what it frees.
"""

import asyncio
import secrets
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from connectory.checks.egress import EgressPolicy
from connectory.checks.runner import CheckRunner
from testkit import hostile

WAIT = "connection, _ = context.connect('localhost', {port}); connection.recv(1)"


def all_below() -> list[int]:
    """The processes below this one, by their ids."""
    return [process.pid for process in psutil.Process().children(recursive=True)]


def holders(markers, processes):
    """The processes in whose memory a marker is, by marker."""
    found = {process: held_by(process, markers) for process in processes()}
    return {marker: {process for process, held in found.items() if marker in held} for marker in markers}


def held_by(process: int, markers) -> set[str]:
    try:
        shown = Path("/proc", str(process))
        with (shown / "maps").open() as maps, (shown / "mem").open("rb", buffering=0) as memory:
            # What cannot be written is what files hold: code and constants.
            places = [line.split()[0] for line in maps if line.split()[1].startswith("rw")]
            contents = (read(memory, place) for place in places)
            return {marker for content in contents for marker in markers if marker.encode() in content}
    except PermissionError:
        pytest.skip("The kernel lets only who may trace it (root, CAP_SYS_PTRACE) read the memory of a test's process.")
    except (FileNotFoundError, ProcessLookupError):
        return set()


def read(memory, place: str) -> bytes:
    start, end = (int(number, 16) for number in place.split("-"))
    found = b""
    with suppress(OSError):  # unmapped meanwhile, or a device's
        memory.seek(start)
        while len(found) < end - start and (more := memory.read(end - start - len(found))):
            found += more
    return found


def holders_of_all(markers, processes):
    """Looks again where a region was changing while it was read."""
    deadline = time.monotonic() + 20
    while not all((found := holders(markers, processes)).values()) and time.monotonic() < deadline:
        pass
    return found


def test_a_secret_is_in_the_process_of_its_test_alone_and_goes_with_it(connector_of):
    servers = set(all_below())  # of other tests, with hundreds of megabytes

    def processes() -> set[int]:
        return set(all_below()) - servers

    async def scenario():
        runner = CheckRunner(policy=EgressPolicy(allow_loopback=True))
        await runner.start()
        try:
            with hostile.silent() as far_end:
                connector = connector_of(WAIT.format(port=far_end.port))
                tests = {
                    marker: asyncio.create_task(runner.run(marker, connector, lambda marker=marker: {"token": marker}))
                    for marker in (secrets.token_hex(24) for _ in range(2))
                }
                await asyncio.to_thread(far_end.wait_for_connections, 2)
                during = await asyncio.to_thread(holders_of_all, tests, processes)
                for test in tests.values():
                    test.cancel()
                await asyncio.wait(tests.values())
                assert (await runner.run("another", connector_of(), lambda: {"token": "x"})).status == "succeeded"
                after = await asyncio.to_thread(holders, tests, processes)
            return during, after, len(processes())
        finally:
            await runner.stop()

    during, after, left = asyncio.run(scenario())
    assert [len(found) for found in during.values()] == [1, 1]  # the search finds what is there
    assert len(set.union(*during.values())) == 2
    assert not any(after.values())
    assert left >= 2  # the processes that tests are forked from
