"""The settings of the console: environment variables named `CONNECTORY_CONSOLE_*`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class ConsoleSettings(BaseSettings):
    """What the deployer decides. `ConsoleSettings()` reads the environment."""

    model_config = SettingsConfigDict(
        env_prefix="CONNECTORY_CONSOLE_", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    key: SecretStr | None = Field(
        None,
        description="What the session cookie is sealed with: 32 bytes in base64. Give all nodes behind one address the same. "
        "Unset: a key that the console makes and keeps in its home folder.",
    )
    idle_minutes: int = Field(30, ge=1, le=1440, description="Minutes without a click after which a session ends.")
    session_hours: int = Field(12, ge=1, le=168, description="Hours after which a session ends in any case.")
    home: Path = Field(
        Path(".connectory"),
        description="Folder of the key that the console makes. Mounted in a service: that service's home.",
    )
