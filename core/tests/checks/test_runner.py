"""The runner: admission, joining, deadlines, shutting down, and what it leaves behind."""

import asyncio
import os
import signal
import statistics
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import uvloop

from connectory.catalog.catalog import find_connector
from connectory.checks.egress import EgressPolicy
from connectory.checks.progress import Queued, Started, StepRuns
from connectory.checks.report import StepReport
from connectory.checks.runner import CheckRunner, NoProcess, QueueFull, ShuttingDown
from connectory.contract.check import FailureCode
from connectory.documents.validation import parse_secrets
from testkit.descriptors import few_descriptors
from testkit.loopback import LoopbackServer, Peer
from testkit.offspring import Offspring

DOCUMENT = {"token": "open-sesame-4711"}
HANG = """
connection, _ = context.connect("localhost", {port})
with connection, context.step("query"):
    connection.settimeout(None)
    connection.recv(1)
"""


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest):
    """Run `scenario(runner)`, once in asyncio's event loop and once in uvloop's, and see that nothing is left of it."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else None

    def run(scenario, **options):
        offspring = Offspring()

        async def whole():
            runner = CheckRunner(policy=EgressPolicy(allow_loopback=True), **options)
            await runner.start()
            while await status_of(runner, MANUAL, {}) != "skipped":
                pass  # with a short deadline: until the root is ready
            try:
                return await scenario(runner)
            finally:
                await runner.stop()
                assert offspring.all() == []
                assert runner.in_flight == 0

        with asyncio.Runner(loop_factory=factory) as loop:
            loop.run(asyncio.sleep(0))  # what the loop itself opens
            descriptors, threads = open_descriptors(), set(threading.enumerate())
            result = loop.run(whole())
            wait_until(lambda: open_descriptors() <= descriptors)  # the far end closes its sockets by and by
            assert {thread for thread in threading.enumerate() if "drain" not in thread.name} <= threads
            return result

    return run


MANUAL = find_connector("manual", "connectory")


async def status_of(runner, connector, document=DOCUMENT):
    return (await runner.run(object(), connector, lambda: document)).status


@pytest.fixture
def silent():
    """A far end that never answers."""
    with LoopbackServer(Peer.drain) as server:
        yield server


@pytest.fixture
def hanging(connector_of, silent):
    return connector_of(HANG.format(port=silent.port))


def open_descriptors() -> set[str]:
    """What this process has open: a kind and a number that the kernel gives but once."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one to this very folder
            found.add(str(descriptor.readlink()))
    return {target for target in found if target.startswith(("pipe:", "socket:"))}


def wait_until(condition) -> None:
    give_up = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.005)


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what it waits for happens in other threads and processes
            await asyncio.sleep(0.005)


async def connections(server: LoopbackServer, count: int) -> None:
    await until(lambda: server.connections >= count)


async def left(server: LoopbackServer) -> None:
    await until(lambda: not server._peers)


def test_callers_that_join_share_one_test(run, connector_of):
    connector = connector_of("import time\ntime.sleep(0.3)")
    opened = []

    async def scenario(runner):
        calls = [runner.run(("key", 1), connector, lambda: opened.append(1) or DOCUMENT) for _ in range(5)]
        reports = await asyncio.gather(*calls)
        assert all(report is reports[0] for report in reports)
        again = await runner.run(("key", 1), connector, lambda: opened.append(1) or DOCUMENT)
        assert again is not reports[0]
        return reports[0]

    assert run(scenario).status == "succeeded"
    assert len(opened) == 2


def test_a_caller_that_leaves_does_not_take_the_test_from_the_others(run, hanging, silent):
    async def scenario(runner):
        leaving, staying = (asyncio.create_task(runner.run(1, hanging, lambda: DOCUMENT)) for _ in range(2))
        await connections(silent, 1)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        return await staying

    assert run(scenario, deadline=2).code is FailureCode.TIMEOUT
    assert silent.connections == 1


