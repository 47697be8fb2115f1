"""What requests and answers say of clients of the API, and of their tokens."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from connectory.api.http.answers import Answer
from connectory.api.http.paging import Page
from connectory.scopes import SCOPES
from connectory.store.client_listing import ID_LENGTH

_Scope: Any = Literal[tuple(SCOPES)]
_ID = "5f0c6e0e-3c3e-4bd1-9f2d-0b6d3f1a7c11"
_TOKEN_ID = "9f86d081884c7d65"

ClientId = Annotated[
    str,
    Path(description="Id of the client.", examples=[_ID], json_schema_extra={"pattern": r"^[A-Za-z0-9-]{1,64}$"}),
]
TokenId = Annotated[
    str,
    Path(
        description="Id of the token, as they are listed.",
        examples=[_TOKEN_ID],
        json_schema_extra={"pattern": f"^[0-9a-f]{{{ID_LENGTH}}}$"},
    ),
]


class ApiClient(Answer):
    """A client of the API."""

    client_id: Annotated[str, Field(examples=[_ID])]
    name: Annotated[str, Field(examples=["dashboard"])]
    scopes: Annotated[list[str], Field(examples=[["connection:read"]])]
    created_at: Annotated[datetime, Field(examples=["2026-11-23T12:30:15.123456+00:00"])]
    tokens: Annotated[int, Field(ge=0, description="How many of its tokens have not expired.", examples=[1])]


class NewClient(ApiClient):
    """A client that was just made, with its secret, which is shown this once."""

    client_secret: Annotated[str, Field(examples=["…"])]


class ClientPage(Page[ApiClient]):
    """Clients, oldest first."""


class ClientRequest(BaseModel):
    """A client to make."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[
        str,
        Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", description="What the client is for."),
    ]
    scopes: Annotated[
        list[_Scope],
        Field(min_length=1, max_length=100, description="What it may do; nothing that your token may not."),
    ]


class SecretRequest(BaseModel):
    """What else is to be done."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    revoke_tokens: Annotated[bool, Field(description="Revoke its tokens too, as where the secret was stolen.")] = False


class ClientSecret(Answer):
    """A client's new secret, which is shown this once."""

    client_id: Annotated[str, Field(examples=[_ID])]
    client_secret: Annotated[str, Field(examples=["…"])]
    revoked_tokens: Annotated[int, Field(ge=0, examples=[0])]


class ApiToken(Answer):
    """A token, without what it is used by."""

    id: Annotated[
        str, Field(description="Good for nothing but to revoke it; no part of the token.", examples=[_TOKEN_ID])
    ]
    scopes: Annotated[list[str], Field(examples=[["connection:read"]])]
    created_at: Annotated[datetime, Field(examples=["2026-11-23T12:30:15.123456+00:00"])]
    expires_at: Annotated[datetime, Field(examples=["2026-11-24T00:30:15.123456+00:00"])]


class TokenPage(Page[ApiToken]):
    """Tokens that have not expired, newest first."""
