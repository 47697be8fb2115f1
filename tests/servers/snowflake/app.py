"""Snowflake's login in front of fakesnow: what `servers.snowflake.server` runs, in fakesnow's own environment.

fakesnow lets anybody in, creates the databases that are asked for, and knows neither roles nor warehouses, nor foreign keys, and
lists no views among tables. This
checks passwords and key-pair tokens, answers with Snowflake's own codes, and opens a session in a database, schema
and warehouse only where they exist and the role may use them; otherwise the session has none, as Snowflake's has. It keeps
foreign keys and views beside the emulator, and tells them as Snowflake's pages on SHOW IMPORTED KEYS and on the view TABLES say.
Run as `python snowflake_app.py PORT ACCOUNT_FILE`. The account file is JSON, see `servers.snowflake.server`, and is read at
each login.
"""

import base64
import gzip
import hashlib
import json
import re
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode

import uvicorn
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from fakesnow.server import app as fakesnow
from fakesnow.server import sessions, shared_fs
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from servers.stated_keys import StatedKeys, literal_rows

# Snowflake's codes, as its drivers report them.
WRONG_CREDENTIALS = "390100"
INVALID_TOKEN = "390144"
ROLE_NOT_GRANTED = "390189"

_TIME_LIMIT = "STATEMENT_TIMEOUT_IN_SECONDS"
_IMPORTED_KEYS = re.compile(r'SHOW IMPORTED KEYS IN SCHEMA "((?:[^"]|"")+)"')
_CREATED_VIEW = re.compile(r'CREATE VIEW (?:"((?:[^"]|"")+)"|(\w+))\."((?:[^"]|"")+)"')
_TABLES = re.compile(r"\bFROM INFORMATION_SCHEMA\.TABLES\b")
_CONTEXT_FUNCTION = re.compile(r"CURRENT_(ROLE|WAREHOUSE|DATABASE|SCHEMA)\(\)", re.IGNORECASE)


class Session(NamedTuple):
    """What a session is in; `None` where it is in none."""

    role: str
    warehouse: str | None
    database: str | None
    schema: str | None


class LoginRefused(Exception):
    """The login is refused with the code `args[0]`."""


