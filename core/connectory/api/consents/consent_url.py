"""The address at which a person consents: the authorization request of RFC 6749 §4.1.1, with PKCE (RFC 7636).

Written out rather than left to an OAuth library: it is one query string and one hash. What libraries are good for,
the exchange of the code and the renewal of tokens, happens in the connector.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import secrets
from urllib.parse import SplitResult, urlencode, urlsplit

from connectory.contract.consent import Authorization


class ConsentImpossible(Exception):
    """A connector's authorization cannot be asked for; the message is a sentence that names what is wrong with it."""


def new_verifier() -> str:
    """A code verifier: 32 random bytes in base64url, the length that RFC 7636 §4.1 recommends."""
    return secrets.token_urlsafe(32)


def challenge_of(verifier: str) -> str:
    """The code challenge of a verifier by the method S256 (RFC 7636 §4.2)."""
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def consent_url(authorization: Authorization, state: str, verifier: str | None) -> str:
    """Where to send the person's browser.

    Args:
        authorization: what the connector asks for. Its redirect URI is sent as it is, byte for byte, because providers
            compare it with the one that was registered.
        state: of `store.authorizations`.
        verifier: of `new_verifier`; `None` where the provider takes no challenge.

    Raises:
        ConsentImpossible: an address is not https (or http on loopback), or has parts that it must not have; or an extra
            parameter stands where one of the protocol's own does.
    """
    address = _address("address of the provider's consent page", authorization.authorize_url)
    if address.query:
        raise ConsentImpossible("The address of the provider's consent page has a query.")
    _address("redirect URI", authorization.redirect_uri)
    if not authorization.client_id:
        raise ConsentImpossible("The client id is empty.")
    parameters = {
        "response_type": "code",
        "client_id": authorization.client_id,
        "redirect_uri": authorization.redirect_uri,
        "scope": " ".join(authorization.scopes),
        "state": state,
        "code_challenge": challenge_of(verifier) if verifier is not None else "",
        "code_challenge_method": "S256" if verifier is not None else "",
    }
    if parameters.keys() & authorization.extra_parameters.keys():
        raise ConsentImpossible("An extra parameter has the name of one that the protocol defines.")
    given = {name: value for name, value in parameters.items() if value}
    return f"{authorization.authorize_url}?{urlencode(given | dict(authorization.extra_parameters))}"


def _address(what: str, text: str) -> SplitResult:
    try:
        address = urlsplit(text)
        host, _ = address.hostname, address.port
    except ValueError:
        raise ConsentImpossible(f"The {what} is not an address.") from None
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text or not host:
        raise ConsentImpossible(f"The {what} is not an address.")
    if address.scheme != "https" and not (address.scheme == "http" and _is_loopback(host)):
        raise ConsentImpossible(f"The {what} does not begin with https://.")
    if address.username is not None or "#" in text:
        raise ConsentImpossible(f"The {what} has a user name or a fragment.")
    return address


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
