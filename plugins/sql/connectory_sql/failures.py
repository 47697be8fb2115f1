"""What the errors of databases mean for an operation, from their codes alone."""

from __future__ import annotations

from connectory import FailureCode
from connectory.data import DataFailure
from connectory.toolkit import failure_of_sqlstate

# ISO/IEC 9075-2, PostgreSQL ("PostgreSQL Error Codes") and ODBC ("Appendix A: ODBC Error Codes").
_BY_STATE: dict[str, DataFailure] = {
    "3F000": DataFailure.COLLECTION_MISSING,  # invalid schema name
    "42P01": DataFailure.COLLECTION_MISSING,  # PostgreSQL: undefined table
    "42S02": DataFailure.COLLECTION_MISSING,  # ODBC: base table or view not found
    "42703": DataFailure.FIELD_MISSING,  # PostgreSQL: undefined column
    "42S22": DataFailure.FIELD_MISSING,  # ODBC: column not found
    "42804": DataFailure.VALUE_REJECTED,  # PostgreSQL: datatype mismatch
    "42846": DataFailure.VALUE_REJECTED,  # PostgreSQL: cannot coerce
    "42883": DataFailure.VALUE_REJECTED,  # PostgreSQL: no operator for these types
    "55P03": DataFailure.LOCK_TIMEOUT,  # PostgreSQL: lock not available
    "40001": DataFailure.SERIALIZATION,  # serialization failure
    "40P01": DataFailure.SERIALIZATION,  # PostgreSQL: deadlock detected
}


def failure_of_state(state: str | None) -> FailureCode | DataFailure:
    """What an SQLSTATE means for an operation: `query_failed` for one that says nothing, and for `None`."""
    if state is not None and state in _BY_STATE:
        return _BY_STATE[state]
    if state is not None and state.startswith("22"):  # data exception
        return DataFailure.VALUE_REJECTED
    return failure_of_sqlstate(state)
