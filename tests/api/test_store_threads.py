"""The threads that talk to the database: what becomes of work that waits, fails, or is given up."""

import asyncio
import threading
import time
import weakref

import pytest

from connectory.api.node.store_threads import StoreThreads
from connectory.store.errors import StoreUnavailable
from connectory.store.patience import PATIENCE, patience_left


class Sized:
    """What `StoreThreads` asks of a store."""

    def __init__(self, readers: int = 1, writers: int = 1) -> None:
        self.readers, self.writers = readers, writers


def run(scenario, **sizes):
    threads = StoreThreads(Sized(**sizes))
    try:
        return asyncio.run(scenario(threads))
    finally:
        threads.close()


def test_work_is_done_in_the_order_of_its_arrival_and_returns_its_result():
    done = []

    async def scenario(threads):
        return await asyncio.gather(
            *(threads.read(lambda number: done.append(number) or number, n) for n in range(100))
        )

    assert run(scenario) == list(range(100)) == done


def test_a_thread_that_has_nothing_to_do_keeps_nothing_of_its_last_job():
    """Neither what the job was given nor what it made: answers may have megabytes."""

    async def scenario(threads):
        given = Sized()
        kept = [weakref.ref(given), weakref.ref(await threads.write(lambda one: Sized(one.readers), given))]
        del given
        give_up = time.monotonic() + 30
        while any(one() is not None for one in kept):
            assert time.monotonic() < give_up
            await asyncio.sleep(0)

    run(scenario)


def test_readers_go_on_while_a_writer_waits():
    release = threading.Event()

    async def scenario(threads):
        writer = asyncio.create_task(threads.write(release.wait, 10))
        found = await asyncio.wait_for(threads.read(lambda: "read"), 5)
        assert not writer.done()
        release.set()
        return found, await writer

    assert run(scenario) == ("read", True)


def test_an_exception_of_the_work_is_raised_to_the_caller_and_the_thread_goes_on():
    def fail(error):
        raise error

    async def scenario(threads):
        for error in (ValueError("a"), StoreUnavailable("b"), KeyError("c")):
            with pytest.raises(type(error)) as raised:
                await threads.write(fail, error)
            assert raised.value is error
        return await threads.write(lambda: "still here")

    assert run(scenario) == "still here"


def test_work_whose_caller_left_before_it_began_is_not_done():
    release, done = threading.Event(), []

    async def scenario(threads):
        first = asyncio.create_task(threads.write(release.wait, 10))
        second = asyncio.create_task(threads.write(done.append, "second"))
        third = asyncio.create_task(threads.write(done.append, "third"))
        await asyncio.sleep(0)  # all three are in line
        second.cancel()
        release.set()
        await asyncio.gather(first, third)
        assert second.cancelled()

    run(scenario)
    assert done == ["third"]


def test_work_that_waited_too_long_is_refused_and_not_begun(monkeypatch):
    monkeypatch.setattr("connectory.api.node.store_threads.PATIENCE", 0.2)
    monkeypatch.setattr("connectory.api.node.store_threads.HELD_UP", 60)
    begun = []

    async def scenario(threads):
        slow = asyncio.create_task(threads.write(time.sleep, 0.4))
        await asyncio.sleep(0)  # it is in line
        with pytest.raises(StoreUnavailable, match="Others write to the database for too long"):
            await threads.write(begun.append, "late")
        await slow

    run(scenario)
    assert begun == []


def test_what_is_left_of_the_patience_holds_for_the_work(monkeypatch):
    monkeypatch.setattr("connectory.api.node.store_threads.HELD_UP", 60)

    async def scenario(threads):
        slow = asyncio.create_task(threads.write(time.sleep, 0.3))
        await asyncio.sleep(0)  # it is in line
        left = await threads.write(patience_left)
        await slow
        return left

    assert PATIENCE - 3 < run(scenario) <= PATIENCE - 0.3


def test_where_all_threads_are_held_up_another_one_stands_in():
    release = threading.Event()

    async def scenario(threads):
        slow = [asyncio.create_task(threads.write(release.wait, 30)) for _ in range(2)]
        await asyncio.sleep(0)  # both are in line
        names = [await threads.write(lambda: threading.current_thread().name) for _ in range(3)]
        assert [one.done() for one in slow] == [False, False]
        release.set()
        await asyncio.gather(*slow)
        return names

    assert run(scenario, writers=2) == ["connectory-write-stand-in"] * 3


def test_nobody_stands_in_where_the_threads_only_have_much_to_do(monkeypatch):
    monkeypatch.setattr("connectory.api.node.store_threads.HELD_UP", 0.4)

    def work():
        time.sleep(0.04)
        return threading.current_thread().name

    async def scenario(threads):
        return await asyncio.gather(*(threads.read(work) for _ in range(20)))

    assert set(run(scenario)) == {"connectory-read-0"}


def test_closing_leaves_no_thread_even_where_nobody_waits_for_the_work_any_more():
    before = threading.active_count()

    async def scenario(threads):
        tasks = [asyncio.create_task(threads.write(time.sleep, 0.02)) for _ in range(20)]
        await asyncio.sleep(0)
        return len(tasks)

    assert run(scenario, readers=3, writers=2) == 20
    assert threading.active_count() == before
