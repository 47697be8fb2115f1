"""Keys that HashiCorp Vault or OpenBao protects: each is kept as what the transit engine made of it, "vault:v1:...".

The engine is asked when a key file is read or written, for each key once, and never for a row: the unwrapped keys stay
in memory, as those of a plain key file do. The key's id goes along as associated data, so a wrapped key opens only under
its own id. Needs `hvac`, which the extra `connectory[vault]` brings.
"""

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from connectory.vault.document import PLAIN, PlainKeys, key_of_base64
from connectory.vault.errors import KeyRingInvalid

if TYPE_CHECKING:
    import hvac

TransitAuth = Literal["token", "kubernetes", "approle"]

TIMEOUT = 10
"""Seconds that connecting, and each answer, may take."""

_WRAPPED = "vault:v"
_MAX_CREDENTIAL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class TransitConfig:
    """Where the transit engine is, and how to log in.

    Attributes:
        address: of the server, like "https://vault.example:8200".
        auth: how to log in: with a token, a Kubernetes service account, or an AppRole.
        credential_file: holds the token, the service account's JWT, or the AppRole's secret id. Read at each login.
        role: the Kubernetes role, or the AppRole's role id; not used with a token.
        auth_mount: where the auth method is mounted; None: "kubernetes" or "approle".
        mount, key: where the engine is mounted, and the name of its key.
        namespace: of Vault Enterprise or OpenBao.
        ca_file: CA certificates (PEM) that the server's is verified with; None: those that `certifi` brings.
    """

    address: str
    auth: TransitAuth
    credential_file: Path
    role: str | None = None
    auth_mount: str | None = None
    mount: str = "transit"
    key: str = "connectory"
    namespace: str | None = None
    ca_file: Path | None = None


@contextmanager
def transit_keys(config: TransitConfig, *, take_plain: bool = False) -> Iterator["TransitKeys"]:
    """A codec that is logged in.

    Args:
        take_plain: read keys that are not wrapped too, so that they can be written wrapped.

    Raises:
        KeyRingInvalid: `hvac` is not installed, the credential cannot be read, the server does not answer or refuses it.
    """
    client = _client(config)
    try:
        _log_in(client, config)
        yield TransitKeys(client, config, take_plain=take_plain)
    finally:
        client.adapter.close()


class TransitKeys:
    """Keys as the transit engine wraps them."""

    def __init__(self, client: "hvac.Client", config: TransitConfig, *, take_plain: bool) -> None:
        self._transit, self._config, self.confidential = client.secrets.transit, config, take_plain

    def encode(self, kid: str, key: bytes) -> str:
        """What the newest version of the transit key makes of a key."""
        plaintext = base64.b64encode(key).decode()
        call = partial(self._transit.encrypt_data, plaintext=plaintext, associated_data=_base64(kid))
        return self._ask(call, "ciphertext", f"encrypt/{self._config.key}")

    def decode(self, where: str, kid: str, text: object) -> bytes:
        """The key that was wrapped."""
        if isinstance(text, str) and text.startswith(PLAIN):
            if self.confidential:
                return PlainKeys().decode(where, kid, text)
            raise KeyRingInvalid(f"{where} is not wrapped by the transit engine; run: connectory keys rewrap")
        if not isinstance(text, str) or not text.startswith(_WRAPPED):
            raise KeyRingInvalid(f'{where} does not start with "{_WRAPPED}"; restore the key file from a backup.')
        call = partial(self._transit.decrypt_data, ciphertext=text, associated_data=_base64(kid))
        return key_of_base64(where, self._ask(call, "plaintext", f"decrypt/{self._config.key}", where))

    def _ask(self, call: Callable[..., Any], member: str, path: str, where: str = "") -> str:
        with _told(self._config, f"{self._config.mount}/{path}", where):
            answer = call(name=self._config.key, mount_point=self._config.mount)
            return str(answer["data"][member])


def _client(config: TransitConfig) -> "hvac.Client":
    try:
        # Imported here: only deployments with this provider need it, and it takes a tenth of a second.
        import hvac
        import requests
    except ModuleNotFoundError as error:
        raise KeyRingInvalid(f'The transit engine needs {error.name}; run: pip install "connectory[vault]"') from None
    session = requests.Session()
    session.trust_env = False  # no proxy and no netrc of the environment learns the token
    session.verify = True if config.ca_file is None else str(config.ca_file)
    # Redirects are not followed: `requests` would send the token along, to any host.
    return hvac.Client(
        url=config.address,
        token="",
        namespace=config.namespace,
        session=session,
        verify=session.verify,
        timeout=TIMEOUT,
        allow_redirects=False,
    )


def _log_in(client: "hvac.Client", config: TransitConfig) -> None:
    credential = _credential(config.credential_file)
    if config.auth == "token":
        client.token = credential
        return
    role, mount = config.role or "", config.auth_mount or config.auth
    with _told(config, f"auth/{mount}/login"):
        if config.auth == "kubernetes":
            client.auth.kubernetes.login(role, credential, mount_point=mount)
        else:
            client.auth.approle.login(role, credential, mount_point=mount)


def _credential(path: Path) -> str:
    try:
        with path.open(encoding="ascii") as file:
            credential = file.read(_MAX_CREDENTIAL_BYTES).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise KeyRingInvalid(f"CONNECTORY_VAULT_CREDENTIAL_FILE: {path} cannot be read ({reason}).") from None
    if not credential or not credential.isprintable():
        raise KeyRingInvalid(f"CONNECTORY_VAULT_CREDENTIAL_FILE: {path} does not hold one line with a credential.")
    return credential


@contextmanager
def _told(config: TransitConfig, path: str, where: str = "") -> Iterator[None]:
    """Say what went wrong in our own words: the server's may quote what was sent."""
    from hvac import exceptions
    from requests import RequestException
    from requests.exceptions import SSLError

    server = f"CONNECTORY_VAULT_ADDRESS: the server at {config.address}"
    try:
        yield
    except SSLError:
        reason = "has a certificate that cannot be verified; set CONNECTORY_VAULT_CA_FILE to its authority's."
    except (RequestException, exceptions.VaultDown, exceptions.BadGateway, exceptions.VaultNotInitialized) as error:
        state = "does not answer" if isinstance(error, RequestException) else "is sealed, or not in service"
        reason = f"{state}; the keys cannot be unwrapped until it is back."
    except (exceptions.Forbidden, exceptions.Unauthorized):
        reason = f"refused the credential for {path}; check CONNECTORY_VAULT_CREDENTIAL_FILE and its policy (update on {path})."
    except exceptions.InvalidPath:
        reason = f"has nothing at {path}; check the mount's and the key's name."
    except exceptions.InvalidRequest:
        about = (
            f" {where} cannot be unwrapped: it was wrapped by another transit key, or under another id."
            if where
            else ""
        )
        reason = f"refused the request to {path}; check the key's name, the role and the credential.{about}"
    except (exceptions.VaultError, KeyError, TypeError, ValueError) as error:
        reason = f"gave an answer to {path} that is not understood ({type(error).__name__}); check the address."
    else:
        return
    raise KeyRingInvalid(f"{server} {reason}") from None


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