def test_callers_are_told_where_they_stand_and_what_they_missed(run, hanging, silent, connector_of):
    quick = connector_of('with context.step("query"):\n    pass')

    async def scenario(runner):
        first, told, late = [], [], []
        running = asyncio.create_task(runner.run(1, hanging, lambda: DOCUMENT, observer=first.append))
        await connections(silent, 1)
        joined = asyncio.create_task(runner.run(1, hanging, lambda: DOCUMENT, observer=late.append))
        ahead = asyncio.create_task(runner.run(2, quick, lambda: DOCUMENT))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(runner.run(3, quick, lambda: DOCUMENT, observer=told.append))
        await until(lambda: told and StepRuns("query") in first)
        assert late[1:] == first[first.index(Started(10_000)) + 1 :]
        assert 0 < late[0].deadline_ms <= 10_000
        running.cancel()
        joined.cancel()
        await asyncio.gather(ahead, waiting)
        assert told[:3] == [Queued(2), Queued(1), Started(10_000)]
        assert [type(event) for event in told[3:]] == [StepRuns, StepReport]

    run(scenario, concurrency=1)


def test_a_test_that_nobody_waits_for_any_more_is_killed_and_not_joined(run, hanging, silent):
    async def scenario(runner):
        callers = [asyncio.create_task(runner.run(1, hanging, lambda: DOCUMENT)) for _ in range(2)]
        await connections(silent, 1)
        for caller in callers:
            caller.cancel()
        await asyncio.wait(callers)
        newcomer = asyncio.create_task(runner.run(1, hanging, lambda: DOCUMENT))
        await connections(silent, 2)
        newcomer.cancel()
        await left(silent)
        await until(lambda: not runner.in_flight)

    run(scenario)


def test_secrets_are_opened_when_the_test_starts_and_not_while_it_waits(run, hanging, silent, connector_of):
    quick, opened = connector_of(), []

    async def scenario(runner):
        first = asyncio.create_task(runner.run(1, hanging, lambda: DOCUMENT))
        await connections(silent, 1)
        waiting = asyncio.create_task(runner.run(2, quick, lambda: opened.append(1) or DOCUMENT))
        abandoned = asyncio.create_task(runner.run(3, quick, lambda: opened.append(1) or DOCUMENT))
        await asyncio.sleep(0.1)
        assert opened == []
        abandoned.cancel()
        first.cancel()
        assert (await waiting).status == "succeeded"

    run(scenario, concurrency=1)
    assert opened == [1]


