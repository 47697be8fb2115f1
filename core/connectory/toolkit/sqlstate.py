"""What an SQLSTATE means for a connection test."""

from __future__ import annotations

from connectory.contract.check import FailureCode

# ISO/IEC 9075-2, table of SQLSTATE classes and subclasses, and what PostgreSQL ("PostgreSQL Error Codes") and ODBC ("Appendix A:
# ODBC Error Codes") add to it.
_BY_STATE = {
    "28000": FailureCode.AUTH_FAILED,  # invalid authorization specification
    "28P01": FailureCode.AUTH_FAILED,  # PostgreSQL: invalid password
    "3D000": FailureCode.DATABASE_NOT_FOUND,  # invalid catalog name
    "3F000": FailureCode.SCHEMA_NOT_FOUND,  # invalid schema name
    "42501": FailureCode.PERMISSION_DENIED,  # PostgreSQL: insufficient privilege
    "57014": FailureCode.TIMEOUT,  # PostgreSQL: query canceled
    "HYT00": FailureCode.TIMEOUT,  # ODBC: timeout expired
    "HYT01": FailureCode.TIMEOUT,  # ODBC: connection timeout expired
}


def failure_of_sqlstate(state: str | None) -> FailureCode:
    """The code for an SQLSTATE, five characters; `query_failed` for any that says nothing of the connection, and for `None`."""
    return _BY_STATE.get(state or "", FailureCode.QUERY_FAILED)
