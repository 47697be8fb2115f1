"""Whose test runs next."""

import asyncio

import pytest

from connectory.checks.turns import QueueFull, Turn, Turns


class Room:
    """Tests that hold their turns until they are told to end."""

    def __init__(self, **limits: float) -> None:
        self.turns = Turns(**({"at_once": 4, "queue": 8, "patience": 30.0, "length": 10.0} | limits))
        self.running: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._turns: dict[str, Turn] = {}

    async def enter(self, client: str, name: str) -> "asyncio.Task[None]":
        self._ends[name] = asyncio.Event()
        task = asyncio.create_task(self._hold(client, name))
        await settle()
        return task

    async def join(self, client: str, name: str) -> None:
        self.turns.share(self._turns[name], client)
        await settle()

    def over(self, name: str) -> None:
        self.turns.over(self._turns[name])

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await settle()

    async def _hold(self, client: str, name: str) -> None:
        turn = self.turns.ask(client)
        self._turns[name] = turn
        try:
            await self.turns.called(turn)
            self.running.append(name)
            await self._ends[name].wait()
            self.running.remove(name)
        finally:
            self.turns.end(turn)


async def settle() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


async def leave(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_one_client_leaves_a_turn_for_the_next():
    async def scenario():
        room = Room()
        tasks = [await room.enter("a", f"a{number}") for number in range(6)]
        assert room.running == ["a0", "a1", "a2"]
        tasks.append(await room.enter("b", "b0"))
        assert room.running == ["a0", "a1", "a2", "b0"]
        await leave(*tasks)

    asyncio.run(scenario())


def test_a_free_turn_goes_to_the_client_that_has_the_fewest_and_waits_longest():
    async def scenario():
        room = Room()
        tasks = [await room.enter(name[0], name) for name in ("a0", "a1", "a2", "b0", "a3", "b1", "c0", "d0")]
        assert room.running == ["a0", "a1", "a2", "b0"]
        await room.end("a0")
        assert room.running == ["a1", "a2", "b0", "c0"]
        await room.end("b0")
        assert room.running == ["a1", "a2", "c0", "b1"]  # b waits longer than d
        await room.end("a1")
        assert room.running == ["a2", "c0", "b1", "d0"]
        await room.end("a2")
        assert room.running == ["c0", "b1", "d0", "a3"]
        await leave(*tasks)

    asyncio.run(scenario())


def test_several_clients_whose_tests_hang_still_leave_a_turn():
    """Each gets three quarters of what the others leave, but at least one."""

    async def scenario():
        room = Room(at_once=16, queue=64)
        tasks = [await room.enter(name, f"{name}{number}") for name in "abcd" for number in range(16)]
        assert [sum(name[0] == client for name in room.running) for client in "abcd"] == [12, 3, 1, 0]
        await leave(*tasks)

    asyncio.run(scenario())


def test_who_joins_brings_a_turn_of_its_own_along():
    async def scenario():
        room = Room()
        tasks = [await room.enter("a", f"a{number}") for number in range(5)]
        assert room.running == ["a0", "a1", "a2"]
        await room.join("a", "a4")
        assert room.turns.waiting == 2
        await room.join("b", "a4")
        assert room.running == ["a0", "a1", "a2", "a4"]
        assert room.turns.waiting == 1
        await room.join("c", "a3")  # there is not a turn left: it waits in the line of c too
        await room.join("c", "a4")  # it runs already
        assert room.turns.waiting == 1
        await room.end("a4")
        assert room.running == ["a0", "a1", "a2", "a3"]
        assert room.turns.waiting == 0
        again = await room.enter("a", "a5")
        await room.end("a3")  # which c paid for
        assert room.running == ["a0", "a1", "a2"]
        await leave(*tasks, again)

    asyncio.run(scenario())


def test_a_client_fills_half_of_the_queue_and_others_the_rest():
    async def scenario():
        room = Room(at_once=1, queue=4)
        tasks = [await room.enter("a", f"a{number}") for number in range(3)]
        with pytest.raises(QueueFull):
            await (await room.enter("a", "too many"))
        tasks += [await room.enter("b", "b0"), await room.enter("c", "c0")]
        assert room.turns.waiting == 4
        with pytest.raises(QueueFull) as full:
            await (await room.enter("d", "full"))
        assert full.value.retry_after == 50  # five tests of ten seconds before it
        await leave(*tasks)
        assert room.turns.waiting == 0

    asyncio.run(scenario())


def test_nobody_waits_longer_than_the_patience():
    async def scenario():
        room = Room(at_once=1, patience=0.05)
        first = await room.enter("a", "a0")
        with pytest.raises(QueueFull):
            await (await room.enter("b", "b0"))
        assert room.turns.waiting == 0
        await room.end("a0")
        second = await room.enter("b", "b1")
        assert room.running == ["b1"]
        await leave(first, second)

    asyncio.run(scenario())


@pytest.mark.parametrize("moment", ["while it waits", "when its turn comes"])
def test_who_leaves_the_queue_takes_no_turn(moment):
    async def scenario():
        room = Room(at_once=1)
        first = await room.enter("a", "a0")
        leaving, last = await room.enter("b", "b0"), await room.enter("c", "c0")
        if moment == "while it waits":
            await leave(leaving)
            await room.end("a0")
        else:
            room._ends["a0"].set()
            while not first.done():  # noqa: ASYNC110 - exactly until then: the next is called, and has not woken
                await asyncio.sleep(0)
            await leave(leaving)
            await settle()
        assert room.running == ["c0"]
        await room.end("c0")
        again = await room.enter("b", "b1")
        assert room.running == ["b1"]
        await leave(first, last, again)

    asyncio.run(scenario())


def test_a_turn_that_is_all_but_over_leaves_a_place_to_wait():
    """So that a client that tests one after the other is never refused."""

    async def scenario():
        room = Room(at_once=1, queue=0)
        first = await room.enter("a", "a0")
        room.over("a0")
        second = await room.enter("a", "a1")
        with pytest.raises(QueueFull):
            await (await room.enter("b", "b0"))
        await room.end("a0")
        assert room.running == ["a1"]
        with pytest.raises(QueueFull):
            await (await room.enter("b", "b0"))
        await leave(first, second)

    asyncio.run(scenario())


def test_no_queue_means_that_nobody_waits():
    async def scenario():
        room = Room(at_once=1, queue=0)
        first = await room.enter("a", "a0")
        with pytest.raises(QueueFull):
            await (await room.enter("b", "b0"))
        await leave(first)

    asyncio.run(scenario())
