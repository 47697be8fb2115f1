"""A stand-in for Snowflake: fakesnow's HTTP server with Snowflake's login, roles and warehouses in front (`app`).

Engine: fakesnow answers queries from DuckDB; who may log in, and into what, and what is said of foreign keys and of views, is
ours. Proven: that the real driver logs in with a password or a key pair over Snowflake's protocol, and what it makes of
Snowflake's codes. Not proven: Snowflake's SQL, its own choice of codes, multi-factor logins, network policies, and hosts of
`snowflakecomputing.com`.
"""

import json
import os
from pathlib import Path
from typing import Any

from connectory.testing.ports import IPV4_LOOPBACK, free_port
from connectory.testing.processes import ServerProcess
from testkit.processes import LocalServer
from testkit.side_environment import side_python

# Run with -P: beside it lies this module, whose name is that of the driver's package.
_APP = Path(__file__).with_name("app.py")
_TESTS = Path(__file__).parents[2]


class SnowflakeServer(LocalServer):
    """One account, `ACME`, on 127.0.0.1, over plain http; `testkit.tls_front` puts TLS and ::1 before it.

    There is a warehouse `COMPUTE_WH` and a database `APP` with the schema `PUBLIC`, for the role `PUBLIC` that every
    user has; and a role `OWNER`, a warehouse `OWNERS_WH` and a database `OWNERS` that only this role may use.
    """

    folder_name = "snowflake"
    account = "ACME"

    def __init__(self) -> None:
        self.host = IPV4_LOOPBACK
        self.port = 0  # chosen by start()
        self._description: dict[str, Any] = {
            "name": self.account,
            "users": {},
            "warehouses": {"COMPUTE_WH": ["PUBLIC", "OWNER"], "OWNERS_WH": ["OWNER"]},
            "databases": {
                "APP": {"schemas": ["PUBLIC"], "roles": ["PUBLIC", "OWNER"]},
                "OWNERS": {"schemas": ["PUBLIC"], "roles": ["OWNER"]},
            },
        }

    def __repr__(self) -> str:
        return f"SnowflakeServer({self.host}:{self.port})"

    @property
    def url(self) -> str:
        """The address that stands for Snowflake's."""
        return f"http://{self.host}:{self.port}"

    def create_user(
        self,
        name: str,
        password: str | None = None,
        *,
        public_key: str | None = None,
        roles: tuple[str, ...] = ("PUBLIC",),
        refused_with: str | None = None,
    ) -> None:
        """Create a user who logs in with `password`, or with the private key of `public_key` (PEM).

        With `refused_with`, right credentials are answered with that code of Snowflake's. Names are in capitals.
        """
        self._description["users"][name.upper()] = {
            "password": password,
            "public_key": public_key,
            "roles": list(roles),
            "refused_with": refused_with,
        }
        self._write()

    def _start(self, folder: Path) -> None:
        python = side_python("snowflake")
        self._write()
        self.port = free_port()
        self._process = ServerProcess(
            "fakesnow",
            [python, "-P", _APP, str(self.port), folder / "account.json"],
            log=folder / "log",
            environment={
                "PATH": os.defpath,
                "HOME": str(folder),
                "TMPDIR": str(folder),
                "PYTHONPATH": str(_TESTS),
            },
            folder=folder,
        )
        self._process.wait_for_port(self.port)

    def _write(self) -> None:
        if self._folder is None:
            return
        new = self._folder / "account.json.new"
        new.write_text(json.dumps(self._description))
        new.replace(self._folder / "account.json")
