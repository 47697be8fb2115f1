"""One set of tables for every SQL database, and the datasets that a discovery has to make of them.

Two schemas: keys of one column and of several, references within a table, in a circle, by several columns and to the other
schema; a view; names in upper case, with spaces, quotes and letters beyond ASCII.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from connectory.api.dataset_items import check_datasets
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
        keys: whether primary keys can be stated.
        references: whether foreign keys can be.
        lengths: whether the catalogue tells the lengths of texts.
        views: whether it tells of views.
        weird: the name of a table, and of a column in it.
    """

    quote: Callable[[str], str]
    one: str
    two: str
    keys: bool = True
    references: bool = True
    lengths: bool = True
    views: bool = True
    weird: str = WEIRD

    def statements(self) -> list[str]:
        """Make the tables, in schemas that exist."""
        key = " PRIMARY KEY" if self.keys else ""
        return [
            self._table(self.two, "Far", f"Id integer{key}", "Note varchar(12)"),
            self._table(self.one, "region", "country varchar(2) NOT NULL", "number integer NOT NULL", *self._pair()),
            self._table(
                self.one,
                self.weird,
                f"Id integer{key}",
                f"{self.weird} varchar(40) NOT NULL",
                "price decimal(8,2)",
                "day date",
                "boss integer",
                "country varchar(2)",
                "number integer",
                "far integer",
                *self._foreign("boss", self.one, self.weird, "Id"),
                *self._foreign("far", self.two, "Far", "Id"),
                *self._foreign("number, country", self.one, "region", "number, country"),
            ),
            self._table(self.one, "chicken", f"id integer{key}", "egg_id integer"),
            self._table(
                self.one,
                "egg",
                f"id integer{key}",
                "chicken_id integer",
                *self._foreign("chicken_id", self.one, "chicken", "id"),
            ),
            *(
                f"ALTER TABLE {self._place(self.one, 'chicken')} ADD {back}"
                for back in self._foreign("egg_id", self.one, "egg", "id")
            ),
            f"CREATE VIEW {self._place(self.one, 'seen')} AS SELECT 1 AS x",
        ]

    def _place(self, schema: str, name: str) -> str:
        return f"{self.quote(schema)}.{self.quote(name)}"

    def _table(self, schema: str, name: str, *parts: str) -> str:
        return f"CREATE TABLE {self._place(schema, name)} ({', '.join(map(self._part, parts))})"

    def _part(self, part: str) -> str:
        if part.startswith(("PRIMARY", "FOREIGN")):
            return part
        name, rest = (self.weird, part[len(self.weird) :]) if part.startswith(self.weird) else part.split(" ", 1)
        return f"{self.quote(name)} {rest}"

    def _names(self, names: str) -> str:
        return ", ".join(map(self.quote, names.split(", ")))

    def _pair(self) -> list[str]:
        return [f"PRIMARY KEY ({self._names('number, country')})"] if self.keys else []

    def _foreign(self, fields: str, schema: str, target: str, target_fields: str) -> list[str]:
        place = f"{self._place(schema, target)} ({self._names(target_fields)})"
        return [f"FOREIGN KEY ({self._names(fields)}) REFERENCES {place}"] if self.references else []

    def expected(self) -> dict[str, dict[str, dict[str, str]]]:
        """Each field's facts, by schema, collection and field."""
        id_ = "integer key" if self.keys else "integer"

        def to(facts: str, *target: str) -> str:
            return f"{facts} to {'.'.join(target)}" if self.references else facts

        def text(length: int) -> str:
            return f"string({length})" if self.lengths else "string"

        key = " key" if self.keys else ""
        return {
            self.one: {
                "region": {"country": f"{text(2)}{key}", "number": id_},
                self.weird: {
                    "Id": id_,
                    self.weird: text(40),
                    "price": "float",
                    "day": "string",
                    "boss": to("integer", self.one, self.weird, "Id"),
                    "country": to(text(2), self.one, "region", "country"),
                    "number": to("integer", self.one, "region", "number"),
                    "far": to("integer", self.two, "Far", "Id"),
                },
                "chicken": {"id": id_, "egg_id": to("integer", self.one, "egg", "id")},
                "egg": {"id": id_, "chicken_id": to("integer", self.one, "chicken", "id")},
            },
            self.two: {"Far": {"Id": id_, "Note": text(12)}},
        }

    def require_found(self, session: DataSession) -> None:
        """Discover both schemas twice, and require the same datasets, which are as expected and can be stored unchanged."""
        first, second = self._datasets(session), self._datasets(session)
        assert json.dumps(first) == json.dumps(second), f"{first}\nand then\n{second}"
        datasets, left_out = first
        found, expected = facts_of(datasets), self.expected()
        assert found == expected, f"{found}\nwas expected to be\n{expected}"
        assert [(one["collection"], one["reason"]) for one in left_out] == [("seen", "view")] * self.views, left_out
        assert not any(item.ignored for item in check_datasets(datasets, ()))

    def _datasets(self, session: DataSession) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        maker = DatasetMaker(("host", "database"), "product")
        for schema in (self.one, self.two):
            for info in session.discover({"schema": schema}):
                maker.add(as_told(info))
        return list(maker.finding.datasets.values()), maker.finding.left_out


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