def test_what_opening_the_secrets_raises_reaches_every_caller(run, connector_of):
    connector = connector_of()

    class KeyLost(Exception):
        pass

    def lose():
        raise KeyLost

    async def scenario(runner):
        outcomes = await asyncio.gather(*(runner.run(1, connector, lose) for _ in range(2)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [KeyLost, KeyLost]
        assert await status_of(runner, connector) == "succeeded"

    run(scenario)


def test_a_time_out_of_the_vault_is_not_taken_for_the_deadline(run, connector_of):
    def slow():
        raise TimeoutError

    async def scenario(runner):
        with pytest.raises(TimeoutError):
            await runner.run(1, connector_of(), slow)

    run(scenario)


def test_fifty_hanging_tests_take_their_turns_and_leave_the_event_loop_free(run, hanging):
    async def scenario(runner):
        await status_of(runner, hanging)  # has the connector imported
        delays = []

        async def watch():
            while True:
                expected = time.monotonic() + 0.01
                await asyncio.sleep(0.01)
                delays.append(time.monotonic() - expected)

        watching = asyncio.create_task(watch())
        began = time.monotonic()
        tests = (runner.run(number, hanging, lambda: DOCUMENT, client=number) for number in range(50))
        reports = await asyncio.gather(*tests)
        took = time.monotonic() - began
        watching.cancel()
        # On a busy machine some get no further than to look up the host, or to connect.
        ended = {FailureCode.TIMEOUT, FailureCode.CONNECT_TIMEOUT, FailureCode.DNS_TIMEOUT}
        assert {report.code for report in reports} <= ended
        assert 4 * 0.5 <= took < 12.5, "sixteen at a time are four turns; one after the other they take 25 s"
        assert statistics.median(delays) < 0.25, "half of what a loop that waits for one test would show"

    run(scenario, deadline=0.5, concurrency=16)


def test_one_more_than_the_queue_holds_is_told_when_to_come_again(run, hanging, silent, connector_of):
    async def scenario(runner):
        waiting = [
            asyncio.create_task(runner.run(number, hanging, lambda: DOCUMENT, client=number)) for number in range(5)
        ]
        await connections(silent, 2)
        with pytest.raises(QueueFull) as refused:
            await runner.run("one more", hanging, lambda: DOCUMENT)
        assert refused.value.retry_after == 8  # four tests of 4 s, two at a time
        joined = asyncio.create_task(runner.run(4, hanging, lambda: DOCUMENT))  # no place of its own is needed
        await asyncio.sleep(0)
        for task in [*waiting, joined]:
            task.cancel()
        await asyncio.wait([*waiting, joined])
        await until(lambda: not runner.in_flight)
        assert await status_of(runner, connector_of()) == "succeeded"

    run(scenario, deadline=4, concurrency=2, queue=3)


def test_a_client_whose_tests_all_hang_delays_no_other_not_even_at_the_same_connection(
    run, hanging, silent, connector_of
):
    """Joining a test that waits for its turn, another client brings its own turn along."""

    async def scenario(runner):
        tests = [asyncio.create_task(runner.run(number, hanging, lambda: DOCUMENT, client="a")) for number in range(5)]
        waiting = asyncio.create_task(runner.run("same", connector_of(), lambda: DOCUMENT, client="a"))
        await connections(silent, 3)
        assert await status_of(runner, connector_of()) == "succeeded"
        began = time.monotonic()
        report = await runner.run("same", connector_of(), lambda: DOCUMENT, client="b")
        assert report is await waiting
        assert time.monotonic() - began < 5  # those of the other client hang for a minute
        assert silent.connections == 3
        for task in tests:
            task.cancel()
        await asyncio.wait(tests)

    run(scenario, deadline=60, concurrency=4)


def test_a_test_that_waits_too_long_for_its_turn_is_refused_with_all_that_joined_it(run, hanging, silent):
    async def scenario(runner):
        first = asyncio.create_task(runner.run(1, hanging, lambda: DOCUMENT))
        await connections(silent, 1)
        waiting = [asyncio.create_task(runner.run(2, hanging, lambda: DOCUMENT)) for _ in range(2)]
        began = time.monotonic()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [QueueFull] * 2
        assert 0.29 <= time.monotonic() - began < 10  # uvloop counts in milliseconds
        assert (first.done(), silent.connections) == (False, 1)
        first.cancel()
        await asyncio.wait([first])

    run(scenario, deadline=60, concurrency=1, queue_wait=0.3)


def test_a_test_that_waited_keeps_its_whole_deadline(run, hanging, silent):
    async def scenario(runner):
        tests = [asyncio.create_task(runner.run(number, hanging, lambda: DOCUMENT)) for number in range(2)]
        await asyncio.wait(tests, return_when=asyncio.FIRST_COMPLETED)
        began = time.monotonic()
        assert [(await test).code for test in tests] == [FailureCode.TIMEOUT] * 2
        assert time.monotonic() - began > 0.9

    run(scenario, deadline=1, concurrency=1)


def test_kill_all_from_a_signal_handler_ends_everything_at_once(run, hanging, silent):
    async def scenario(runner):
        before = signal.signal(signal.SIGUSR1, lambda *_: runner.kill_all())
        try:
            tests = [asyncio.create_task(runner.run(number, hanging, lambda: DOCUMENT)) for number in range(6)]
            await connections(silent, 3)
            began = time.monotonic()
            os.kill(os.getpid(), signal.SIGUSR1)
            outcomes = await asyncio.gather(*tests, return_exceptions=True)
            assert time.monotonic() - began < 5  # well before the deadline of 10 s
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert [type(outcome) for outcome in outcomes] == [ShuttingDown] * 6
        await left(silent)
        with pytest.raises(ShuttingDown):
            await runner.run(1, hanging, lambda: DOCUMENT)

    run(scenario, concurrency=4)  # of which one client gets three


def test_stopping_ends_running_and_waiting_tests_and_can_be_repeated(run, hanging, silent):
    async def scenario(runner):
        tests = [asyncio.create_task(runner.run(number, hanging, lambda: DOCUMENT)) for number in range(4)]
        await connections(silent, 2)
        began = time.monotonic()
        await asyncio.gather(runner.stop(), runner.stop())
        assert time.monotonic() - began < 5  # well before the deadline of 10 s
        outcomes = await asyncio.gather(*tests, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ShuttingDown] * 4
        await runner.stop()

    run(scenario, concurrency=3)  # of which one client gets two


def test_a_caller_that_is_cancelled_while_the_service_ends_is_cancelled(run, hanging, silent):
    async def scenario(runner):
        test = asyncio.create_task(runner.run(1, hanging, lambda: DOCUMENT))
        await connections(silent, 1)
        test.cancel()
        await runner.stop()
        with pytest.raises(asyncio.CancelledError):
            await test

    run(scenario)


def test_a_runner_that_was_stopped_can_be_started_again(run, connector_of):
    connector = connector_of()

    async def scenario(runner):
        await runner.stop()
        await runner.start()
        return await status_of(runner, connector)

    assert run(scenario) == "succeeded"


def test_many_tests_leave_no_process_and_no_descriptor_meanwhile(run, connector_of):
    connector = connector_of()
    offspring = Offspring()

    async def scenario(runner):
        await status_of(runner, connector)
        await until(lambda: len(offspring.all()) == 3)  # the root and two branches
        processes, descriptors = offspring.all(), open_descriptors()
        await asyncio.gather(*(status_of(runner, connector) for _ in range(40)))
        for _ in range(10):
            await status_of(runner, connector)
            await until(lambda: offspring.all() == processes)
        assert open_descriptors() == descriptors

    run(scenario, concurrency=8, queue=100, spares=0)


def test_it_works_beside_threads_and_in_a_thread(connector_of):
    connector, outcome, stop = connector_of(), [], threading.Event()

    async def scenario():
        runner = CheckRunner(policy=EgressPolicy())
        await runner.start()
        outcome.extend([await status_of(runner, connector) for _ in range(20)])
        await runner.stop()

    busy = threading.Thread(target=lambda: [sum(range(1000)) for _ in iter(stop.is_set, True)])
    loop = threading.Thread(target=lambda: asyncio.run(scenario()))
    busy.start()
    loop.start()
    loop.join(20)
    stop.set()
    busy.join()
    assert outcome == ["succeeded"] * 20


def test_a_test_costs_little_more_than_its_hook(run, connector_of):
    connector = connector_of("pass")
    secrets = parse_secrets(connector.secrets_model, DOCUMENT)

    def milliseconds(began: float) -> float:
        return (time.perf_counter() - began) * 1000

    async def scenario(runner):
        await status_of(runner, connector)
        direct, through = [], []
        for _ in range(40):
            began = time.perf_counter()
            connector.test(secrets, None)
            direct.append(milliseconds(began))
            began = time.perf_counter()
            await status_of(runner, connector)
            through.append(milliseconds(began))
        return direct, through

    direct, through = run(scenario)
    overhead = min(through) - min(direct)  # the least, because other work on the machine only ever adds
    print(
        f"overhead: at best {overhead:.1f} ms, median {statistics.median(through) - statistics.median(direct):.1f} ms"
    )
    assert overhead < 30


@pytest.mark.parametrize("imported", [True, False])
def test_without_free_descriptors_no_test_starts_and_the_next_one_does(run, connector_of, caplog, imported: bool):
    """Wherever they run out: at the pipes of a test, or at the channel to its fork server. None is lost."""
    connector, other = connector_of(), connector_of()

    async def scenario(runner):
        await status_of(runner, connector)
        failing = connector if imported else other
        for more in range(4 if imported else 2):
            with few_descriptors(more), pytest.raises(NoProcess, match="Too many open files"):
                await status_of(runner, failing)
        return await status_of(runner, failing)

    assert run(scenario, spares=0) == "succeeded"
    assert "No process for a connection test: Too many open files." in caplog.text


def test_without_free_descriptors_the_root_does_not_start_and_later_does(connector_of):
    async def scenario():
        runner = CheckRunner(policy=EgressPolicy(allow_loopback=True))
        await runner.start()
        runner._fork_servers._root.lose()
        with few_descriptors(), pytest.raises(NoProcess):
            await status_of(runner, MANUAL, {})
        try:
            return await status_of(runner, connector_of())
        finally:
            await runner.stop()

    assert asyncio.run(scenario()) == "succeeded"
