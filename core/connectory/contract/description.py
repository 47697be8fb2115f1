"""What a connector says of itself to people and user interfaces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from connectory.contract.check import FailureCode

_KEPT = frozenset(
    {
        FailureCode.SECRETS_MISSING,
        FailureCode.SECRETS_UNREADABLE,
        FailureCode.CONNECTOR_UNAVAILABLE,
        FailureCode.DRIVER_MISSING,
        FailureCode.ADDRESS_NOT_ALLOWED,
        FailureCode.RESOURCE_LIMIT,
        FailureCode.CRASHED,
        FailureCode.INTERNAL_DRIVER_ERROR,
    }
)
"""Codes by which the service tells of itself, or of what it keeps tests to."""


def _printable(sentence: str) -> str:
    if not sentence.isprintable():
        raise ValueError("must be one line of printable characters")
    return sentence


Sentence = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_printable)]


class Description(BaseModel):
    """The optional answer of `connectory_describe`. Everything has a default.

    Attributes:
        human_readable: the name to show, e.g. `PostgreSQL`. Default: the identifier with spaces and capitals.
        icon: an SVG document as text, a few hundred bytes: shapes, text and gradients, without comments, style sheets, scripts
            and links. One that holds more is not shown. Default: the service draws one from name, category and type.
        user_guide: address of a page for the person who fills in the secrets. Default: none.
        category: a word for grouping in a user interface, e.g. `DATABASE` or `CRM`. Default: none.
        supported_actions: what the connector can do with a stored connection. Default: nothing yet.
        authorization_required: whether a person must consent in a browser before the connection works.
        sentences: for failure codes, what people read in place of the standard sentence, such as
            `{FailureCode.DATABASE_NOT_FOUND: "The bucket does not exist."}`; at most 300 characters each. The remedy of a
            `CheckFailed` comes before them. Codes by which the service tells of itself cannot be among them. Default: none.
        drivers: modules that the test imports. They are imported ahead of the first test, and when one is missing the
            test answers `driver_missing` with the command that installs `distribution`.
        session_modules: modules that `open_session` imports besides. They are imported ahead of the first session, in a process
            apart from that of tests, which stay as small and as quick as they are.
        asks_name_servers: whether its code asks the DNS by itself, as for service records (SRV). That takes datagrams (UDP), of
            which tests have none otherwise; to have hosts looked up takes none. Default: no.
        native_ports: TCP ports that native code of a driver connects to by itself, where no field of the secrets is a `Port` that
            holds them. Python code needs none of them. Default: none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    human_readable: str = Field(default="", max_length=80)
    icon: str | None = Field(default=None, max_length=16_384, pattern=r"^\s*<svg[\s>]")
    user_guide: str | None = Field(default=None, max_length=500, pattern=r"^https://")
    category: str | None = Field(default=None, max_length=40)
    supported_actions: tuple[str, ...] = ()
    authorization_required: bool = False
    sentences: Mapping[FailureCode, Sentence] = {}
    drivers: tuple[str, ...] = ()
    session_modules: tuple[str, ...] = ()
    asks_name_servers: bool = False
    native_ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = Field(default=(), max_length=16)

    @field_validator("sentences")
    @classmethod
    def _of_the_far_end(cls, sentences: Mapping[FailureCode, str]) -> Mapping[FailureCode, str]:
        if kept := sorted(sentences.keys() & _KEPT):
            raise ValueError(f"the service itself says {', '.join(kept)}")
        return sentences
