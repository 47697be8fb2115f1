"""Settings that only the deployer gives, and what a connector may say of itself."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field, HttpUrl, InstanceOf, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from connectory import DeployerSettings, Description
from connectory.contract.setting_problems import setting_problems
from connectory.contract.settings import REFUSES_EMPTY, environment_name, read_settings


class WarehouseSettings(DeployerSettings):
    warehouse_endpoint: str = "https://warehouse.example"
    warehouse_retries: int = 2


def test_a_setting_is_read_from_its_own_variable_and_no_other():
    environment = {"CONNECTORY_WAREHOUSE_ENDPOINT": "https://other.example", "WAREHOUSE_RETRIES": "9", "HOME": "/root"}
    settings = read_settings(WarehouseSettings, environment)
    assert settings == WarehouseSettings(warehouse_endpoint="https://other.example", warehouse_retries=2)
    assert environment_name("warehouse_retries") == "CONNECTORY_WAREHOUSE_RETRIES"


def test_text_from_the_environment_becomes_the_declared_type():
    assert read_settings(WarehouseSettings, {"CONNECTORY_WAREHOUSE_RETRIES": "5"}).warehouse_retries == 5


def test_a_wrong_setting_is_refused_and_not_repeated():
    with pytest.raises(ValidationError) as refused:
        read_settings(WarehouseSettings, {"CONNECTORY_WAREHOUSE_RETRIES": "Zq7-value"})
    assert "Zq7-value" not in str(refused.value)


@pytest.mark.parametrize("empty", ["", " "])
def test_a_setting_that_is_set_but_empty_counts_as_unset(empty):
    environment = {"CONNECTORY_WAREHOUSE_ENDPOINT": empty, "CONNECTORY_WAREHOUSE_RETRIES": empty}
    assert read_settings(WarehouseSettings, environment) == WarehouseSettings()


class Grade(StrEnum):
    FINE = "fine"
    COARSE = "coarse"


class Region:
    """A type that pydantic has no JSON Schema of."""


class QuarrySettings(DeployerSettings):
    quarry_folder: Annotated[Path | None, REFUSES_EMPTY] = None
    quarry_depth: float | None = Field(default=None, gt=0, le=2.5, description="Metres.")
    quarry_grade: Grade | None = None
    quarry_endpoint: HttpUrl = HttpUrl("https://quarry.example")
    quarry_code: str = Field("ab", min_length=2, max_length=4, pattern="^[a-z]+$")
    quarry_region: InstanceOf[Region] | None = None
    quarry_gate: str = "shut"

    @field_validator("quarry_gate")
    @classmethod
    def _gate(cls, value: str) -> str:
        if value == "ajar":
            raise PydanticCustomError("ajar", "A gate is open or shut.")
        if value == "told":
            raise PydanticCustomError("told", "A gate is not {value}.", {"value": value})
        raise ValueError(value)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("FOLDER", "", "it takes a path. It is set but empty; give it a value, or unset it."),
        ("DEPTH", "Zq7", "it takes a number above 0 up to 2.5. Metres."),
        ("GRADE", "Zq7", "it takes fine or coarse."),
        ("ENDPOINT", "Zq7", "it takes a URL."),
        ("CODE", "Zq7", "it takes text of at least 2 characters of at most 4 characters that matches ^[a-z]+$."),
        ("REGION", "Zq7", "it takes another value."),
        ("GATE", "ajar", "it takes text. A gate is open or shut."),
        ("GATE", "told", "it takes text."),
        ("GATE", "Zq7", "it takes text."),
    ],
)
def test_a_wrong_setting_is_told_by_what_it_takes(name, value, told):
    with pytest.raises(ValidationError) as refused:
        read_settings(QuarrySettings, {f"CONNECTORY_QUARRY_{name}": value})
    assert setting_problems(QuarrySettings, refused.value) == [
        f"CONNECTORY_QUARRY_{name} has a value that is not accepted; {told}"
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"icon": "<script>alert(1)</script>"},
        {"icon": "<svg " + "x" * 20_000},
        {"user_guide": "javascript:alert(1)"},
        {"user_guide": "http://plain.example"},
        {"human_readable": "x" * 81},
        {"supported": ()},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_description_that_no_interface_can_show_is_refused(wrong):
    with pytest.raises(ValidationError):
        Description(**wrong)
