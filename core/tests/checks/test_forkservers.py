"""The processes that tests are forked from: what they import, what that may cost, and how they are replaced."""

import asyncio
import logging
import os
import signal
import sys
import threading
import time

import psutil
import pytest

from connectory.checks.egress import EgressPolicy
from connectory.checks.runner import CheckRunner
from connectory.contract.check import FailureCode
from testkit.loopback import LoopbackServer, Peer
from testkit.offspring import Offspring, striking

DOCUMENT = {"token": "open-sesame-4711"}

# What follows it happens in fork servers and tests, and not where pytest loads the connector.
IN_FORK_SERVER = 'import os\nif os.environ["HOME"] == "/nonexistent":\n    '
CRASHES = ["import ctypes; ctypes.string_at(0)", "os._exit(0)", "os.kill(os.getpid(), 9)"]

WAIT_FOR_ANSWER = """
connection, _ = context.connect("localhost", {port})
with connection, context.step("query"):
    assert connection.recv(2) == b"ok"
"""


def run(scenario, *, deadline: float = 10, concurrency: int = 16):
    """Run `scenario(runner)` with a runner of its own, and have it leave nothing."""

    async def whole():
        runner = CheckRunner(policy=EgressPolicy(allow_loopback=True), deadline=deadline, concurrency=concurrency)
        await runner.start()
        try:
            return await scenario(runner)
        finally:
            await runner.stop()

    return asyncio.run(whole())


async def once(runner: CheckRunner, connector):
    return await runner.run(object(), connector, lambda: DOCUMENT)


def fork_servers(parent: psutil.Process | Offspring) -> list[psutil.Process]:
    """The roots among a test's offspring, or the branches and tests of a root."""
    found = parent.children()
    return [process for process in found if "connectory.checks.forkserver" in " ".join(process.cmdline())]


def test_a_connector_and_its_drivers_are_imported_once_for_all_its_tests(connector_of):
    connector = connector_of(
        "import os, counted_driver\nassert counted_driver.IMPORTED_IN == os.getppid()",
        drivers={"counted_driver": "import os\nIMPORTED_IN = os.getpid()"},
    )

    async def scenario(runner):
        return [(await once(runner, connector)).status for _ in range(3)]

    assert run(scenario) == ["succeeded"] * 3


def test_a_test_sees_no_other_connectors_imports(connector_of):
    one = connector_of("pass", drivers={"ones_driver": ""})
    other = connector_of("import sys\nassert 'ones_driver' not in sys.modules")

    async def scenario(runner):
        return [(await once(runner, connector)).status for connector in (one, other)]

    assert run(scenario) == ["succeeded"] * 2


@pytest.mark.parametrize("crash", CRASHES)
def test_a_connector_whose_import_crashes_costs_only_itself(connector_of, crash: str):
    crashing = connector_of(top=IN_FORK_SERVER + crash)
    with LoopbackServer(answer_when_told := Answering()) as server:
        sound = connector_of(WAIT_FOR_ANSWER.format(port=server.port))

        async def scenario(runner):
            undisturbed = asyncio.create_task(once(runner, sound))
            await asyncio.to_thread(server.wait_for_connections)
            reports = [await once(runner, crashing) for _ in range(2)]
            answer_when_told.answer.set()
            return reports, await undisturbed

        reports, undisturbed = run(scenario)
        assert server.connections == 1
    assert {report.code for report in reports} <= {FailureCode.CRASHED, FailureCode.RESOURCE_LIMIT}
    assert undisturbed.status == "succeeded"


def test_a_connector_that_cannot_be_imported_ahead_is_imported_by_its_tests(connector_of, tmp_path, caplog):
    # It ends the process that imports it first: the branch.
    tmp_path.chmod(0o777)
    mark = tmp_path / "imported"
    connector = connector_of(
        top=f"{IN_FORK_SERVER}\n    import pathlib\n    if not pathlib.Path({str(mark)!r}).exists():\n"
        f"        pathlib.Path({str(mark)!r}).touch()\n        os._exit(1)\n"
    )

    async def scenario(runner):
        return [(await once(runner, connector)).status for _ in range(3)]

    with caplog.at_level(logging.WARNING, "connectory.checks"):
        assert run(scenario) == ["succeeded"] * 3
    [record] = caplog.records
    assert connector.identifier in record.getMessage()


