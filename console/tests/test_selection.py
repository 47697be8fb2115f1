"""Which connections an action on many reaches: each that is found, once, whatever others do to the list meanwhile."""

import asyncio
from types import SimpleNamespace

import pytest

from connectory_console.api import ApiFailed
from connectory_console.pages import bulk
from connectory_console.selection import LARGEST_PAGE, found_by, ticked


class Shelf:
    """The list of connections, as the API has it.

    Attributes:
        keys: of those that are there.
        calls: pages that were asked for.
        busy: calls that are answered with 429 before one is answered.
    """

    def __init__(self, count: int) -> None:
        self.keys = [f"row_{number:05}" for number in range(count)]
        self.calls: list[dict] = []
        self.busy = 0
        self.visit = SimpleNamespace(api=self)

    async def get(self, _path: str, *, sort: str = "-key", page: int = 1, size: int, **_filters: str) -> dict:
        if self.busy:
            self.busy -= 1
            raise ApiFailed(429, "Too many.", retry_after=1)
        assert size <= LARGEST_PAGE
        assert sort == "-key"
        self.calls.append({"page": page, "size": size})
        ordered = sorted(self.keys, reverse=True)
        items = [{"key": key} for key in ordered[(page - 1) * size : page * size]]
        return {"items": items, "total": len(ordered), "pages": -(-len(ordered) // size)}


async def all_of(shelf: Shelf, meanwhile=lambda taken: None) -> list[str]:
    chosen = await found_by(shelf.visit, {})
    taken: list[str] = []
    while some := await chosen.take(7):
        taken += some
        meanwhile(some)
    return taken


@pytest.mark.parametrize("count", [0, 1, 2, 50, 99, 100, 101, 150, 5040, 10_100])
def test_each_is_taken_once_with_few_requests(count: int) -> None:
    shelf = Shelf(count)
    assert asyncio.run(all_of(shelf)) == shelf.keys
    assert len(shelf.calls) <= 3 + count / 85


def test_what_the_action_takes_out_of_the_list_hides_none() -> None:
    shelf = Shelf(1000)
    before = list(shelf.keys)
    assert asyncio.run(all_of(shelf, lambda some: [shelf.keys.remove(key) for key in some])) == before
    assert shelf.keys == []


def test_what_others_add_and_delete_hides_none_that_stays() -> None:
    shelf = Shelf(1000)
    before = list(shelf.keys)
    deleted = set(before[500::17])

    def meddle(some: list[str]) -> None:
        if some[0] == "row_00007":
            shelf.keys += [f"row_00{number}_added" for number in range(100, 999)]  # more than two pages, ahead
        if "row_00300" in some:
            shelf.keys = [key for key in shelf.keys if key not in deleted]

    taken = asyncio.run(all_of(shelf, meddle))
    assert taken == sorted(set(taken))
    assert set(before) - deleted <= set(taken)
    assert len([key for key in taken if "added" in key]) > 890


def test_a_busy_service_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[int] = []

    async def sleep(seconds: int) -> None:
        waited.append(seconds)

    shelf = Shelf(150)

    def overload(some: list[str]) -> None:
        if some[0] == "row_00007":
            shelf.busy = 2

    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert asyncio.run(all_of(shelf, overload)) == shelf.keys
    assert waited == [1, 1]


def test_what_goes_on_failing_ends_with_failures_that_can_be_retried() -> None:
    class Refusing(Shelf):
        async def send(self, *_: object, **__: object) -> None:
            raise ApiFailed(503, "No.")

    shelf, told = Refusing(bulk.MOST_FAILURES * 2), []

    async def delete_all() -> None:
        chosen = await found_by(shelf.visit, {})
        async for outcome in bulk._outcomes(shelf.visit, "delete", chosen):
            told.append(outcome)  # noqa: PERF401 - what was told before it ends

    with pytest.raises(ApiFailed, match="stopped after 1,0"):
        asyncio.run(delete_all())
    assert {outcome["ok"] for outcome in told} == {False}
    assert bulk.MOST_FAILURES <= len(told) < bulk.MOST_FAILURES + 10


def test_one_that_is_gone_does_not_hold_up_the_others() -> None:
    class Strict(Shelf):
        async def send(self, _method: str, _path: str, json: list[dict]) -> SimpleNamespace:
            if any(item["key"] == "row_00003" for item in json):
                raise ApiFailed(422, "Gone.")
            return SimpleNamespace(json=lambda: {"failed": []})

    async def disable_all(shelf: Shelf) -> dict[str, bool]:
        return {one["key"]: one["ok"] async for one in bulk._outcomes(shelf.visit, "disable", ticked(list(shelf.keys)))}

    shelf = Strict(5)
    assert asyncio.run(disable_all(shelf)) == {key: key != "row_00003" for key in shelf.keys}
