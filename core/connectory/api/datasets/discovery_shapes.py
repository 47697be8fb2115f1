"""What requests and answers say of discoveries."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from connectory.api.http.answers import Answer
from connectory.api.testing.rights import AccessReport
from connectory.api.testing.test_runs import FailureFields, RetryAfter, Step

MOST_SCHEMAS = 100
"""Schemas that one discovery may be asked for by name."""
MOST_SAMPLES = 10_000
"""Documents of a collection that may be looked at."""


def _whole(value: Any) -> Any:
    """A number without a fraction is an integer in JSON, however it is written."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Scope(BaseModel):
    """What to look at, of all that the connection is for."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    schemas: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=1024)]],
        Field(min_length=1, max_length=MOST_SCHEMAS, description="Only these schemas.", examples=[["public"]]),
    ]


class DiscoveryRequest(BaseModel):
    """How to look. An empty body is one without members."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    scope: Annotated[Scope | None, Field(description="Default: all that the connection is for.")] = None
    sample: Annotated[
        int,
        BeforeValidator(_whole),
        Field(
            ge=1,
            le=MOST_SAMPLES,
            description="Documents to look at in each collection whose fields nothing states.",
            examples=[1000],
        ),
    ] = 1000


class Server(Answer):
    """What kind of system it is."""

    product: Annotated[str, Field(examples=["PostgreSQL"])]


class FieldSuggestion(Answer):
    """A field that looks like personal data. Nothing follows from it by itself."""

    dataset: Annotated[str, Field(examples=["public_3f0c1a9be2"])]
    collection: Annotated[str, Field(examples=["customer"])]
    field: Annotated[
        str | list[str],
        Field(description="Its names, with dots between them; as a list where one holds a dot.", examples=["email"]),
    ]
    data_category: Annotated[str, Field(examples=["user.contact.email"])]
    identity: Annotated[str | None, Field(description="What a person could be found by with it.", examples=["email"])]
    because: Annotated[Literal["name"], Field(description="What speaks for it.")]


class LeftOut(BaseModel):
    """Something that is there, and in no dataset."""

    model_config = ConfigDict(extra="forbid")

    dataset: Annotated[str, Field(examples=["public_3f0c1a9be2"])]
    collection: Annotated[str, Field(examples=["audit_2024"])]
    field: Annotated[
        str | list[str] | None,
        Field(
            description="The field that is left out, or whose members are; as a list where a name holds a dot. Without it, "
            "it is the collection."
        ),
    ] = None
    reason: Annotated[str, Field(examples=["partition of audit"])]


class Nullable(Answer):
    """The fields of one collection that may be empty."""

    collection: Annotated[str, Field(examples=["customer"])]
    namespace: Annotated[dict[str, str], Field(examples=[{"schema": "public"}])]
    fields: Annotated[
        list[str | list[str]],
        Field(
            description="Their names, with dots between those of a nested one; a list where a name holds a dot.",
            examples=[["email"]],
        ),
    ]


class FieldPresence(Answer):
    """How often a field is there."""

    field: Annotated[
        str | list[str],
        Field(description="Its names, with dots between them; as a list where one holds a dot.", examples=["nickname"]),
    ]
    presence: Annotated[
        float,
        Field(description="The share of the samples that have it; of a nested one too.", ge=0, le=1, examples=[0.42]),
    ]


class Presence(Answer):
    """The fields of one collection, with how often each was found."""

    collection: Annotated[str, Field(examples=["customer"])]
    namespace: Annotated[dict[str, str], Field(examples=[{"database": "shop"}])]
    fields: list[FieldPresence]


class Discovery(Answer):
    """What a connection holds. While it runs, and where it failed, there are no datasets."""

    id: Annotated[str, Field(examples=["d_5f0a3c9be2417d60"])]
    status: Annotated[Literal["running", "complete", "failed"], Field(examples=["complete"])]
    started_at: Annotated[datetime, Field(examples=["2026-11-27T10:00:00.000000+00:00"])]
    elapsed_ms: Annotated[float | None, Field(description="`null` while it runs.", ge=0, examples=[412.5])]
    inferred: Annotated[bool, Field(description="Whether fields were found by looking at samples.", examples=[False])]
    server: Server
    datasets: Annotated[
        list[dict[str, Any]],
        Field(
            description="Datasets of the Fides language, which `PATCH /connection/{connection_key}/dataset` takes as they are. "
            "Their keys are the same each time.",
            examples=[
                [
                    {
                        "fides_key": "public_3f0c1a9be2",
                        "name": "public",
                        "fides_meta": {"namespace": {"schema": "public"}},
                        "collections": [
                            {
                                "name": "customer",
                                "fields": [
                                    {"name": "id", "fides_meta": {"primary_key": True, "data_type": "integer"}},
                                    {
                                        "name": "email",
                                        "data_categories": [],
                                        "fides_meta": {"data_type": "string", "length": 100},
                                    },
                                ],
                            }
                        ],
                    }
                ]
            ],
        ),
    ]
    suggestions: list[FieldSuggestion]
    left_out: list[LeftOut]
    nullable: Annotated[
        list[Nullable],
        Field(
            description="Which fields may be empty, for each collection of a dataset. A later check says which cannot any more."
        ),
    ]
    presence: Annotated[
        list[Presence],
        Field(description="How often each field was found, for each collection that samples were looked at of."),
    ] = []  # which answers of earlier releases do not have
    access_report: Annotated[
        AccessReport | None, Field(description="`null` where there is no account to ask about, or no answer.")
    ]
    failure_code: Annotated[
        str | None,
        Field(description="Why it failed: a code of a test's, or of those that are listed for discoveries."),
    ]
    failure_reason: str | None
    failure_fields: FailureFields
    retry_after: RetryAfter
    steps: Annotated[list[Step], Field(description="How the connection was opened.")]
