"""Markers in every sensitive field of every installed connector, and then a search for them in every place and spelling."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from connectory.catalog.catalog import build_catalog
from connectory.testing.exposure import appearances
from connectory.testing.payloads import with_markers
from testkit import hostile
from testkit.every_connector import secrets_of_every_connector, settings_of_every_connector
from testkit.service import COMMAND, RunningService, running_service, token_of_root

API = "/api/v1/connection"


@pytest.fixture(scope="module")
def marked():
    """For a far end, the secrets of each connector with markers, and all that is sensitive in them."""
    found = build_catalog(environment={}).connectors.items()
    # Other tests of the same process install connectors of their own.
    connectors = {name: one for name, one in found if one.record.distribution.startswith("connectory")}

    def mark(host: str, port: int):
        plain = secrets_of_every_connector(host, port)
        assert plain.keys() == connectors.keys()
        documents, markers = {}, set()
        for identifier, connector in connectors.items():
            documents[identifier], found = with_markers(connector.secrets_model, connector.schema, plain[identifier])
            assert found or identifier == "manual"
            markers |= set(found)
        # Of a private key also each line: it may slip out in pieces.
        return documents, markers | {line for marker in markers for line in marker.splitlines() if len(line) > 40}

    return mark


def test_no_marker_of_any_connector_is_in_any_place(tmp_path, marked):
    """Not in an answer or its headers, the log, a file, or what the machine shows of processes, while tests run and after."""
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    temporary.mkdir()
    with hostile.silent() as far_end:
        documents, markers = marked(far_end.host, far_end.port)
        settings = settings_of_every_connector(far_end.host, far_end.port)
        settings |= {"TMPDIR": str(temporary), "CONNECTORY_LOG_LEVEL": "debug", "CONNECTORY_PROBE_DEADLINE": "2"}
        settings |= {"CONNECTORY_EGRESS_ALLOW_LOOPBACK": "true", "CONNECTORY_PROBE_QUEUE_WAIT": "15"}
        with running_service(home, settings, command=COMMAND) as service, ProcessesWatched(service) as shown:
            answers = use(service, home, documents)
            assert far_end.connections >= 5  # so tests held the secrets while they were watched
            texts = files_below(tmp_path)
            assert any(name.endswith("-wal") for name in texts)
            service.end()
        texts |= {f"{name}, after the end": text for name, text in files_below(tmp_path).items()}
    assert len(shown) > 20, "processes of tests were not seen"
    for marker in markers:
        assert appearances([marker], {"what was sent": json.dumps(documents)}) != []
    assert appearances(markers, texts | answers | shown) == []


def use(service: RunningService, home: Path, documents) -> dict[str, str]:
    """Every answer, with its headers, by what was asked: secrets stored in either way, refused, read, and tested."""
    answers = {}

    def kept(name: str, answer: httpx.Response) -> httpx.Response:
        assert answer.status_code < 500, answer.text
        answers[f"the answer to {name}"] = f"{answer.headers.raw}\n{answer.text}"
        return answer

    def store_and_test(identifier: str) -> str:
        key, document = f"{API}/a_{identifier}", documents[identifier]
        assert kept(f"PUT {identifier}", client.put(f"{key}/secret?verify=false", json=document)).status_code == 200
        kept(f"GET {identifier}", client.get(key))
        verdict = kept(f"GET test {identifier}", client.get(f"{API}/b_{identifier}/test")).json()
        unknown = document | {"connectory_unknown_field": "x"}
        assert kept(f"refused {identifier}", client.put(f"{key}/secret", json=unknown)).status_code == 422
        misplaced = {"port": document, "host": document, "domain": document}
        assert kept(f"misplaced {identifier}", client.put(f"{key}/secret", json=misplaced)).status_code == 422
        return verdict["test_status"]

    with httpx.Client(base_url=service.url, timeout=120) as client:
        client.headers["Authorization"] = f"Bearer {token_of_root(home, service.url)}"
        for prefix, with_secrets in (("a", False), ("b", True)):
            items = [
                {"key": f"{prefix}_{identifier}", "connection_type": identifier, "access": "read"}
                | ({"secrets": document} if with_secrets and document else {})
                for identifier, document in documents.items()
            ]
            assert kept("PATCH", client.patch(API, json=items)).json()["failed"] == []
        with ThreadPoolExecutor(8) as pool:
            verdicts = dict(zip(documents, pool.map(store_and_test, documents), strict=True))
        assert {identifier for identifier, verdict in verdicts.items() if verdict == "succeeded"} <= {"manual"}
        for path in (
            API,
            f"{API}?size=100",
            "/api/v1/plugins",
            "/api/v1/status",
            "/metrics",
            "/openapi.json",
            "/ready",
        ):
            kept(path, client.get(path))
    return answers


class ProcessesWatched:
    """In the block, reads again and again what `/proc` shows of a service and its processes; gives all texts, by name."""

    def __init__(self, service: RunningService) -> None:
        self._service = psutil.Process(service.process.pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._texts: dict[str, str] = {}

    def __enter__(self) -> dict[str, str]:
        self._thread.start()
        return self._texts

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            with suppress(psutil.NoSuchProcess):
                for process in (self._service, *self._service.children(recursive=True)):
                    self._look(Path(f"/proc/{process.pid}"))

    def _look(self, process: Path) -> None:
        for name in ("cmdline", "environ", "comm"):
            # One that has ended shows nothing, and one that lets nobody read it neither.
            with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                text = (process / name).read_bytes().decode("latin-1")
                self._texts[f"{process / name}: {hash(text)}"] = text


def files_below(folder: Path) -> dict[str, str]:
    """The content of every file, read as bytes, by its path."""
    found = {}
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # files of the database come and go
            if path.is_file():
                found[str(path)] = path.read_bytes().decode("latin-1")
    return found
