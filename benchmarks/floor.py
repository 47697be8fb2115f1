"""The floor: what a bare FastAPI with sqlite3 and orjson costs for the same input and output.

No authentication, no validation, no encryption, no audit: only routing, the same rows from and to SQLite with the same
durability, and the same JSON. The service is measured as a ratio to this, in the same run, on the same machine.
"""

import os
import sqlite3
import threading
import uuid
from datetime import UTC, datetime
from pathlib import Path

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

COLUMNS = (
    "name", "key", "description", "connection_type", "access", "created_at", "updated_at", "disabled",
    "last_test_timestamp", "last_test_succeeded",
)  # fmt: skip
SELECTED = ", ".join(COLUMNS)
_local = threading.local()

app = FastAPI(openapi_url=None)
TYPES = Path(os.environ["FLOOR_TYPES"]).read_bytes()
SCHEMA = Path(os.environ["FLOOR_SCHEMA"]).read_bytes()


def database() -> sqlite3.Connection:
    if not hasattr(_local, "connection"):
        connection = sqlite3.connect(os.environ["FLOOR_DATABASE"], isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS connections (id TEXT PRIMARY KEY, key TEXT UNIQUE, name TEXT, description TEXT,"
            " connection_type TEXT, access TEXT, created_at TEXT, updated_at TEXT, disabled INTEGER,"
            " last_test_timestamp TEXT, last_test_succeeded INTEGER, secrets TEXT)"
        )
        _local.connection = connection
    return _local.connection


def answer(value: object) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")


@app.get("/health")
async def health() -> Response:
    return answer({"status": "healthy"})


@app.get("/api/v1/connection_type")
async def types() -> Response:
    return Response(TYPES, media_type="application/json")


@app.get("/api/v1/connection_type/postgres/secret")
async def schema() -> Response:
    return Response(SCHEMA, media_type="application/json")


@app.get("/api/v1/connection")
def connections(page: int = 1, size: int = 50, search: str | None = None) -> Response:
    where, values = "", []
    if search:
        where, values = " WHERE key LIKE ? OR name LIKE ? OR description LIKE ?", [f"%{search}%"] * 3
    total = database().execute(f"SELECT count(*) FROM connections{where}", values).fetchone()[0]
    rows = database().execute(
        f"SELECT {SELECTED} FROM connections{where} ORDER BY name, key LIMIT ? OFFSET ?",
        [*values, size, (page - 1) * size],
    )
    items = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    return answer({"items": items, "total": total, "page": page, "size": size, "pages": -(-total // size)})


@app.patch("/api/v1/connection")
async def patch(request: Request) -> Response:
    return await run_in_threadpool(_save, orjson.loads(await request.body()))


def _save(items: list[dict]) -> Response:
    now = datetime.now(UTC).isoformat()
    connection = database()
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(
        "INSERT INTO connections VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, ?)"
        " ON CONFLICT (key) DO UPDATE SET name=excluded.name, secrets=excluded.secrets, updated_at=excluded.updated_at",
        [
            (
                str(uuid.uuid4()), item["key"], item["name"], item.get("description"), item["connection_type"],
                item["access"], now, now, item.get("disabled", False), orjson.dumps(item.get("secrets")).decode(),
            )
            for item in items
        ],
    )  # fmt: skip
    connection.execute("COMMIT")
    saved = [{name: item.get(name) for name in COLUMNS} | {"created_at": now, "updated_at": now} for item in items]
    return answer({"succeeded": saved, "failed": []})
