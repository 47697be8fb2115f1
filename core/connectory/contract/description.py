"""What a connector says of itself to people and user interfaces."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Description(BaseModel):
    """The optional answer of `connectory_describe`. Everything has a default.

    Attributes:
        human_readable: the name to show, e.g. `PostgreSQL`. Default: the identifier with spaces and capitals.
        icon: an SVG document as text, a few hundred bytes. Default: none.
        user_guide: address of a page for the person who fills in the secrets. Default: none.
        category: a word for grouping in a user interface, e.g. `DATABASE` or `CRM`. Default: none.
        supported_actions: what the connector can do with a stored connection. Default: nothing yet.
        authorization_required: whether a person must consent in a browser before the connection works.
        drivers: modules that the test imports. They are imported ahead of the first test, and when one is missing the
            test answers `driver_missing` with the command that installs `distribution`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    human_readable: str = Field(default="", max_length=80)
    icon: str | None = Field(default=None, max_length=16_384, pattern=r"^\s*<svg[\s>]")
    user_guide: str | None = Field(default=None, max_length=500, pattern=r"^https://")
    category: str | None = Field(default=None, max_length=40)
    supported_actions: tuple[str, ...] = ()
    authorization_required: bool = False
    drivers: tuple[str, ...] = ()
