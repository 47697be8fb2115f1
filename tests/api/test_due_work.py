"""The loop that does what is due."""

import asyncio

import pytest

from connectory.api.node import due_work
from connectory.api.node.due_work import DueWork
from connectory.store.errors import StoreUnavailable


class Backlog:
    """Numbers that are due; each is done for a moment, and noted."""

    def __init__(self, count):
        self.due, self.running, self.most, self.done = list(range(count)), 0, 0, []
        self.all_done = asyncio.Event()

    async def count(self):
        return len(self.due)

    async def claim(self, most):
        taken, self.due = self.due[:most], self.due[most:]
        return taken

    async def do(self, number):
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        self.done.append(number)
        if not self.due and not self.running:
            self.all_done.set()
        if number == 2:
            raise RuntimeError("a defect")

    def work(self, at_once=3):
        return DueWork("numbers", at_once, self.count, self.claim, self.do)


def test_all_is_done_some_at_once_and_a_failure_holds_nothing_up():
    async def scenario():
        backlog = Backlog(20)
        work = backlog.work()
        work.start()
        async with asyncio.timeout(30):  # far less than 20 looks take
            await backlog.all_done.wait()
        await work.finish()
        return backlog

    backlog = asyncio.run(scenario())
    assert sorted(backlog.done) == list(range(20))
    assert backlog.most == 3


def test_a_store_that_is_away_is_asked_again(monkeypatch):
    monkeypatch.setattr(due_work, "POLL", 0.01)

    async def scenario():
        backlog, answers = Backlog(1), [StoreUnavailable("gone"), StoreUnavailable("gone")]
        work = backlog.work()
        count = work._count

        async def counting():
            if answers:
                raise answers.pop()
            return await count()

        work._count = counting
        work.start()
        async with asyncio.timeout(30):
            await backlog.all_done.wait()
        await work.finish()
        return backlog.done

    assert asyncio.run(scenario()) == [0]


@pytest.mark.parametrize("hangs", [False, True])
def test_what_was_begun_may_end_and_is_given_up_after_a_while(monkeypatch, hangs):
    monkeypatch.setattr(due_work, "_LAST_WORDS", 0.05 if hangs else 30)

    async def scenario():
        backlog, begun, ended = Backlog(2), asyncio.Event(), []

        async def do(number):
            begun.set()
            try:
                await asyncio.sleep(60 if hangs else 0.01)
            except asyncio.CancelledError:
                ended.append((number, "given up"))
                raise
            ended.append((number, "done"))

        work = DueWork("numbers", 1, backlog.count, backlog.claim, do)
        work.start()
        await begun.wait()
        await work.finish()
        return ended, backlog.due

    assert asyncio.run(scenario()) == ([(0, "given up" if hangs else "done")], [1])
