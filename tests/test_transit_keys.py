"""Keys that OpenBao's transit engine wraps: a real server on loopback, the service and its commands."""

import base64
import json
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from connectory.commands import app
from connectory.keys import provider_of
from connectory.settings import read_settings
from connectory.startup import CannotStart, open_database
from connectory.testing.ports import free_port
from connectory.vault import KeyRingInvalid, TransitConfig, TransitWrappedKeys, generate_keyring
from servers.openbao.server import OpenBaoServer, TokenReviews
from testkit.service import RunningService, run_command, running_service


@pytest.fixture(scope="module")
def openbao() -> Iterator[OpenBaoServer]:
    with OpenBaoServer() as server:
        yield server


@pytest.fixture
def credential(openbao, tmp_path) -> Path:
    """A file with a token that may use the key."""
    path = tmp_path / "token"
    path.write_text(f"{openbao.token()}\n")
    return path


@pytest.fixture
def keys(openbao, credential, tmp_path) -> TransitWrappedKeys:
    config = TransitConfig(address=openbao.address, auth="token", credential_file=credential)
    return TransitWrappedKeys(tmp_path / "keys.json", config=config)


def wrapped(keys: TransitWrappedKeys) -> dict[str, str]:
    return json.loads(keys.path.read_text())["keys"]


def refusal(keys: TransitWrappedKeys) -> str:
    with pytest.raises(KeyRingInvalid) as refused:
        keys.load()
    error = refused.value
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__  # a library's error would quote what was sent
    return str(error)


def test_a_key_file_holds_wrapped_keys_and_no_key(keys):
    made = keys.create()
    assert keys.load() == made
    [text] = wrapped(keys).values()
    assert text.startswith("vault:v1:")
    assert base64.b64encode(made.key(made.primary)).decode() not in keys.path.read_text()
    more = keys.change(lambda ring: ring.with_new_key(promote=True))
    assert keys.load() == more


def test_a_wrapped_key_may_be_readable_for_all(keys):
    """It is worth nothing without the server."""
    made = keys.create()
    keys.path.chmod(0o644)
    assert keys.load() == made


def test_a_wrapped_key_opens_only_under_its_own_id(keys):
    keys.create()
    keys.change(lambda ring: ring.with_new_key(promote=False))
    document = json.loads(keys.path.read_text())
    first, second = document["keys"]
    document["keys"] = {first: document["keys"][second], second: document["keys"][first]}
    keys.path.write_text(json.dumps(document))
    line = refusal(keys)
    assert "cannot be unwrapped: it was wrapped by another transit key, or under another id" in line
    assert "vault:v1" not in line


def test_keys_outlive_a_rotation_of_the_transit_key(openbao, keys):
    """And are wrapped with its new version by `rewrap`, after which the old one may go."""
    made = keys.create()
    openbao.ask("POST", "transit/keys/connectory/rotate")
    assert keys.load() == made
    newest = openbao.ask("GET", "transit/keys/connectory")["data"]["latest_version"]
    keys.rewrap()
    assert all(text.startswith(f"vault:v{newest}:") for text in wrapped(keys).values())
    openbao.ask("POST", "transit/keys/connectory/config", min_decryption_version=newest)
    try:
        assert keys.load() == made
    finally:
        openbao.ask("POST", "transit/keys/connectory/config", min_decryption_version=1)


def test_wrapping_again_by_command_is_in_the_audit_trail(openbao, keys, credential, tmp_path):
    ring = keys.create()
    home = tmp_path / "home"
    open_database(read_settings(home=home)).close()
    environment = {
        "CONNECTORY_HOME": home,
        "CONNECTORY_KEYS_PROVIDER": "transit",
        "CONNECTORY_VAULT_ADDRESS": openbao.address,
        "CONNECTORY_VAULT_CREDENTIAL_FILE": credential,
    }

    def command(*arguments: str) -> str:
        env = {name: str(value) for name, value in environment.items()}
        return CliRunner().invoke(app, arguments, env=env, catch_exceptions=False).stdout

    command("keys", "rewrap", str(keys.path))
    [entry] = [json.loads(line) for line in command("audit", "--json", "--action", "keys_rewrapped").splitlines()]
    assert (entry["actor"], entry["result_code"]) == ("keys rewrap", "succeeded")
    assert entry["details"]["primary"] == ring.primary


