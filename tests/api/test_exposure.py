"""Unique markers in every sensitive place, a full run of the API, and then a search for them everywhere."""

import base64
import json
import subprocess
from pathlib import Path
from urllib.parse import quote

import httpx

from testkit import hostile
from testkit.service import COMMAND, RunningService, run_command, running_service

MARKERS = [
    f"m4rk3r-{name}-pw!"
    for name in ("parts", "url", "merge", "item", "echo", "wrong", "name", "client", "form", "webhook")
]


def spellings(marker: str) -> list[bytes]:
    return [
        marker.encode(),
        quote(marker, safe="").encode(),
        base64.b64encode(marker.encode()).rstrip(b"=")[2:-2],
        json.dumps(marker).encode()[1:-1],
    ]


def test_no_marker_is_in_the_database_its_log_any_log_line_or_any_answer(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with (
        hostile.postgres_reflects_the_password() as reflecting,
        running_service(home, {"CONNECTORY_LOG_LEVEL": "debug"}, command=COMMAND) as service,
    ):
        token = run_command(home, "token").stdout.strip()
        answers = use_everything(service, token, reflecting)
        stored = b"".join(path.read_bytes() for path in sorted(home.iterdir()))
        assert any(path.name.endswith("-wal") for path in home.iterdir())
        dumped = (
            subprocess.run(["strings", "-a", home / "connectory.db"], capture_output=True, check=False).stdout
            if Path("/usr/bin/strings").exists()
            else b""
        )
        assert service.end()[0] == 0
        log = service.log.read_bytes()
    assert log.count(b'"event":"request"') >= len(answers) - 1
    for marker in [*MARKERS, token]:
        for spelled in spellings(marker):
            for place, content in (("database", stored + dumped), ("log", log), ("answers", b"".join(answers))):
                assert spelled not in content, f"{marker} is in the {place}"
    credentials = json.loads((home / "root_client.json").read_text())
    assert credentials["client_secret"].encode() not in log
    assert credentials["client_secret"].encode() not in (home / "connectory.db").read_bytes()


def use_everything(service: RunningService, token: str, reflecting) -> list[bytes]:
    parts, url, merge, item, echo, wrong, name, client_mark, form, hook = MARKERS
    answers: list[bytes] = []
    with httpx.Client(base_url=service.url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:

        def send(method: str, path: str, **options) -> httpx.Response:
            answer = client.request(method, path, **options)
            assert answer.status_code < 500, answer.text
            answers.append(answer.content + repr(answer.headers).encode().replace(token.encode(), b""))
            return answer

        key = "/api/v1/connection/db"
        where = {"host": reflecting.host, "port": reflecting.port, "username": "u", "dbname": "d"}
        api_ledger = {"name": "Db", "key": "db", "connection_type": "postgres", "access": "read"}
        assert send("PATCH", "/api/v1/connection", json=[api_ledger]).status_code == 200
        assert send("PUT", f"{key}/secret", json=where | {"password": parts}).status_code == 200
        assert send("PATCH", f"{key}/secret", json={"password": merge, "dbname": "e"}).status_code == 200
        location = f"{reflecting.host}:{reflecting.port}/d"
        assert (
            send("PUT", f"{key}/secret", json={"url": f"postgresql://u:{quote(url, safe='')}@{location}"}).status_code
            == 200
        )
        with_secrets = api_ledger | {"key": "db2", "secrets": where | {"password": item}}
        assert send("PATCH", "/api/v1/connection", json=[with_secrets]).status_code == 200
        for path in (
            "/api/v1/connection",
            key,
            f"{key}/test",
            "/api/v1/connection/db2/test",
            "/api/v1/plugins",
            "/openapi.json",
        ):
            assert send("GET", path).status_code == 200
        assert send("PUT", f"{key}/secret", json={"hots": "h", "password": echo}).status_code == 422
        assert send("PUT", f"{key}/secret", json={"host": "h", "port": echo}).status_code == 422
        assert send("PUT", f"{key}/secret", json={name: "x"}).status_code == 422
        assert send("PATCH", "/api/v1/connection", json=[api_ledger | {name: wrong}]).status_code == 422
        assert send("PUT", f"{key}/secret?password={wrong}", content=wrong).status_code == 415
        assert send("GET", f"/api/v1/connection?disabled={wrong}").status_code == 422
        assert send("GET", f"/api/v1/connection/{quote(wrong)}").status_code == 404
        assert send("GET", f"/{wrong}").status_code == 404
        assert send("GET", key, headers={"Authorization": f"Bearer {client_mark}"}).status_code == 401
        credentials = {
            "grant_type": "client_credentials",
            "client_id": form,
            "client_secret": client_mark,
            "scope": form,
        }
        assert send("POST", "/api/v1/oauth/token", data=credentials).status_code in {400, 401}
        assert send("PATCH", f"{key}/dataset", json=[{"fides_key": wrong + " ", "collections": []}]).status_code == 422
        told = {"url": f"http://127.0.0.1:{reflecting.port}/", "secret": hook}
        assert send("PUT", f"{key}/webhook", json=told).status_code == 200
        assert send("PUT", f"{key}/webhook", json=told | {"url": f"https://{wrong}/"}).status_code == 422
        assert send("PUT", f"{key}/webhook", json={"secret": [hook]}).status_code == 422
        assert send("GET", f"{key}/webhook").status_code == 200
        assert send("DELETE", "/api/v1/connection/db2").status_code == 204
    return answers
