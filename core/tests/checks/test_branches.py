"""What fork servers cost: one for all connectors of a distribution, none that is idle for long, and a budget for everything."""

import asyncio
import importlib
from uuid import uuid4

import psutil
import pytest

from connectory.catalog.catalog import find_connector
from connectory.checks.egress import EgressPolicy
from connectory.checks.runner import CheckRunner
from connectory.contract.check import FailureCode
from testkit.distribution import install, plugin_source
from testkit.loopback import LoopbackServer, Peer
from testkit.offspring import Offspring

DOCUMENT = {"token": "open-sesame-4711"}
TELL_BRANCH = "    import os\n    raise CheckFailed(FailureCode.QUERY_FAILED, remedy=str(os.getppid()))\n"
IN_FORK_SERVER = 'import os\nif os.environ["HOME"] == "/nonexistent":\n    '


def run(scenario, **options):
    """Run `scenario(test)` with a runner of its own, where no process waits; `test(connector)` gives the report."""

    async def whole():
        runner = CheckRunner(policy=EgressPolicy(allow_loopback=True), **{"spares": 0, **options})
        await runner.start()
        try:
            return await scenario(lambda connector: runner.run(object(), connector, lambda: DOCUMENT))
        finally:
            await runner.stop()

    return asyncio.run(whole())


@pytest.fixture
def siblings(site):
    """Connectors of one distribution, one for each beginning of a module. Their tests tell which fork server they come from."""

    def make(*tops: str):
        distribution = f"siblings-{uuid4().hex[:8]}"
        names = [f"{distribution.replace('-', '_')}_{number}" for number in range(len(tops))]
        test = f"@hookimpl\ndef connectory_test_connection(secrets, context):\n{TELL_BRANCH}"
        sources = {
            name: plugin_source(name, before=top, hooks={"connectory_test_connection": test})
            for name, top in zip(names, tops, strict=True)
        }
        install(site, distribution, entry_points={name: name for name in names}, modules=sources)
        importlib.invalidate_caches()
        return [find_connector(name, distribution, environment={}) for name in names]

    return make


def test_connectors_of_one_distribution_are_imported_in_one_branch(siblings):
    one, other = siblings("", "")
    [stranger] = siblings("")

    async def scenario(test):
        return [(await test(connector)).reason for connector in (one, other, one, other, stranger)]

    *branches, elsewhere = run(scenario)
    assert len({*branches}) == 1
    assert elsewhere not in branches


@pytest.mark.parametrize(
    "top", ["os._exit(1)", "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"]
)
def test_a_connector_that_cannot_be_imported_ahead_costs_its_distribution_nothing(siblings, top: str):
    sound, bad = siblings("", IN_FORK_SERVER + top)

    async def scenario(test):
        await test(sound)
        await test(bad)
        return [await test(sound) for _ in range(2)]

    first, second = run(scenario)
    assert first.reason == second.reason
    assert int(first.reason) > 0


def test_who_waits_for_a_branch_that_a_sibling_cannot_begin_gets_another(siblings, caplog):
    """And is not told to be imported by each test itself."""
    bad, sound = siblings(IN_FORK_SERVER + "import time; time.sleep(1); os._exit(1)", "")

    async def scenario(test):
        _, first = await asyncio.gather(test(bad), test(sound))
        return first, await test(sound)

    first, second = run(scenario)
    assert first.reason == second.reason
    assert [bad.identifier in record.getMessage() for record in caplog.records] == [True]


def test_a_branch_that_is_idle_ends_and_comes_back(siblings, monkeypatch):
    monkeypatch.setattr("connectory.checks.forkservers.IDLE_LIMIT", 0.5)
    [connector] = siblings("")

    async def scenario(test):
        branch = psutil.Process(int((await test(connector)).reason))
        gone, _ = await asyncio.to_thread(psutil.wait_procs, [branch], 10)
        return branch, gone, int((await test(connector)).reason)

    branch, gone, again = run(scenario)
    assert gone == [branch]
    assert again != branch.pid


def test_a_branch_that_is_in_use_stays(siblings, connector_of, monkeypatch):
    monkeypatch.setattr("connectory.checks.forkservers.IDLE_LIMIT", 0.1)

    def far_end(peer: Peer) -> None:
        peer.pause(1.0)
        peer.send(b"-")

    with LoopbackServer(far_end) as server:
        connector = connector_of(
            f"link, _ = context.connect('localhost', {server.port})\nwith link: assert link.recv(1) == b'-'"
        )

        async def scenario(test):
            return await test(connector)

        assert run(scenario).status == "succeeded"


def test_tests_together_keep_to_the_budget(connector_of):
    """Each is within its own limit. The one that takes most is ended, and the others go on."""
    offspring, told = Offspring(), []

    def far_end(peer: Peer) -> None:
        while not told:
            peer.pause(0.01)
        peer.send(b"-")

    with LoopbackServer(far_end) as server:
        connector = connector_of(
            f"link, _ = context.connect('localhost', {server.port})\nheld = b'x' * (200 << 20)\nassert link.recv(1) == b'-'"
        )

        async def scenario(test):
            tests = [asyncio.ensure_future(test(connector)) for _ in range(3)]
            done, going_on = await asyncio.wait(tests, return_when=asyncio.FIRST_COMPLETED)
            taken = sum(process.memory_info().rss for process in offspring.all())
            told.append(True)
            return [task.result().code for task in done], [(await task).status for task in going_on], taken

        ended, others, taken = run(scenario, total_memory=500 << 20)
    assert ended == [FailureCode.RESOURCE_LIMIT]
    assert others == ["succeeded", "succeeded"]
    assert taken < 700 << 20


def test_a_test_is_measured_with_what_it_has_started(connector_of):
    """Also where it starts what shares its memory, and then writes to it: each page is then copied."""
    body = """
    import os, time
    held = bytearray(100 << 20)
    for _ in range(6):
        if os.fork() == 0:
            for place in range(0, len(held), 4096):
                held[place] = 1
            time.sleep(60)
    time.sleep(60)
    """

    async def scenario(test):
        return await test(connector_of(body))

    assert run(scenario, total_memory=400 << 20).code is FailureCode.RESOURCE_LIMIT


def test_what_a_test_leaves_to_itself_is_ended_and_no_test_in_its_place(connector_of):
    """By a second fork it gets away from its test, and not from the budget."""
    body = """
    import os, time
    reader, writer = os.pipe()
    if os.fork() == 0:
        if os.fork() == 0:
            os.setsid()
            held = b"x" * (300 << 20)
            time.sleep(60)
        os._exit(0)
    os.close(writer)
    os.read(reader, 1)
    """

    async def scenario(test):
        return await test(connector_of(body))

    assert run(scenario, total_memory=250 << 20).status == "succeeded"
