"""What the names of SQL's types mean, as they stand in catalogues."""

from __future__ import annotations

import re

from connectory.data import Kind

_NAMES = {
    Kind.INTEGER: (
        "int int2 int4 int8 int64 integer bigint smallint tinyint mediumint serial bigserial smallserial year byteint oid"
    ),
    Kind.DECIMAL: "numeric decimal number dec bignumeric bigdecimal money smallmoney",
    Kind.FLOAT: "float float4 float8 float64 real double double_precision binary_float",
    Kind.BOOLEAN: "bool boolean",
    Kind.BYTES: "bytea binary varbinary blob tinyblob mediumblob longblob bytes image bit_varying rowversion varbyte",
    Kind.DATE: "date",
    Kind.TIMESTAMP: (
        "timestamp timestamptz datetime datetime2 smalldatetime datetimeoffset timestamp_ntz timestamp_ltz timestamp_tz "
        "timestamp_without_time_zone timestamp_with_time_zone"
    ),
    Kind.UUID: "uuid uniqueidentifier",
    Kind.ANY: "json jsonb variant super sql_variant object map geography geometry",
}
_BY_NAME = {name: kind for kind, names in _NAMES.items() for name in names.split()}


def kind_of(native: str) -> Kind:
    """The kind of a type, from its name; text where the name is not known.

    >>> [kind_of(native).value for native in ("character varying(100)", "NUMERIC(10, 2)", "timestamp(3) without time zone")]
    ['string', 'decimal', 'timestamp']
    """
    words = re.sub(r"\([^)]*\)", " ", native.lower()).split()
    return _BY_NAME.get("_".join(words), _BY_NAME.get(words[0] if words else "", Kind.STRING))