def test_plain_keys_are_refused_until_they_are_wrapped(keys):
    made = generate_keyring(keys.path)
    assert "is not wrapped by the transit engine; run: connectory keys rewrap" in refusal(keys)
    keys.rewrap()
    assert keys.load() == made


def test_a_refused_token_is_told_and_not_shown(openbao, keys, credential):
    keys.create()
    for token in (openbao.token("default"), "s.S3cretTokenThatIsNotKnown"):
        credential.write_text(token)
        line = refusal(keys)
        assert "refused the credential for transit/decrypt/connectory; check CONNECTORY_VAULT_CREDENTIAL_FILE" in line
        assert token not in line


@pytest.mark.parametrize("content", ["", "\n", "a token\nand more\n", "ключ"])
def test_a_credential_file_without_a_credential_is_told(keys, credential, content):
    keys.create()
    credential.write_text(content)
    line = refusal(keys)
    assert line.startswith("CONNECTORY_VAULT_CREDENTIAL_FILE: ")
    assert "and more" not in line


def test_another_key_and_another_mount_are_told(openbao, keys, credential):
    keys.create()
    root = TransitConfig(openbao.address, "token", credential, key="nothing")
    credential.write_text(openbao.root_token)
    assert "transit/decrypt/nothing" in refusal(TransitWrappedKeys(keys.path, config=root))
    elsewhere = TransitConfig(openbao.address, "token", credential, mount="elsewhere")
    assert "has nothing at elsewhere/decrypt/connectory" in refusal(TransitWrappedKeys(keys.path, config=elsewhere))


def test_logging_in_by_app_role(openbao, keys, tmp_path):
    role, secret = openbao.app_role()
    file = tmp_path / "secret-id"
    file.write_text(secret)
    made = TransitWrappedKeys(keys.path, config=TransitConfig(openbao.address, "approle", file, role=role)).create()
    assert keys.load() == made
    file.write_text("not-a-secret-id")
    line = refusal(TransitWrappedKeys(keys.path, config=TransitConfig(openbao.address, "approle", file, role=role)))
    assert "refused the request to auth/approle/login" in line
    assert "not-a-secret-id" not in line


def test_logging_in_by_kubernetes(openbao, keys, tmp_path, certificates):
    now = int(time.time())
    claims = {"iss": "kubernetes/serviceaccount", "kubernetes.io/serviceaccount/namespace": "apps"}
    claims |= {"kubernetes.io/serviceaccount/service-account.name": "connectory"}
    claims |= {
        "kubernetes.io/serviceaccount/service-account.uid": "1",
        "exp": now + 3600,
        "nbf": now - 60,
        "iat": now - 60,
    }
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)] + [
        secrets.token_bytes(256)
    ]
    jwt = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    file = tmp_path / "service-account"
    with TokenReviews(jwt) as cluster:
        config = TransitConfig(openbao.address, "kubernetes", file, role=openbao.kubernetes_role(cluster, certificates))
        file.write_text(jwt)
        made = TransitWrappedKeys(keys.path, config=config).create()
    assert keys.load() == made


def test_a_certificate_is_verified_with_the_authority_that_was_given(tmp_path, credential):
    with OpenBaoServer(tls=True) as server:
        credential.write_text(server.token())
        path = tmp_path / "keys.json"
        trusting = TransitConfig(server.address, "token", credential, ca_file=server.ca_file)
        made = TransitWrappedKeys(path, config=trusting).create()
        assert TransitWrappedKeys(path, config=trusting).load() == made
        line = refusal(TransitWrappedKeys(path, config=TransitConfig(server.address, "token", credential)))
    assert "has a certificate that cannot be verified; set CONNECTORY_VAULT_CA_FILE" in line


def test_without_hvac_the_line_names_the_extra(keys, monkeypatch):
    keys.create()
    monkeypatch.setitem(sys.modules, "hvac", None)
    assert 'run: pip install "connectory[vault]"' in refusal(keys)


