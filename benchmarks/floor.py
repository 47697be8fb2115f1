"""The floor: what a bare FastAPI costs for the same input and output, on SQLite or PostgreSQL.

No authentication, no validation, no encryption, no audit, no threads: only routing, the same rows from and to the same database
with the same durability, and the same JSON. It talks to the database on its event loop, which no service may do (one slow
disk, and nobody gets an answer) and nothing is cheaper. The service is measured as a ratio to this, in the same run.
"""

import os
import sqlite3
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import orjson
from fastapi import FastAPI, Request, Response

COLUMNS = (
    "name", "key", "description", "connection_type", "access", "created_at", "updated_at", "disabled",
    "last_test_timestamp", "last_test_succeeded",
)  # fmt: skip
SELECTED = ", ".join(COLUMNS)
TABLES = """
CREATE TABLE IF NOT EXISTS connections (
    id TEXT PRIMARY KEY, key TEXT UNIQUE, name TEXT, description TEXT, connection_type TEXT, access TEXT, created_at TEXT,
    updated_at TEXT, disabled INTEGER, last_test_timestamp TEXT, last_test_succeeded INTEGER, secrets TEXT
);
CREATE TABLE IF NOT EXISTS datasets (fides_key TEXT PRIMARY KEY, connection_id TEXT, dataset TEXT, updated_at TEXT)
"""
DATABASE = os.environ["FLOOR_DATABASE"]

app = FastAPI(openapi_url=None)
TYPES = Path(os.environ["FLOOR_TYPES"]).read_bytes()
SCHEMA = Path(os.environ["FLOOR_SCHEMA"]).read_bytes()


class Sqlite:
    """One connection to a SQLite file."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(DATABASE, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(TABLES)

    def all(self, statement: str, *values: object) -> list[Any]:
        return self._connection.execute(statement, values).fetchall()

    def change(self, statement: str, rows: list[tuple[object, ...]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(statement, rows)
        self._connection.execute("COMMIT")


class Postgres:
    """One connection to PostgreSQL, by the driver that the service uses."""

    def __init__(self) -> None:
        import psycopg2

        self._connection = psycopg2.connect(DATABASE)
        self._connection.autocommit = True
        self._cursor = self._connection.cursor()
        self._cursor.execute(TABLES)

    def all(self, statement: str, *values: object) -> list[Any]:
        self._cursor.execute(statement.replace("?", "%s"), values)
        return self._cursor.fetchall()

    def change(self, statement: str, rows: list[tuple[object, ...]]) -> None:
        from psycopg2.extras import execute_values

        self._cursor.execute("BEGIN")
        head, values, tail = statement.partition(f"({', '.join('?' * len(rows[0]))})")
        if head.startswith("INSERT") and values:
            execute_values(self._cursor, f"{head}%s{tail}", rows)
        else:
            self._cursor.executemany(statement.replace("?", "%s"), rows)
        self._cursor.execute("COMMIT")


database = Postgres() if DATABASE.startswith("postgresql:") else Sqlite()


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
async def connections(page: int = 1, size: int = 50, search: str | None = None) -> Response:
    where = " WHERE key LIKE ? OR name LIKE ? OR description LIKE ?" if search else ""
    values = [f"%{search}%"] * 3 if search else []
    total = database.all(f"SELECT count(*) FROM connections{where}", *values)[0][0]
    statement = f"SELECT {SELECTED} FROM connections{where} ORDER BY name, key LIMIT ? OFFSET ?"
    rows = database.all(statement, *values, size, (page - 1) * size)
    items = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    return answer({"items": items, "total": total, "page": page, "size": size, "pages": -(-total // size)})


@app.get("/api/v1/connection/{key}")
async def connection(key: str) -> Response:
    [row] = database.all(f"SELECT {SELECTED}, secrets FROM connections WHERE key = ?", key)
    return answer(dict(zip((*COLUMNS, "secrets"), row, strict=True)))


@app.patch("/api/v1/connection")
async def save(request: Request) -> Response:
    items = orjson.loads(await request.body())
    now = datetime.now(UTC).isoformat()
    database.change(
        "INSERT INTO connections (id, key, name, description, connection_type, access, created_at, updated_at, disabled,"
        " secrets) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET name=excluded.name,"
        " secrets=excluded.secrets, updated_at=excluded.updated_at",
        [
            (
                str(uuid.uuid4()), item["key"], item["name"], item.get("description"), item["connection_type"],
                item["access"], now, now, int(item.get("disabled", False)), orjson.dumps(item.get("secrets")).decode(),
            )
            for item in items
        ],
    )  # fmt: skip
    saved = [{name: item.get(name) for name in COLUMNS} | {"created_at": now, "updated_at": now} for item in items]
    return answer({"succeeded": saved, "failed": []})


@app.put("/api/v1/connection/{key}/secret")
async def put_secret(key: str, request: Request) -> Response:
    secrets = orjson.loads(await request.body())
    now = datetime.now(UTC).isoformat()
    database.change(
        "UPDATE connections SET secrets = ?, updated_at = ? WHERE key = ?", [(orjson.dumps(secrets).decode(), now, key)]
    )
    return answer({"msg": f"Secrets updated for {key}.", "test_status": None})


@app.patch("/api/v1/connection/{key}/dataset")
async def save_datasets(key: str, request: Request) -> Response:
    datasets = orjson.loads(await request.body())
    [row] = database.all("SELECT id FROM connections WHERE key = ?", key)
    now = datetime.now(UTC).isoformat()
    database.change(
        "INSERT INTO datasets (fides_key, connection_id, dataset, updated_at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (fides_key) DO UPDATE SET dataset=excluded.dataset, updated_at=excluded.updated_at",
        [(cast("str", one["fides_key"]), row[0], orjson.dumps(one).decode(), now) for one in datasets],
    )
    return answer({"succeeded": datasets, "failed": []})
