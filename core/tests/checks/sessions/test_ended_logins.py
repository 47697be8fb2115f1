"""What a killed session does at its far end is ended there, by another session of the same connection."""

import asyncio

import pytest

from connectory.checks.sessions.runner import SessionNotOpened
from connectory.checks.sessions.session import OperationFailed
from connectory.contract.check import FailureCode
from connectory.contract.data import CollectionRef, Read
from connectory.testing import silent_server

from .conftest import NUMBERS, every

ANY = Read(CollectionRef("numbers"), (("n",),))
# Each login tells its name; a far end hears which of them it is to end.
LOGINS = """
context.report_login({name})

def end_login(self, name):
    far_end, _ = context.connect("127.0.0.1", {port})
    with far_end:
        far_end.sendall(f"end {{name}};".encode())

def discover(self, namespace, sample):
    yield CollectionInfo(CollectionRef("again"), ())
    context.report_login("the second")
    while True:
        yield CollectionInfo(CollectionRef("again"), ())
        time.sleep(0.01)
"""
SILENCE = "def read(self, query, batch): time.sleep(60)"
GONE = "def read(self, query, batch): os._exit(1)"


async def timed_out(session):
    with pytest.raises(OperationFailed) as failed:
        await every(session.read(ANY))
    return failed.value.code


async def read_whole(session):
    await every(session.read(ANY))


async def left_in_the_middle(session):
    found = session.discover()
    for _ in range(3):
        await anext(found)


@pytest.fixture
def heard(use):
    """What the far end hears of a session that is used like that."""

    def run(read, scenario, name="'the first'", **terms):
        with silent_server() as far_end:
            result = use(LOGINS.format(name=name, port=far_end.port) + read, scenario, **terms)
            return result, far_end.received.decode()

    return run


def test_a_login_is_ended_whose_operation_was_killed(heard):
    assert heard(SILENCE, timed_out, patience=0.5) == (FailureCode.TIMEOUT, "end the first;")


def test_a_login_is_ended_whose_process_has_died(heard):
    assert heard(GONE, timed_out) == (FailureCode.CRASHED, "end the first;")


def test_the_last_name_counts(heard):
    assert heard(NUMBERS, left_in_the_middle)[1] == "end the second;"


def test_a_login_that_does_nothing_is_left_to_itself(heard):
    assert heard(NUMBERS, read_whole)[1] == ""


def test_a_name_that_is_no_name_is_refused_where_it_is_told(use):
    async def scenario(session):
        pytest.fail("it is open")

    with pytest.raises(SessionNotOpened):
        use("context.report_login('x' * 201)", scenario)


def test_who_cannot_end_it_holds_nobody_up(use, caplog):
    script = "context.report_login('one')\n" + SILENCE
    assert use(script, timed_out, patience=0.5) is FailureCode.TIMEOUT
    assert "could not end what a session has left running" in caplog.text


def test_the_end_of_the_service_ends_logins_too(scripted):
    from connectory.checks.egress import EgressPolicy
    from connectory.checks.refusals import ShuttingDown
    from connectory.checks.runner import CheckRunner

    async def scenario(document):
        runner = CheckRunner(policy=EgressPolicy(allow_loopback=True))
        await runner.start()
        reads = asyncio.Event()

        async def read():
            async with runner.sessions.open_session(scripted, lambda: document) as session:
                reads.set()
                await every(session.read(ANY))

        reading = asyncio.create_task(read())
        await reads.wait()
        await asyncio.sleep(0)
        await runner.stop()
        with pytest.raises(ShuttingDown):
            await reading

    with silent_server() as far_end:
        script = LOGINS.format(name="'the only'", port=far_end.port) + SILENCE
        asyncio.run(scenario({"token": "t", "script": script}))
        assert far_end.received == b"end the only;"