class SnowflakeApp:
    """The ASGI application."""

    def __init__(self, account_file: Path) -> None:
        self._account_file = account_file
        self._sessions: dict[str, Session] = {}
        self._databases: set[str] = set()
        self._time_limits: dict[str, Any] = {}
        self._keys = StatedKeys("snowflake", unquoted=str.upper)
        self._views: list[tuple[str, str]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await fakesnow(scope, receive, send)
            return
        request = Request(scope, receive)
        body = await request.body()
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if scope["path"] == "/session/v1/login-request":
            response = await self._log_in(request, json.loads(body))
        elif scope["path"] == "/queries/v1/query-request":
            response = await self._query(request, json.loads(body))
        elif scope["path"] == "/telemetry/send":
            response = JSONResponse({"data": "Log Received", "code": None, "message": None, "success": True})
        else:
            response = await _answer_of_fakesnow(scope, body)
        await response(scope, receive, send)

    async def _log_in(self, request: Request, body: dict[str, Any]) -> Response:
        account = json.loads(self._account_file.read_text())
        login = body["data"]
        if str(login.get("ACCOUNT_NAME", "")).upper().partition(".")[0] != account["name"]:
            return PlainTextResponse("", status_code=404)
        query = {name: values[0] for name, values in parse_qs(request.url.query).items()}
        try:
            user = _authenticate(account, login)
            session = _session(account, user, query)
        except LoginRefused as refusal:
            return _refusal(str(refusal.args[0]))
        self._create_databases(account)
        opened = {"databaseName": session.database, "schemaName": session.schema}
        scope = {**request.scope, "query_string": urlencode({k: v for k, v in opened.items() if v}).encode()}
        answer = json.loads((await _answer_of_fakesnow(scope, json.dumps(body).encode())).body)
        token = answer["data"]["token"]
        self._sessions[token] = session
        self._time_limits[token] = login.get("SESSION_PARAMETERS", {}).get(_TIME_LIMIT)
        # What the driver's native core asks for and fakesnow leaves out.
        answer["data"] |= {
            "masterToken": token,
            "validityInSeconds": 3600,
            "masterValidityInSeconds": 14400,
            "displayUserName": login["LOGIN_NAME"],
            "sessionId": len(sessions),
            "healthCheckInterval": 45,
            "newClientForUpgrade": None,
            "firstLogin": False,
            "remMeToken": None,
            "remMeValidityInSeconds": 0,
        }
        answer["data"]["sessionInfo"] = {
            "databaseName": session.database,
            "schemaName": session.schema,
            "warehouseName": session.warehouse,
            "roleName": session.role,
        }
        return JSONResponse({"code": None, "message": None} | answer)

    async def _query(self, request: Request, body: dict[str, Any]) -> Response:
        token = request.headers.get("authorization", "").removeprefix('Snowflake Token="').removesuffix('"')
        session = self._sessions.get(token)
        if body["sqlText"] == f"SHOW PARAMETERS LIKE '{_TIME_LIMIT}'":
            body["sqlText"] = f"SELECT '{_TIME_LIMIT}' AS \"key\", '{self._time_limits[token]}' AS \"value\""
        body["sqlText"] = self._rewritten(body["sqlText"])
        if session is not None:
            body["sqlText"] = _CONTEXT_FUNCTION.sub(
                lambda found: _literal(getattr(session, found[1].lower())), body["sqlText"]
            )
        return await _answer_of_fakesnow(request.scope, json.dumps(body).encode())

    def _rewritten(self, statement: str) -> str:
        """The statement without what the emulator does not know, or as a query for it."""
        if found := _IMPORTED_KEYS.fullmatch(statement.strip()):
            return self._imported_keys(found[1].replace('""', '"'))
        if found := _CREATED_VIEW.match(statement):
            self._views.append((found[1] or found[2].upper(), found[3].replace('""', '"')))
        if self._views and _TABLES.search(statement):
            columns = "TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ROW_COUNT"
            views = " UNION ALL ".join(
                f"SELECT {_literal(schema)}, {_literal(view)}, 'VIEW', NULL" for schema, view in self._views
            )
            both = f"(SELECT {columns} FROM INFORMATION_SCHEMA.TABLES UNION ALL {views}) AS t"
            return _TABLES.sub(lambda _: f"FROM {both}", statement)
        return self._keys.taken_from(statement)

    def _imported_keys(self, schema: str) -> str:
        rows = [
            (key.target_schema, key.target, target, key.schema, key.table, column, number, "NO ACTION", key.name)
            for key in self._keys.foreign(schema)
            for number, (column, target) in enumerate(zip(key.columns, key.target_columns, strict=True), start=1)
        ]
        target, own = (
            ("pk_schema_name", "pk_table_name", "pk_column_name"),
            ("fk_schema_name", "fk_table_name", "fk_column_name"),
        )
        return literal_rows((*target, *own, "key_sequence", "delete_rule", "fk_name"), rows)

    def _create_databases(self, account: dict[str, Any]) -> None:
        for database, properties in account["databases"].items():
            for schema in properties["schemas"]:
                if f"{database}.{schema}" not in self._databases:
                    shared_fs.connect(database, schema)
                    self._databases.add(f"{database}.{schema}")


def _authenticate(account: dict[str, Any], login: dict[str, Any]) -> dict[str, Any]:
    name = str(login.get("LOGIN_NAME", "")).upper()
    user = account["users"].get(name, {})
    if login.get("AUTHENTICATOR", "").upper() == "SNOWFLAKE_JWT":
        _check_token(login.get("TOKEN", ""), user.get("public_key"), f"{account['name']}.{name}")
    elif user.get("password") is None or login.get("PASSWORD") != user["password"]:
        raise LoginRefused(WRONG_CREDENTIALS)
    if user.get("refused_with"):
        raise LoginRefused(user["refused_with"])
    return user


def _check_token(token: str, public_key_pem: str | None, subject: str) -> None:
    """Check a key-pair token as Snowflake's documentation of key-pair authentication describes it."""
    if public_key_pem is None:
        raise LoginRefused(INVALID_TOKEN)
    public_key = serialization.load_pem_public_key(public_key_pem.encode())
    header, payload, signature = token.split(".")
    try:
        public_key.verify(_unbase64(signature), f"{header}.{payload}".encode(), padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise LoginRefused(INVALID_TOKEN) from None
    encoded = public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    fingerprint = base64.b64encode(hashlib.sha256(encoded).digest()).decode()
    claims = json.loads(_unbase64(payload))
    if claims["iss"] != f"{subject}.SHA256:{fingerprint}" or claims["sub"] != subject or claims["exp"] < time.time():
        raise LoginRefused(INVALID_TOKEN)


def _session(account: dict[str, Any], user: dict[str, Any], query: dict[str, str]) -> Session:
    role = _identifier(query.get("roleName")) or "PUBLIC"
    if role not in user["roles"]:
        raise LoginRefused(ROLE_NOT_GRANTED)
    warehouse = _identifier(query.get("warehouse"))
    usable_warehouse = warehouse if role in account["warehouses"].get(warehouse, ()) else None
    database, schema = _identifier(query.get("databaseName")), _identifier(query.get("schemaName"))
    properties = account["databases"].get(database)
    if properties is None or role not in properties["roles"]:
        return Session(role, usable_warehouse, None, None)
    return Session(role, usable_warehouse, database, schema if schema in properties["schemas"] else None)


def _identifier(name: str | None) -> str | None:
    """An object's name as Snowflake resolves identifiers: quoted exactly, otherwise in capitals."""
    if name and name.startswith('"'):
        return name[1:-1].replace('""', '"')
    return name.upper() if name else None


def _literal(value: str | None) -> str:
    return "NULL" if value is None else "'" + value.replace("'", "''") + "'"


def _refusal(code: str) -> Response:
    data = {"nextAction": "RETRY_LOGIN", "authnMethod": "USERNAME_PASSWORD"}
    return JSONResponse({"data": data, "code": code, "message": "refused", "success": False, "headers": None})


async def _answer_of_fakesnow(scope: Any, body: bytes) -> Response:
    """What fakesnow answers to this request, whose body is plain JSON."""
    start: dict[str, Any] = {}
    chunks: list[bytes] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            chunks.append(message.get("body", b""))

    plain = [(name, value) for name, value in scope["headers"] if name not in {b"content-encoding", b"content-length"}]
    await fakesnow({**scope, "headers": plain}, receive, send)
    headers = {name.decode(): value.decode() for name, value in start["headers"] if name != b"content-length"}
    return Response(b"".join(chunks), status_code=start["status"], headers=headers)


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


if __name__ == "__main__":
    uvicorn.run(SnowflakeApp(Path(sys.argv[2])), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
