"""Open a deployment's keys, and read them again. Shared by the service and the commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from connectory.settings import Settings, listens_on_loopback
from connectory.startup import START, CannotStart
from connectory.store.audit import AuditEntry, append
from connectory.store.engine import Store
from connectory.store.key_records import record_keys
from connectory.store.rotation import SecretsStatus, status
from connectory.store.timestamps import utc_now
from connectory.vault import (
    EnvironmentKeys,
    FileKeys,
    KeyMismatch,
    KeyProvider,
    KeyRing,
    KeyRingInvalid,
    TransitConfig,
    TransitWrappedKeys,
    Vault,
)

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


def provider_of(settings: Settings, path: Path | None = None) -> KeyProvider:
    """Where the settings say that keys come from.

    Args:
        path: another key file than that of the settings.

    Raises:
        CannotStart: the settings are incomplete.
    """
    match settings.keys_provider:
        case "file":
            return FileKeys(path or settings.keys_path)
        case "transit":
            return TransitWrappedKeys(path or settings.keys_path, config=_transit_config(settings))
        case "environment":
            if path is not None:
                return FileKeys(path)
            document = settings.keys_json
            return EnvironmentKeys(document.get_secret_value() if document is not None else None)


def _transit_config(settings: Settings) -> TransitConfig:
    address = settings.vault_address
    if not address:
        raise CannotStart("CONNECTORY_VAULT_ADDRESS: must be given where CONNECTORY_KEYS_PROVIDER is `transit`.")
    scheme, host = urlsplit(address).scheme, urlsplit(address).hostname
    if not host or (scheme != "https" and not (scheme == "http" and listens_on_loopback(host))):
        raise CannotStart(
            "CONNECTORY_VAULT_ADDRESS: must be like https://vault.example:8200; plain http only reaches an agent on loopback."
        )
    credential = settings.vault_credential_file or (_SERVICE_ACCOUNT if settings.vault_auth == "kubernetes" else None)
    if credential is None:
        raise CannotStart(f"CONNECTORY_VAULT_CREDENTIAL_FILE: must be given to log in by `{settings.vault_auth}`.")
    if settings.vault_auth != "token" and not settings.vault_role:
        raise CannotStart(f"CONNECTORY_VAULT_ROLE: must be given to log in by `{settings.vault_auth}`.")
    return TransitConfig(
        address=address.rstrip("/"),
        auth=settings.vault_auth,
        credential_file=credential,
        role=settings.vault_role,
        auth_mount=settings.vault_auth_mount,
        mount=settings.vault_transit_mount,
        key=settings.vault_transit_key,
        namespace=settings.vault_namespace,
        ca_file=settings.vault_ca_file,
    )


def open_vault(settings: Settings, store: Store, *, warn: Callable[[str], None]) -> Vault:
    """Load the key ring, and note its keys in the database before anything is sealed with it.

    The embedded default generates a key file in the home folder. Elsewhere keys are given, never made up.

    Args:
        warn: is told, a sentence at a time, what does not keep the service from starting: keys that stored secrets need
            and the ring does not have, and a place of keys that is for development.

    Raises:
        CannotStart: with the reason.
    """
    provider = provider_of(settings)
    generates = settings.keys_file is None and settings.keys_provider != "environment"
    lost = generates and not settings.keys_path.exists()
    made: list[AuditEntry] = []
    if lost and not settings.embedded:
        raise CannotStart(
            "CONNECTORY_DATABASE_URL is set, so the key that seals secrets must be given: run `connectory keys "
            "generate PATH` once, keep the file safe, and set CONNECTORY_KEYS_FILE to it."
        )
    try:
        try:
            ring = provider.create() if lost else provider.load()
        except KeyRingInvalid:
            if not (lost and settings.keys_path.exists()):
                raise
            ring, lost = provider.load(), False  # another process that starts now was first
        if lost:
            made.append(
                START.did("key_created", object=ring.primary, details={"fingerprint": ring.fingerprint(ring.primary)})
            )
        try:
            conflicts = _record(store, ring, *made)
        except KeyMismatch as mismatch:
            if not (generates and settings.embedded):
                raise CannotStart(
                    f"{provider.setting}: {mismatch} To start without the old key, run: connectory keys add --promote"
                ) from None
            # The generated key file was lost: new secrets get a key of a new name, the old ones read as unreadable.
            ring = provider.change(lambda current: current.with_new_key(promote=True))
            made.append(
                START.did("key_added", object=ring.primary, details={"fingerprint": ring.fingerprint(ring.primary)})
            )
            conflicts = _record(store, ring, *made)
    except KeyRingInvalid as error:
        raise CannotStart(refusal(provider, error)) from None
    vault = Vault(ring)
    if provider.warning:
        warn(provider.warning)
    found = status(store, vault)
    if lost and found.unreadable_rows:
        warn(
            f"{provider.source[0].upper()}{provider.source[1:]} was not there, so it was made again with a new key; secrets "
            f"that were stored before cannot be read (connections: {found.unreadable_rows}). Restore the file, or store them "
            "again."
        )
    else:
        _tell(found, conflicts, provider, warn)
    return vault


def reload_keys(settings: Settings, store: Store, vault: Vault, *, warn: Callable[[str], None]) -> None:
    """Let a vault that is in use take the keys as they are now. Whatever is raised, it keeps those it has.

    Args:
        warn: as for `open_vault`.

    Raises:
        CannotStart: the keys cannot be read or used, with the reason.
        StoreUnavailable: the database does not answer, so it cannot be told that the keys may be used.
    """
    provider = provider_of(settings)
    try:
        ring = provider.load()
        conflicts = _record(store, ring)
    except KeyRingInvalid as error:
        raise CannotStart(refusal(provider, error)) from None
    except KeyMismatch as mismatch:
        raise CannotStart(f"{provider.setting}: {mismatch}") from None
    found = status(store, Vault(ring))
    vault.ring = ring
    _tell(found, conflicts, provider, warn)


def refusal(provider: KeyProvider, error: KeyRingInvalid) -> str:
    """The line for whoever set the keys up: which setting, and what is wrong."""
    sentence = str(error)
    return sentence if sentence.startswith("CONNECTORY_") else f"{provider.setting}: {sentence}"


def _record(store: Store, ring: KeyRing, *made: AuditEntry) -> tuple[str, ...]:
    with store.write() as database:
        conflicts = record_keys(database, ring, now=utc_now())
        append(database, *made)
        return conflicts


def _tell(found: SecretsStatus, conflicts: tuple[str, ...], provider: KeyProvider, warn: Callable[[str], None]) -> None:
    for kid in found.missing_kids:
        warn(f"The key {kid!r} is not in {provider.source}; connections that need it: {found.rows_by_kid[kid]}.")
    for kid in conflicts:
        differs = f"The key {kid!r} in {provider.source} differs from the key of this id that"
        if rows := found.rows_by_kid.get(kid):
            warn(f"{differs} stored secrets were sealed with (connections: {rows}); restore its bytes.")
        else:
            warn(f"{differs} a running service holds; give one of the two another id.")
