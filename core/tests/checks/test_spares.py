"""Processes forked ahead of their tests: how many there are, for how long, and what they know."""

import asyncio
import os
import signal
import time
from pathlib import Path
from secrets import token_hex

import psutil
import pytest

from connectory.checks import process, spares
from connectory.checks.egress import EgressPolicy
from connectory.checks.runner import CheckRunner
from connectory.contract.check import FailureCode
from testkit.loopback import LoopbackServer, Peer
from testkit.offspring import Offspring

DOCUMENT = {"token": "open-sesame-4711"}
SAY_PID = "import os\nraise CheckFailed(FailureCode.QUERY_FAILED, remedy=str(os.getpid()))"


class Scene:
    """A runner, and the processes below it."""

    def __init__(self, runner: CheckRunner) -> None:
        self.runner = runner
        self._offspring = Offspring()

    async def run(self, connector, document=DOCUMENT):
        return await self.runner.run(object(), connector, lambda: document)

    async def pid_of_test(self, connector) -> int:
        report = await self.run(connector)
        assert report.code is FailureCode.QUERY_FAILED, report
        return int(report.reason)

    def forked_by_branches(self) -> list[int]:
        """The process ids of spares, and of tests: those that sit below the root's branches."""
        branches = [branch for root in self._offspring.children() for branch in root.children()]
        return [found.pid for branch in branches for found in branch.children()]

    async def settles_at(self, count: int) -> list[int]:
        """What the branches have forked, once there are `count` of them, twice in a row."""
        before: list[int] = []
        async with asyncio.timeout(10):
            while len(found := self.forked_by_branches()) != count or found != before:
                before = found
                await asyncio.sleep(0.02)
        return found


def play(scenario, **options):
    """Run `scenario(scene)` with a runner of its own, and see that it leaves nothing."""
    offspring = Offspring()

    async def whole():
        runner = CheckRunner(policy=EgressPolicy(allow_loopback=True), **options)
        scene = Scene(runner)
        await runner.start()
        try:
            return await scenario(scene)
        finally:
            await runner.stop()
            assert offspring.all() == []

    return asyncio.run(whole())


def test_a_test_runs_in_the_process_that_waits_for_it_and_the_next_one_in_another(connector_of):
    connector = connector_of(SAY_PID)

    async def scenario(scene):
        await scene.run(connector)
        for _ in range(3):
            [spare] = await scene.settles_at(1)
            assert await scene.pid_of_test(connector) == spare
            await asyncio.to_thread(gone, spare)

    play(scenario)


def gone(pid: int) -> None:
    give_up = time.monotonic() + 10
    while psutil.pid_exists(pid):
        assert time.monotonic() < give_up
        time.sleep(0.005)


@pytest.mark.parametrize("each", [0, 3])
def test_as_many_wait_for_each_connector_as_the_deployer_says(connector_of, each: int):
    connectors = connector_of(), connector_of()

    async def scenario(scene):
        for connector in connectors:
            await scene.run(connector)
        await scene.settles_at(2 * each)

    play(scenario, spares=each)


def test_without_spares_a_test_has_a_process_of_its_own_all_the_same(connector_of):
    connector = connector_of(SAY_PID)

    async def scenario(scene):
        return [await scene.pid_of_test(connector) for _ in range(3)]

    assert len(set(play(scenario, spares=0))) == 3


def test_no_more_wait_than_the_limit_for_all_connectors_and_the_oldest_goes_first(connector_of, monkeypatch):
    monkeypatch.setattr(spares, "MOST", 2)
    connectors = [connector_of(SAY_PID) for _ in range(3)]

    async def scenario(scene):
        first, second, third = connectors
        await scene.run(first)
        [oldest] = await scene.settles_at(1)
        await scene.run(second)
        await scene.settles_at(2)
        await scene.run(third)
        await asyncio.to_thread(gone, oldest)
        await scene.settles_at(2)
        assert await scene.pid_of_test(first) != oldest

    play(scenario)


def test_a_spare_that_nobody_needs_is_ended_and_not_replaced(connector_of, monkeypatch):
    monkeypatch.setattr(spares, "AGE", 0.5)
    connector = connector_of(SAY_PID)

    async def scenario(scene):
        await scene.run(connector)
        [spare] = await scene.settles_at(1)
        await asyncio.to_thread(gone, spare)
        await scene.settles_at(0)
        await scene.pid_of_test(connector)
        await scene.settles_at(1)

    play(scenario)


def test_a_spare_that_dies_costs_no_test(connector_of):
    connector = connector_of(SAY_PID)

    async def scenario(scene):
        await scene.run(connector)
        [spare] = await scene.settles_at(1)
        os.kill(spare, signal.SIGKILL)
        while psutil.Process(spare).status() != psutil.STATUS_ZOMBIE:
            pass  # the event loop learns of it only after the test has begun
        assert await scene.pid_of_test(connector) != spare
        await asyncio.to_thread(gone, spare)
        await scene.settles_at(1)

    play(scenario)


@pytest.mark.parametrize("which", ["root", "branch"])
def test_spares_end_with_their_fork_server_and_its_successor_has_its_own(connector_of, which: str):
    connector, offspring = connector_of(SAY_PID), Offspring()

    async def scenario(scene):
        await scene.run(connector)
        [spare] = await scene.settles_at(1)
        [root] = offspring.children()
        [branch] = root.children()
        (root if which == "root" else branch).kill()
        await asyncio.to_thread(gone, spare)
        assert await scene.pid_of_test(connector) != spare
        [successor] = await scene.settles_at(1)
        assert await scene.pid_of_test(connector) == successor

    play(scenario)