def test_a_driver_that_starts_a_thread_when_imported_is_imported_by_each_test(connector_of):
    # A fork of its process would not have that thread, and any lock that it holds would stay locked.
    connector = connector_of(
        "import os, threaded_driver\nassert threaded_driver.IMPORTED_IN == os.getpid()",
        drivers={
            "threaded_driver": "import os, threading\nIMPORTED_IN = os.getpid()\n"
            "threading.Thread(target=threading.Event().wait, daemon=True).start()"
        },
    )

    async def scenario(runner):
        return [(await once(runner, connector)).status for _ in range(2)]

    assert run(scenario) == ["succeeded"] * 2


def test_a_driver_whose_import_hangs_delays_nobody_else_and_is_given_up(connector_of, tmp_path, monkeypatch):
    monkeypatch.setattr("connectory.checks.forkservers.PRELOAD_LIMIT", 4.0)
    tmp_path.chmod(0o777)
    mark = tmp_path / "imported"
    hang = (
        f"import pathlib, time\nmark = pathlib.Path({str(mark)!r})\n"
        "if not mark.exists():\n    mark.touch()\n    time.sleep(60)"
    )
    hanging = connector_of("import hanging_driver", drivers={"hanging_driver": hang})
    sound = connector_of()

    async def scenario(runner):
        await once(runner, sound)
        first = asyncio.create_task(once(runner, hanging))
        assert (await once(runner, sound)).status == "succeeded"
        assert not first.done()  # the sound connector's test did not wait for the hanging one's
        assert (await first).code is FailureCode.TIMEOUT
        began = time.monotonic()
        reports = [await once(runner, hanging)]
        while reports[-1].status != "succeeded":
            assert time.monotonic() - began < 60
            reports.append(await once(runner, hanging))
        assert {report.code for report in reports[:-1]} <= {FailureCode.TIMEOUT}

    run(scenario, deadline=2)


def test_a_connector_that_does_not_load_is_unavailable_with_the_reason(connector_of):
    connector = connector_of(top=IN_FORK_SERVER + "raise ValueError('secret of the deployer')")

    async def scenario(runner):
        return await once(runner, connector)

    report = run(scenario)
    assert report.code is FailureCode.CONNECTOR_UNAVAILABLE
    assert "raised ValueError" in report.reason
    assert "deployer" not in report.reason


def test_a_connector_that_was_uninstalled_meanwhile_is_unavailable(connector_of, site):
    connector = connector_of()
    [metadata] = site.glob(f"{connector.record.distribution.replace('-', '_')}-*.dist-info")
    metadata.rename(metadata.with_suffix(".gone"))

    async def scenario(runner):
        return await once(runner, connector)

    report = run(scenario)
    assert report.code is FailureCode.CONNECTOR_UNAVAILABLE
    assert f"pip install {connector.record.distribution}" in report.reason


class Answering:
    """A far end that answers when it is told to."""

    def __init__(self) -> None:
        self.answer = threading.Event()
        self.__name__ = "answering"

    def __call__(self, peer: Peer) -> None:
        while not self.answer.is_set():
            peer.pause(0.01)
        peer.send(b"ok")


@pytest.mark.parametrize("which", ["root", "branch"])
def test_tests_whose_fork_server_is_killed_are_run_again_in_another(connector_of, which: str):
    with LoopbackServer(far_end := Answering()) as server:
        connector = connector_of(WAIT_FOR_ANSWER.format(port=server.port))
        offspring = Offspring()

        async def scenario(runner):
            tests = [asyncio.create_task(once(runner, connector)) for _ in range(3)]
            await asyncio.to_thread(server.wait_for_connections, 3)
            [root] = fork_servers(offspring)
            [branch] = fork_servers(root)
            (root if which == "root" else branch).kill()
            await asyncio.to_thread(server.wait_for_connections, 6)
            far_end.answer.set()
            return [(await test).status for test in tests]

        assert run(scenario) == ["succeeded"] * 3