def test_a_token_of_the_environment_is_not_used(openbao, keys, credential, monkeypatch):
    """hvac would take it where none is given; ours is always given."""
    keys.create()
    monkeypatch.setenv("VAULT_TOKEN", openbao.root_token)
    credential.write_text("s.unknown")
    assert "refused the credential" in refusal(keys)


@pytest.fixture
def transit(openbao, credential) -> dict[str, str]:
    return {
        "CONNECTORY_KEYS_PROVIDER": "transit",
        "CONNECTORY_VAULT_ADDRESS": openbao.address,
        "CONNECTORY_VAULT_CREDENTIAL_FILE": str(credential),
    }


def store_secrets(service: RunningService, key: str, headers: dict[str, str]) -> None:
    item = {"key": key, "connection_type": "postgres", "access": "read"}
    item |= {"secrets": {"host": "h", "password": "p", "username": "u"}}
    answer = httpx.patch(f"{service.url}/api/v1/connection", json=[item], headers=headers)
    assert answer.json()["failed"] == []


def test_the_service_goes_on_without_the_server_and_does_not_start_without_it(tmp_path, credential, transit):
    home = tmp_path / "home"
    with OpenBaoServer() as server:
        credential.write_text(server.token())
        settings = transit | {"CONNECTORY_VAULT_ADDRESS": server.address}
        with running_service(home, settings) as service:
            headers = {"Authorization": f"Bearer {run_command(home, 'token', settings=settings).stdout.strip()}"}
            store_secrets(service, "books", headers)
            server.stop()
            shown = httpx.get(f"{service.url}/api/v1/connection/books", headers=headers).json()
            assert shown["secrets_state"] == "stored"
            store_secrets(service, "films", headers)
            service.process.send_signal(signal.SIGHUP)
            line = event_of(service, "keys_not_reloaded")
            assert "does not answer" in line["reason"]
            assert (
                httpx.get(f"{service.url}/api/v1/connection/films", headers=headers).json()["secrets_state"] == "stored"
            )
            assert service.end()[0] == 0
    done = run_command(home, "serve", "--port", "0", settings=settings)
    [refused] = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert refused.startswith(f"CONNECTORY_VAULT_ADDRESS: the server at {server.address} does not answer")


def event_of(service: RunningService, event: str, seconds: float = 30) -> dict[str, str]:
    """The service's log line of an event, as soon as it is there."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for line in service.log.read_text().splitlines():
            if json.loads(line).get("event") == event:
                return json.loads(line)
        time.sleep(0.02)
    raise AssertionError(service.log.read_text())


def test_no_setting_shows_a_credential(openbao, tmp_path, credential, transit):
    home = tmp_path / "home"
    shown = run_command(home, "settings", settings=transit)
    assert shown.returncode == 0
    assert f"CONNECTORY_VAULT_CREDENTIAL_FILE={credential}" in shown.stdout
    assert credential.read_text().strip() not in shown.stdout + shown.stderr


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"CONNECTORY_VAULT_ADDRESS": ""}, "CONNECTORY_VAULT_ADDRESS: must be given"),
        ({"CONNECTORY_VAULT_ADDRESS": "http://vault.example:8200"}, "plain http only reaches an agent on loopback"),
        (
            {"CONNECTORY_VAULT_CREDENTIAL_FILE": ""},
            "CONNECTORY_VAULT_CREDENTIAL_FILE: must be given to log in by `token`",
        ),
        ({"CONNECTORY_VAULT_AUTH": "approle"}, "CONNECTORY_VAULT_ROLE: must be given to log in by `approle`"),
        ({"CONNECTORY_VAULT_CREDENTIAL_FILE": "/nonexistent"}, "cannot be read (No such file or directory)"),
        ({"CONNECTORY_VAULT_ADDRESS": f"http://127.0.0.1:{free_port()}"}, "does not answer"),
    ],
)
def test_settings_that_do_not_work_are_told(tmp_path, transit, settings, sentence, monkeypatch):
    """In the sentence that `connectory serve` ends with; above is one of them with it."""
    for name, value in (transit | settings).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "keys.json").write_text('{"primary": "a", "keys": {"a": "vault:v1:AAAA"}}')
    with pytest.raises((CannotStart, KeyRingInvalid)) as refused:
        provider_of(read_settings(home=tmp_path)).load()
    assert sentence in str(refused.value)
