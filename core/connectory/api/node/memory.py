"""Memory that was needed once, and goes back to the system."""

from __future__ import annotations

import asyncio

from connectory.checks.linux import give_back_memory

LARGE = 2**20
"""Bytes of a document after which it is worth it: looking for what to give back takes some milliseconds."""
_LATER = 1.0
"""Seconds until whoever needed it has let go of it: an answer is sent first."""


def give_back_later() -> None:
    """Soon, have the allocator give back what it keeps of what was freed, beside the event loop.

    Of the tens of MiB that a discovery of thousands of tables takes for a moment, it keeps most by itself.
    """
    loop = asyncio.get_running_loop()
    loop.call_later(_LATER, loop.run_in_executor, None, give_back_memory)
