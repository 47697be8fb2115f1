"""HTTP to the far end of a connection test, over vetted connections."""

from __future__ import annotations


class HttpClient:
    """What `CheckContext.http` gives."""
