"""One set of tables for every SQL database, and the datasets that a discovery has to make of them.

Two schemas: keys of one column and of several, references within a table, in a circle, by several columns and to the other
schema; a view; names in upper case, with spaces, quotes and letters beyond ASCII.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from connectory.api.datasets.dataset_items import check_datasets
from connectory.checks.sessions.facts import as_told
from connectory.data import DataSession
from connectory.discovery.datasets import DatasetMaker

WEIRD = 'Kund\'in "é" %s :x'


def double_quoted(name: str) -> str:
    """A name in standard SQL."""
    return '"' + name.replace('"', '""') + '"'


def backquoted(name: str) -> str:
    """A name in MySQL's SQL, and in BigQuery's where it has no backtick."""
    return "`" + name.replace("`", "``") + "`"


class Held(NamedTuple):
    """The tables in one product's SQL.

    Attributes:
        quote: writes a name.
        one: the schema that most tables are in.
        two: the other schema.
        afar: whether a foreign key can refer to its own table, and to one of another schema.
        weird: the name of a table, and, where `weird_column` is none, of a column in it.
        weird_column: the name of that column. Default: the table's.
    """

    quote: Callable[[str], str]
    one: str
    two: str
    afar: bool = True
    weird: str = WEIRD
    weird_column: str = ""

    def statements(self) -> list[str]:
        """Make the tables, in schemas that exist."""
        return [
            self._table(self.two, "Far", "Id integer PRIMARY KEY", "Note varchar(12)"),
            self._table(
                self.one,
                "region",
                "country varchar(2) NOT NULL",
                "number integer NOT NULL",
                f"PRIMARY KEY ({self._names('number, country')})",
            ),
            self._table(
                self.one,
                self.weird,
                "Id integer PRIMARY KEY",
                f"{self._column} varchar(40) NOT NULL",
                "price decimal(8,2)",
                "day date",
                "boss integer",
                "country varchar(2)",
                "number integer",
                "far integer",
                *(self._foreign("boss", self.one, self.weird, "Id") if self.afar else []),
                *(self._foreign("far", self.two, "Far", "Id") if self.afar else []),
                *self._foreign("number, country", self.one, "region", "number, country"),
            ),
            self._table(self.one, "chicken", "id integer PRIMARY KEY", "egg_id integer"),
            self._table(
                self.one,
                "egg",
                "id integer PRIMARY KEY",
                "chicken_id integer",
                *self._foreign("chicken_id", self.one, "chicken", "id"),
            ),
            *(
                f"ALTER TABLE {self._place(self.one, 'chicken')} ADD {back}"
                for back in self._foreign("egg_id", self.one, "egg", "id")
            ),
            f"CREATE VIEW {self._place(self.one, 'seen')} AS SELECT 1 AS x",
        ]

    @property
    def _column(self) -> str:
        return self.weird_column or self.weird

    def _place(self, schema: str, name: str) -> str:
        return f"{self.quote(schema)}.{self.quote(name)}"

    def _table(self, schema: str, name: str, *parts: str) -> str:
        return f"CREATE TABLE {self._place(schema, name)} ({', '.join(map(self._part, parts))})"

    def _part(self, part: str) -> str:
        if part.startswith(("PRIMARY", "FOREIGN")):
            return part
        own = self._column
        name, rest = (own, part[len(own) :]) if part.startswith(own) else part.split(" ", 1)
        return f"{self.quote(name)} {rest}"

    def _names(self, names: str) -> str:
        return ", ".join(map(self.quote, names.split(", ")))

    def _foreign(self, fields: str, schema: str, target: str, target_fields: str) -> list[str]:
        place = f"{self._place(schema, target)} ({self._names(target_fields)})"
        return [f"FOREIGN KEY ({self._names(fields)}) REFERENCES {place}"]

    def expected(self) -> dict[str, dict[str, dict[str, str]]]:
        """Each field's facts, by schema, collection and field."""

        def afar(*target: str) -> str:
            return f"integer to {'.'.join(target)}" if self.afar else "integer"

        return {
            self.one: {
                "region": {"country": "string(2) key", "number": "integer key"},
                self.weird: {
                    "Id": "integer key",
                    self._column: "string(40)",
                    "price": "float",
                    "day": "string",
                    "boss": afar(self.one, self.weird, "Id"),
                    "country": f"string(2) to {self.one}.region.country",
                    "number": f"integer to {self.one}.region.number",
                    "far": afar(self.two, "Far", "Id"),
                },
                "chicken": {"id": "integer key", "egg_id": f"integer to {self.one}.egg.id"},
                "egg": {"id": "integer key", "chicken_id": f"integer to {self.one}.chicken.id"},
            },
            self.two: {"Far": {"Id": "integer key", "Note": "string(12)"}},
        }

    def require_found(self, session: DataSession) -> None:
        """Discover both schemas twice, and require the same datasets, which are as expected and can be stored unchanged."""
        first, second = self._datasets(session), self._datasets(session)
        assert json.dumps(first) == json.dumps(second), f"{first}\nand then\n{second}"
        datasets, left_out = first
        found, expected = facts_of(datasets), self.expected()
        assert found == expected, f"{found}\nwas expected to be\n{expected}"
        assert [(one["collection"], one["reason"]) for one in left_out] == [("seen", "view")], left_out
        assert not any(item.ignored for item in check_datasets(datasets, ()))

    def _datasets(self, session: DataSession) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        maker = DatasetMaker(("host", "database"), "product")
        for schema in (self.one, self.two):
            for info in session.discover({"schema": schema}):
                maker.add(as_told(info))
        return list(maker.finding.datasets.values()), maker.finding.left_out


def held_in_bigquery(one: str, two: str) -> Held:
    """Where a foreign key refers to another table of the same dataset, and a column's name is plain."""
    return Held(backquoted, one, two, afar=False, weird="Kund-in é x", weird_column="Kund_IN")


def facts_of(datasets: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, str]]]:
    """What datasets say of each field, as `Held.expected` writes it."""
    schemas = {dataset["fides_key"]: dataset["name"] for dataset in datasets}
    return {
        dataset["name"]: {
            collection["name"]: {field["name"]: _facts(field["fides_meta"], schemas) for field in collection["fields"]}
            for collection in dataset["collections"]
        }
        for dataset in datasets
    }


def _facts(meta: Mapping[str, Any], schemas: Mapping[str, str]) -> str:
    length = f"({meta['length']})" if "length" in meta else ""
    key = " key" if meta.get("primary_key") else ""
    to = "".join(f" to {schemas[there['dataset']]}.{there['field']}" for there in meta.get("references", ()))
    return f"{meta['data_type']}{length}{key}{to}"
