"""The engines of one open database."""

from typing import NamedTuple

from sqlalchemy.engine import Engine


class Engines(NamedTuple):
    """What `Store` makes its transactions with.

    Attributes:
        reads: sees one state of the database throughout a transaction, and cannot write.
        writes: begins transactions that may write.
        looks: runs single statements, each a transaction of its own.
    """

    reads: Engine
    writes: Engine
    looks: Engine
