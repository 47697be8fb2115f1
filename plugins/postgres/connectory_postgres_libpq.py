"""libpq as psycopg2 brings it: its OpenSSL set up ahead of the first login, and what psycopg2 has no call for.

Imported where tests are forked from. What the first login of a process sets up, it finds ready.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

import psycopg2
import psycopg2._psycopg as extension
from psycopg2 import extensions

# PQERRORS_SQLSTATE of libpq-fe.h: errors read "SEVERITY:  SQLSTATE" and hold no text of the server's.
_PQERRORS_SQLSTATE = 3

with suppress(psycopg2.Error):  # a system's policy may forbid MD5; then the first login does all of this itself
    extensions.encrypt_password("", "", algorithm="md5")  # the one function that needs OpenSSL and no connection

_libpq = ctypes.CDLL(extension.__file__)
_libpq.PQsetErrorVerbosity.argtypes = [ctypes.c_void_p, ctypes.c_int]


def report_sqlstates_only(session: extensions.connection) -> None:
    """Make libpq report errors as SQLSTATEs: psycopg2 has no call for that."""
    _libpq.PQsetErrorVerbosity(session.pgconn_ptr, _PQERRORS_SQLSTATE)