def test_a_root_that_ends_is_told_and_replaced_without_a_test(connector_of):
    """Or a node that is out of service for it would stay so."""
    offspring = Offspring()

    async def until(condition):
        give_up = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < give_up
            await asyncio.sleep(0.005)

    async def scenario(runner):
        assert (await once(runner, connector_of())).status == "succeeded"
        assert runner.able
        fork_servers(offspring)[0].kill()
        await until(lambda: not runner.able)
        await until(lambda: runner.able)
        assert (await once(runner, connector_of())).status == "succeeded"
        runner.take_no_more()
        assert not runner.able

    run(scenario)


def test_a_test_whose_fork_server_ends_twice_has_crashed(connector_of, caplog):
    with LoopbackServer(striking(Offspring(), signal.SIGKILL)) as server:
        connector = connector_of(WAIT_FOR_ANSWER.format(port=server.port))
        sound = connector_of()

        async def scenario(runner):
            return await once(runner, connector), await once(runner, sound)

        killing, after = run(scenario)
    assert killing.code is FailureCode.CRASHED
    assert after.status == "succeeded"
    assert killing.conclusive is False
    assert "ended during a test" in caplog.text


def test_a_fork_server_that_no_longer_answers_is_replaced(connector_of, monkeypatch):
    monkeypatch.setattr("connectory.checks.process._END_LIMIT", 1.0)
    with LoopbackServer(striking(Offspring(), signal.SIGSTOP)) as server:
        connector = connector_of(
            f"connection, _ = context.connect('localhost', {server.port})\nconnection.settimeout(1)\nconnection.recv(1)"
        )
        sound = connector_of()

        async def scenario(runner):
            began = time.monotonic()
            reports = [await once(runner, connector) for _ in range(2)]
            assert time.monotonic() - began < 9
            return [report.code for report in reports], (await once(runner, sound)).status

        assert run(scenario) == ([FailureCode.TIMEOUT] * 2, "succeeded")


def test_an_interpreter_that_does_not_start_is_a_failed_test(connector_of, monkeypatch):
    monkeypatch.setattr("sys.executable", "/bin/false")
    connector = connector_of()

    async def scenario(runner):
        return await once(runner, connector)

    assert run(scenario).code is FailureCode.CRASHED


def test_all_end_with_the_process_that_started_them(connector_of, site):
    """Also what a test has started, in a session of its own."""
    connector = connector_of("import os, time\nif os.fork() == 0: os.setsid()\ntime.sleep(600)")
    pid = os.fork()
    if pid == 0:
        os.execv(
            sys.executable,
            [sys.executable, "-c", ABANDONING, str(site), connector.identifier, connector.record.distribution],
        )
    parent = psutil.Process(pid)
    family: list[psutil.Process] = []
    while len(family) < 4:  # root, branch, test, and what it started
        family = parent.children(recursive=True)
        assert parent.status() != psutil.STATUS_ZOMBIE
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert psutil.wait_procs(family, timeout=5)[1] == []


ABANDONING = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from connectory.catalog.catalog import find_connector
from connectory.checks.egress import EgressPolicy
from connectory.checks.runner import CheckRunner

async def main():
    runner = CheckRunner(policy=EgressPolicy(), deadline=60)
    await runner.start()
    await runner.run(1, find_connector(*sys.argv[2:], environment={}), lambda: {"token": "x"})

asyncio.run(main())
"""


def test_signals_to_the_whole_group_do_not_end_fork_servers_or_tests(connector_of):
    with LoopbackServer(far_end := Answering()) as server:
        connector = connector_of(WAIT_FOR_ANSWER.format(port=server.port))
        offspring = Offspring()

        async def scenario(runner):
            test = asyncio.create_task(once(runner, connector))
            await asyncio.to_thread(server.wait_for_connections)
            for process in offspring.all():
                for request in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    process.send_signal(request)
            far_end.answer.set()
            return await test

        assert run(scenario).status == "succeeded"
