"""Callers of the API that know what they were told, and so what has to be stored after any crash.

Each has connections of its own and sends one request at a time. A request is one step from one state to the next: whatever
happens, one of the two is stored, and the second if the request was answered.
"""

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
from sqlalchemy import func, select
from sqlalchemy.engine import Connection

from connectory.store.envelopes import open_masked, open_secrets
from connectory.store.tables import audit, connection_secrets, connections, datasets
from connectory.vault import Vault

CONNECTIONS = 4


@dataclass(frozen=True, slots=True)
class Row:
    """What is stored under one key.

    Attributes:
        description: of the connection; `None` where there is no connection.
        token: its secret; `None` likewise.
        masked: whether its masked document is there.
        datasets: their descriptions, in the order of their keys.
        trail: how often the audit trail tells of each action.
    """

    description: str | None = None
    token: str | None = None
    masked: bool = False
    datasets: tuple[str, ...] = ()
    trail: Mapping[str, int] = field(default_factory=Counter)

    def done(self, action: str, **changes: Any) -> "Row":
        """As it is after `action`, which the trail tells of in the same transaction."""
        return replace(self, trail=Counter(self.trail) + Counter([action]), **changes)


Rows = Mapping[str, Row]


class Writer:
    """One caller; `tests` says whether it tests connections too, which takes longer than all else.

    Attributes:
        acknowledged: number of requests that were answered.
    """

    def __init__(self, number: int, headers: Mapping[str, str], *, tests: bool) -> None:
        self._tests = tests
        self._keys = [f"w{number}-{index}" for index in range(CONNECTIONS)]
        self._headers = headers
        self._rows: Rows = {key: Row() for key in self._keys}
        self._asked: Rows | None = None
        self._steps = 0
        self.acknowledged = 0

    def write_until(self, killed: threading.Event, url: str) -> None:
        """Send requests of every kind, in any order, until the service is killed. Any other failure raises."""
        with httpx.Client(base_url=f"{url}/api/v1", headers=self._headers, timeout=60) as client:
            while not killed.is_set():
                request, self._asked = self._next()
                try:
                    answer = client.request(**request)
                except httpx.TransportError:
                    assert killed.is_set()
                    return
                if answer.status_code == 503:  # the store was busy for all of a writer's patience, and did nothing
                    self._asked = None
                    continue
                assert answer.status_code in (200, 204), answer.text
                assert "failed" not in answer.text or answer.json().get("failed") == [], answer.text
                self._rows, self._asked = self._asked, None
                self.acknowledged += 1

    def compare(self, stored: Rows) -> None:
        """Find in `stored` what was acknowledged, or what the request that was not answered asked for. Go on from there."""
        found = {key: stored.get(key, Row()) for key in self._keys}
        assert found in (self._rows, self._asked or self._rows), (self._rows, self._asked, found)
        self._rows, self._asked = found, None

    def _next(self) -> tuple[dict[str, Any], Rows]:
        self._steps += 1
        mark = f"{self._keys[0]}-{self._steps}"
        there = [key for key in self._keys if self._rows[key].description is not None]
        if not there:
            return self._save(mark)
        steps: list[Callable[[], tuple[dict[str, Any], Rows]]] = [
            lambda: self._save(mark),
            lambda: self._put(random.choice(there), mark),
            lambda: self._attach(random.choice(there), mark),
            lambda: self._delete(random.choice(there)),
        ]
        if self._tests:
            steps.append(lambda: self._test(random.choice(there)))
        return random.choice(steps)()

    def _save(self, mark: str) -> tuple[dict[str, Any], Rows]:
        items = [
            {"key": key, "connection_type": "till", "access": "read", "description": mark, "secrets": {"token": mark}}
            for key in self._keys
        ]
        return {"method": "PATCH", "url": "/connection", "json": items}, {
            key: row.done(
                "created" if row.description is None else "updated", description=mark, token=mark, masked=True
            )
            for key, row in self._rows.items()
        }

    def _put(self, key: str, mark: str) -> tuple[dict[str, Any], Rows]:
        request = {"method": "PUT", "url": f"/connection/{key}/secret?verify=false", "json": {"token": mark}}
        return request, self._with(key, self._rows[key].done("secrets_set", token=mark))

    def _attach(self, key: str, mark: str) -> tuple[dict[str, Any], Rows]:
        both = [{"fides_key": f"{key}.{part}", "description": mark, "collections": []} for part in "ab"]
        request = {"method": "PATCH", "url": f"/connection/{key}/dataset", "json": both}
        return request, self._with(key, self._rows[key].done("datasets_saved", datasets=(mark, mark)))

    def _delete(self, key: str) -> tuple[dict[str, Any], Rows]:
        gone = Row(trail=self._rows[key].trail).done("deleted")
        return {"method": "DELETE", "url": f"/connection/{key}"}, self._with(key, gone)

    def _test(self, key: str) -> tuple[dict[str, Any], Rows]:
        return {"method": "GET", "url": f"/connection/{key}/test"}, self._with(key, self._rows[key].done("tested"))

    def _with(self, key: str, row: Row) -> Rows:
        return {**self._rows, key: row}


def stored_rows(database: Connection, vault: Vault) -> Rows:
    """What is stored, by key."""
    trails: dict[str, Counter[str]] = {}
    entries = select(audit.c.connection_key, audit.c.action, func.count()).group_by(
        audit.c.connection_key, audit.c.action
    )
    for key, action, count in database.execute(entries):
        trails.setdefault(key, Counter())[action] = count
    attached: dict[str, list[str]] = {}
    texts = select(datasets.c.connection_id, datasets.c.dataset).order_by(datasets.c.fides_key)
    for owner, dataset in database.execute(texts):
        attached.setdefault(owner, []).append(json.loads(dataset)["description"])
    rows = {key: Row(trail=trail) for key, trail in trails.items()}
    found = select(connections, connection_secrets).join_from(connections, connection_secrets, isouter=True)
    for row in database.execute(found):
        masked = json.loads(open_masked(vault, row.id, row.masked_sealed))
        rows[row.key] = replace(
            rows[row.key],
            description=row.description,
            token=json.loads(open_secrets(vault, row.id, row.secrets_sealed))["secrets"]["token"],
            masked=masked["secrets"]["token"] == "**********",
            datasets=tuple(attached.get(row.id, [])),
        )
    return rows
