"""The consent of a person that a connection may need: OAuth 2.0 with an authorization code (RFC 6749 §4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Authorization:
    """Where a person consents to a connection, and with what parameters. What `connectory_authorization` returns.

    Attributes:
        authorize_url: the provider's authorization endpoint, without a query.
        token_url: the provider's token endpoint, where the code is exchanged.
        client_id: the client that asks.
        redirect_uri: where the provider sends the browser back to; exactly as registered with the provider.
        scopes: what is asked for, in order. Default: nothing, which is for the provider to interpret.
        pkce: whether the provider takes a code challenge (RFC 7636, method S256). Default no.
        extra_parameters: further query parameters of the authorization request. Default none.
    """

    authorize_url: str
    token_url: str
    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...] = ()
    pkce: bool = False
    extra_parameters: Mapping[str, str] = field(default_factory=dict)
