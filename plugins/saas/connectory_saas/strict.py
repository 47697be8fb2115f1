"""What all parts of a definition have in common."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Line = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A text of one line."""

Mistake: TypeAlias = tuple[tuple[str | int, ...], str]
"""A place in a definition, and what is wrong there."""


class Strict(BaseModel):
    """Takes no unknown member."""

    # Built with what holds them, not once more each: that is most of what importing this module would cost.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)