def test_killing_everything_kills_spares_and_none_comes_after(connector_of):
    connector = connector_of()

    async def scenario(scene):
        await scene.run(connector)
        [spare] = await scene.settles_at(1)
        scene.runner.kill_all()
        await asyncio.to_thread(gone_or_zombie, spare)
        await scene.settles_at(0)

    play(scenario)


def gone_or_zombie(pid: int) -> None:
    give_up = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < give_up
        time.sleep(0.005)


def test_more_tests_than_spares_at_once_fork_the_rest(connector_of):
    with LoopbackServer(Peer.drain) as silent:
        connector = connector_of(
            f"""
            if secrets.token.get_secret_value() == "hang":
                connection, _ = context.connect("localhost", {silent.port})
                connection.settimeout(None)
                connection.recv(1)
            """
        )

        async def scenario(scene):
            await scene.run(connector)
            [spare] = await scene.settles_at(1)
            tests = [asyncio.create_task(scene.run(connector, {"token": "hang"})) for _ in range(4)]
            await asyncio.to_thread(silent.wait_for_connections, 4)
            assert spare in await scene.settles_at(4)
            for test in tests:
                test.cancel()
            [left] = await scene.settles_at(1)
            assert left != spare

        play(scenario, deadline=30)


def test_a_spare_has_seen_no_secret_of_an_earlier_test(connector_of):
    """Its memory is searched from outside. Where that is not root, nobody can: then that is what holds."""
    connector = connector_of()
    earlier = token_hex(16)

    async def scenario(scene):
        await scene.run(connector, {"token": earlier})
        [spare] = await scene.settles_at(1)
        return await asyncio.to_thread(memory_of, spare)

    if os.geteuid() != 0:
        with pytest.raises(PermissionError):
            play(scenario)
        return
    memory = play(scenario)
    assert connector.identifier.encode() in memory  # it is the right process's
    assert earlier.encode() not in memory


def memory_of(pid: int) -> bytes:
    content = []
    process = Path(f"/proc/{pid}")
    with (process / "mem").open("rb", buffering=0) as memory:
        for line in (process / "maps").read_text().splitlines():
            span, rights, *_ = line.split()
            if rights.startswith("rw"):
                begin, end = (int(bound, 16) for bound in span.split("-"))
                memory.seek(begin)
                content.append(memory.read(end - begin))
    return b"".join(content)


def test_neither_tests_nor_what_they_are_forked_from_can_be_looked_into(connector_of):
    ask = "import ctypes\nDUMPABLE = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)  # linux/prctl.h: PR_GET_DUMPABLE\n"
    connector = connector_of(
        "found = DUMPABLE, ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)\n"
        "raise CheckFailed(FailureCode.QUERY_FAILED, remedy=str(found))",
        top=ask,
    )

    async def scenario(scene):
        return await scene.run(connector)

    assert play(scenario).reason == "(0, 0)"


VALIDATED = """
from pydantic import field_validator

class Validated(Secrets):
    token: SecretText

    @field_validator("token")
    @classmethod
    def judged(cls, value):
        if os.environ["HOME"] == "/nonexistent":
            judge(value)
        return value

@hookimpl
def connectory_secret_schema():
    return Validated
"""
JUDGES = {
    "raises": "raise RuntimeError",
    "ends the process": "os._exit(3)",
    "crashes": "import ctypes; ctypes.string_at(0)",
    "hangs": "import time; time.sleep(60)",
}


@pytest.mark.parametrize("what", JUDGES)
def test_a_connector_that_goes_wrong_with_made_up_secrets_is_tested_all_the_same(connector_of, monkeypatch, what: str):
    monkeypatch.setattr("connectory.checks.forkservers.PRELOAD_LIMIT", 1.0)
    judge = f"def judge(value):\n    if value.get_secret_value() != 'open-sesame-4711': {JUDGES[what]}\n"
    connector = connector_of(top=f"import os\n{judge}", hooks=VALIDATED)

    async def scenario(scene):
        return [(await scene.run(connector)).status for _ in range(3)]

    assert play(scenario, deadline=60) == ["succeeded"] * 3


def test_a_spare_takes_little_memory_and_its_test_has_all_of_its_own(connector_of):
    judge = """
        import os
        TOOK = []
        def judge(value):
            try:
                TOOK.append(len(bytearray(64 * 2**20)))
            except MemoryError:
                TOOK.append(0)
    """
    body = """
        found = TOOK[-2:], len(bytearray(64 * 2**20)) > 0
        raise CheckFailed(FailureCode.QUERY_FAILED, remedy=str(found))
    """
    connector = connector_of(body, top=judge, hooks=VALIDATED)

    async def scenario(scene):
        await scene.run(connector)
        [spare] = await scene.settles_at(1)
        while psutil.Process(spare).status() != psutil.STATUS_SLEEPING:
            pass  # it rehearses
        return await scene.run(connector)

    assert play(scenario).reason == f"([0, {64 * 2**20}], True)"


def test_the_answer_does_not_wait_for_the_process_to_end(connector_of):
    connector = connector_of()

    async def scenario(scene):
        await scene.run(connector)
        [spare] = await scene.settles_at(1)
        os.kill(psutil.Process(spare).ppid(), signal.SIGSTOP)  # from now on nothing ends, and nothing is forked
        began = time.monotonic()
        report = await scene.run(connector)
        return report.status, time.monotonic() - began < process._END_LIMIT

    assert play(scenario) == ("succeeded", True)
