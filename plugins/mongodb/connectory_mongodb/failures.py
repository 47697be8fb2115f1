"""What the driver's exceptions mean; those of the server's answers by their numbers, which are those of its `error_codes.yml`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from connectory import CheckFailed, FailureCode
from connectory_mongodb.secrets import MongoDBSecrets

BY_CODE = {
    11: FailureCode.AUTH_FAILED,  # UserNotFound
    13: FailureCode.PERMISSION_DENIED,  # Unauthorized
    18: FailureCode.AUTH_FAILED,  # AuthenticationFailed
    50: FailureCode.TIMEOUT,  # MaxTimeMSExpired
    73: FailureCode.DATABASE_NOT_FOUND,  # InvalidNamespace
    334: FailureCode.AUTH_FAILED,  # MechanismUnavailable
    8000: FailureCode.AUTH_FAILED,  # AtlasError, which Atlas answers to a wrong login
}
REMEDIES = {
    FailureCode.AUTH_FAILED: (
        "The server rejected the credentials; check user name, password, and the database that holds the user: "
        "auth_source, or without it defaultauthdb."
    ),
    FailureCode.DATABASE_NOT_FOUND: (
        "The login was accepted, but the database of defaultauthdb does not exist; MongoDB creates one with its first collection."
    ),
}
_NO_USER = "The server wants a login; set username and password, or write them into the url."


@contextmanager
def driver_errors(secrets: MongoDBSecrets) -> Iterator[None]:
    """What the driver's exceptions mean; those of the server's answers by their numbers."""
    from bson.errors import BSONError
    from pymongo.errors import OperationFailure, PyMongoError

    try:
        yield
    except OperationFailure as error:
        code = FailureCode.TIMEOUT if error.timeout else BY_CODE.get(error.code or 0, FailureCode.QUERY_FAILED)
        if code is FailureCode.PERMISSION_DENIED and secrets.username is None:
            raise CheckFailed(FailureCode.AUTH_FAILED, remedy=_NO_USER) from error
        raise CheckFailed(code, remedy=REMEDIES.get(code)) from error
    except (PyMongoError, BSONError) as error:
        timed_out = isinstance(error, PyMongoError) and error.timeout
        raise CheckFailed(FailureCode.TIMEOUT if timed_out else FailureCode.PROTOCOL_MISMATCH) from error
