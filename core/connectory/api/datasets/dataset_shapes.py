"""What requests and answers say of datasets.

The Fides language validates them, with all of its members. Its own models are not used to describe them, because importing them
takes over a second, and their validators stand in no schema.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, RootModel

from connectory.api.http.answers import Answer
from connectory.api.http.paging import Page

MOST_DATASETS = 50
"""Datasets to a request, as in the Integrations API of Fides."""


class DatasetField(BaseModel):
    """A field of a collection; it may have all members of the Fides language, and no others."""

    name: Annotated[str, Field(examples=["email"])]
    description: str | None = None
    data_categories: Annotated[
        list[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.<>-]+$")]] | None,
        Field(
            description="Categories of the default taxonomy, and those that the operator names in CONNECTORY_DATA_CATEGORIES.",
            examples=[["user.contact.email"]],
        ),
    ] = None


class DatasetCollection(BaseModel):
    """A collection, such as a table; it may have all members of the Fides language, and no others."""

    name: Annotated[str, Field(examples=["customer"])]
    description: str | None = None
    fields: list[DatasetField]


class DatasetToSave(BaseModel):
    """A dataset of the Fides language; all of its members may be given, also those that are not shown here, and no others."""

    fides_key: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.<>-]{1,200}$")]
    # The Fides language takes a number for a text, and stores it as text.
    name: str | float | None = None
    description: str | float | None = None
    collections: list[DatasetCollection]


class DatasetsToSave(RootModel[Annotated[list[DatasetToSave], Field(max_length=MOST_DATASETS)]]):
    """Datasets to attach to a connection."""


class DatasetFileContent(BaseModel):
    """What a file of the Fides language with datasets holds."""

    model_config = ConfigDict(extra="forbid")

    dataset: Annotated[list[DatasetToSave], Field(max_length=MOST_DATASETS)]


class DatasetFile(RootModel[DatasetFileContent | Annotated[list[DatasetToSave], Field(max_length=MOST_DATASETS)]]):
    """Datasets to attach to a connection, as a file of the Fides language has them, or as a list."""


class Dataset(BaseModel):
    """A dataset of the Fides language, with all of its members: https://ethyca.github.io/fideslang/"""

    fides_key: Annotated[str, Field(examples=["example_test_dataset"])]
    name: Annotated[str | None, Field(examples=["Example Test Dataset"])]
    description: Annotated[str | None, Field(examples=["Customers, products, addresses, etc."])]
    collections: list[DatasetCollection]


class DatasetPage(Page[Dataset]):
    """Datasets of a connection, newest first."""


class FailedDataset(Answer):
    """A dataset that was not saved."""

    connection_key: str
    fides_key: str
    dataset: Dataset


class DatasetFailure(Answer):
    """Why a dataset was not saved."""

    message: str
    data: FailedDataset


class SavedDataset(Dataset):
    """A dataset as it is stored now, and what of it was not stored."""

    ignored: Annotated[
        list[str],
        Field(
            description="Members that only other versions of the Fides language have. They were accepted and not stored.",
            examples=[["retention", "collections[0].fields[1].data_qualifier"]],
        ),
    ]


class DatasetsSaved(Answer):
    """What became of each dataset of a request."""

    succeeded: list[SavedDataset]
    failed: Annotated[list[DatasetFailure], Field(examples=[[]])]
