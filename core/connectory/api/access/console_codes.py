"""The extension grant of the console (RFC 6749 §4.5): a one-time code is exchanged for a bearer token, without credentials."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from fastapi import Request

from connectory.api.access.bearer import actor_of
from connectory.api.access.oauth import OauthRefused, address_of, refuse_guessing
from connectory.api.http.logs import log
from connectory.api.node.failed_logins import UNKNOWN
from connectory.api.node.service import Service
from connectory.store.audit import append
from connectory.store.clients import Grant, issue_token
from connectory.store.console_codes import use_code
from connectory.store.timestamps import utc_now

CONSOLE_CODE = "urn:connectory:grant-type:console-code"
"""The grant type."""

_SPENT = "The code is not known, used or expired; run `connectory console` again for a new one."


def exchange_code(service: Service, request: Request, form: Mapping[str, str]) -> tuple[str, Grant]:
    """Use the code of a form up. Returns a token with the scopes of the code, and what the code was good for.

    A code that is good is exchanged however many wrong ones came from the same address: nobody who guesses locks others out.

    Raises:
        OauthRefused: 400; or 429, where too many wrong ones came from this address.
    """
    if not (code := form.get("code")):
        raise OauthRefused("invalid_request", "Send the form field code.")
    address, now = address_of(request), utc_now()
    lifetime = timedelta(seconds=service.settings.token_lifetime)
    with service.store.write() as database:
        grant = use_code(database, code, now=now)
        if grant is not None:
            token, _ = issue_token(database, grant.client_id, scopes=grant.scopes, lifetime=lifetime, now=now)
            who = actor_of(request, grant.client_id)
            details = {"scopes": " ".join(sorted(grant.scopes)), "address": address}
            append(
                database,
                who.did("console_code_exchanged", object=grant.client_id, result_code="200", details=details),
            )
            return token, grant
    note_wrong(service, address)
    service.failed_logins.note(actor_of(request, UNKNOWN), address)
    log.warning("login failed", client=None, address=address)
    raise OauthRefused("invalid_grant", _SPENT)


def note_wrong(service: Service, address: str) -> None:
    """Count a code, or a token, that nobody was given: it is limited as failed logins with unknown ids are.

    Raises:
        OauthRefused: 429, where there were too many.
    """
    caller = (address, None)
    refuse_guessing(service, caller)
    service.login_limit.take(caller)
