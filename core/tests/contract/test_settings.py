"""Settings that only the deployer gives, and what a connector may say of itself."""

import pytest
from pydantic import ValidationError

from connectory import DeployerSettings, Description
from connectory.contract.settings import environment_name, read_settings


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
