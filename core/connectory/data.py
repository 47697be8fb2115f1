"""For connectors whose connections are used, and not only tested: data sessions, and the words they speak in."""

from connectory.contract.data import (
    Batch,
    CollectionInfo,
    CollectionRef,
    FieldInfo,
    ForeignKey,
    Kind,
    Path,
    Privileges,
    Read,
    Rows,
    Scalar,
    Value,
)
from connectory.contract.session import DataFailure, DataSession, SessionContext, SessionFailed

__all__ = [
    "Batch",
    "CollectionInfo",
    "CollectionRef",
    "DataFailure",
    "DataSession",
    "FieldInfo",
    "ForeignKey",
    "Kind",
    "Path",
    "Privileges",
    "Read",
    "Rows",
    "Scalar",
    "SessionContext",
    "SessionFailed",
    "Value",
]
