"""How the transactions of one open database are made."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from sqlalchemy.engine import Connection, Engine

Transactions = Callable[[], AbstractContextManager[Connection]]
"""A transaction with each call, committed at the end of the block, rolled back where the block raises."""


class Engines(NamedTuple):
    """What `Store` is made of.

    Attributes:
        read: sees one state of the database throughout a transaction, and cannot write.
        write: may write. It is on the disk when it has ended.
        write_asynchronously: may write. It is on the disk some moments later.
        look: runs single statements, each a transaction of its own.
        reads, writes: the engines behind them.
        close: closes all connections.
    """

    read: Transactions
    write: Transactions
    write_asynchronously: Transactions
    look: Transactions
    reads: Engine
    writes: Engine
    close: Callable[[], None]
