"""The floor: what a bare FastAPI costs for the same input and output, on SQLite or PostgreSQL.

No authentication, no validation, no encryption, no search index, no threads: only routing, the same rows from and to the same
database with the same durability (a connection, its secrets, an entry of the audit trail), and the same JSON. It talks to the
database on its event loop, which no service may do (one slow disk, and nobody gets an answer) and nothing is cheaper. The
service is measured as a ratio to this, in the same run.
"""

import os
import sqlite3
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
    updated_at TEXT, disabled INTEGER, last_test_timestamp TEXT, last_test_succeeded INTEGER
);
CREATE TABLE IF NOT EXISTS secrets (key TEXT PRIMARY KEY, secrets TEXT, masked TEXT);
CREATE TABLE IF NOT EXISTS audit (at TEXT, actor TEXT, action TEXT, key TEXT, fields TEXT, request_id TEXT);
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

    def change(self, *changes: tuple[str, list[tuple[object, ...]]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for statement, rows in changes:
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

    def change(self, *changes: tuple[str, list[tuple[object, ...]]]) -> None:
        from psycopg2.extras import execute_values

        self._cursor.execute("BEGIN")
        for statement, rows in changes:
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
    [row] = database.all(f"SELECT {SELECTED}, masked FROM connections LEFT JOIN secrets USING (key) WHERE key = ?", key)
    return answer(dict(zip((*COLUMNS, "masked"), row, strict=True)))


SAVE_CONNECTION = (
    "INSERT INTO connections (id, key, name, description, connection_type, access, created_at, updated_at, disabled)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (key) DO UPDATE SET name=excluded.name, updated_at=excluded.updated_at"
)
SAVE_DATASET = (
    "INSERT INTO datasets (fides_key, connection_id, dataset, updated_at) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (fides_key) DO UPDATE SET dataset=excluded.dataset, updated_at=excluded.updated_at"
)
SAVE_SECRETS = (
    "INSERT INTO secrets (key, secrets, masked) VALUES (?, ?, ?)"
    " ON CONFLICT (key) DO UPDATE SET secrets=excluded.secrets, masked=excluded.masked"
)
AUDIT = "INSERT INTO audit (at, actor, action, key, fields, request_id) VALUES (?, ?, ?, ?, ?, ?)"


def secrets_row(key: str, secrets: object) -> tuple[object, ...]:
    text = orjson.dumps(secrets).decode()
    return (key, text, text)


def audit_row(now: str, action: str, key: str) -> tuple[object, ...]:
    return (now, "actor", action, key, '["secrets"]', "request")


@app.patch("/api/v1/connection")
async def save(request: Request) -> Response:
    items = orjson.loads(await request.body())
    now = datetime.now(UTC).isoformat()
    rows = [
        (
            str(uuid.uuid4()), item["key"], item["name"], item.get("description"), item["connection_type"],
            item["access"], now, now, int(item.get("disabled", False)),
        )
        for item in items
    ]  # fmt: skip
    secrets = [secrets_row(item["key"], item["secrets"]) for item in items if "secrets" in item]
    database.change(
        (SAVE_CONNECTION, rows),
        *([(SAVE_SECRETS, secrets)] if secrets else []),
        (AUDIT, [audit_row(now, "created", item["key"]) for item in items]),
    )
    saved = [{name: item.get(name) for name in COLUMNS} | {"created_at": now, "updated_at": now} for item in items]
    return answer({"succeeded": saved, "failed": []})


@app.put("/api/v1/connection/{key}/secret")
async def put_secret(key: str, request: Request) -> Response:
    secrets = orjson.loads(await request.body())
    now = datetime.now(UTC).isoformat()
    database.change(
        ("UPDATE connections SET updated_at = ? WHERE key = ?", [(now, key)]),
        (SAVE_SECRETS, [secrets_row(key, secrets)]),
        (AUDIT, [audit_row(now, "secrets_set", key)]),
    )
    return answer({"msg": f"Secrets updated for {key}.", "test_status": None})


@app.patch("/api/v1/connection/{key}/dataset")
async def save_datasets(key: str, request: Request) -> Response:
    datasets = orjson.loads(await request.body())
    [row] = database.all("SELECT id FROM connections WHERE key = ?", key)
    now = datetime.now(UTC).isoformat()
    database.change(
        (
            SAVE_DATASET,
            [(one["fides_key"], row[0], orjson.dumps(one).decode(), now) for one in datasets],
        ),
        (AUDIT, [audit_row(now, "datasets_saved", key)]),
    )
    return answer({"succeeded": datasets, "failed": []})
