"""Start the service and a real PostgreSQL with a small database, and print how to go through the main job with curl.

Run by `make demo`. Everything it makes is temporary and goes when it ends (Ctrl-C).
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType

import httpx

from connectory.testing import free_port
from servers.postgres.server import PostgresServer

HERE = Path(__file__).parent
CONNECTORY = Path(sys.executable).with_name("connectory")
DATABASE, USER = "shop", "shop_reader"

SAMPLE = """
CREATE TABLE customer (id integer PRIMARY KEY, email text NOT NULL);
CREATE TABLE orders (id integer PRIMARY KEY, customer_id integer NOT NULL REFERENCES customer, total numeric(10, 2));
INSERT INTO customer VALUES (1, 'ada@example.com'), (2, 'grace@example.com');
INSERT INTO orders VALUES (1, 1, 19.90), (2, 2, 5.00);
GRANT SELECT ON ALL TABLES IN SCHEMA public TO shop_reader;
"""


def main() -> int:
    """Run until interrupted; returns the service's exit code."""
    for request in (signal.SIGINT, signal.SIGTERM):  # a shell starts background jobs with SIGINT ignored
        signal.signal(request, _interrupt)
    print("Starting PostgreSQL and the service ...", flush=True)
    with PostgresServer() as database, tempfile.TemporaryDirectory(prefix="connectory-demo-") as home:
        database.create_database(DATABASE)
        database.create_role(USER, database.password)
        database.execute(SAMPLE, database=DATABASE)
        environment = os.environ | {"CONNECTORY_HOME": home}
        port = _port()
        service = subprocess.Popen(
            [CONNECTORY, "serve", "--port", str(port)], env=environment, stdout=subprocess.PIPE, text=True
        )
        try:
            assert service.stdout is not None
            ready = service.stdout.readline()
            if not ready:
                return service.wait()
            token = subprocess.run(
                [CONNECTORY, "token"], env=environment, check=True, capture_output=True, text=True
            ).stdout.strip()
            _connect_sample(port, token, database)
            link = subprocess.run(
                [CONNECTORY, "console", "--json"],
                env=environment | {"CONNECTORY_PORT": str(port)},
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            client = json.loads((Path(home) / "root_client.json").read_text())
            _explain(ready, port, token, client, database, json.loads(link)["url"])
            return service.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            service.terminate()
            service.wait()


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _port() -> int:
    """`DEMO_PORT`, else 8000, else (where that is taken) a free one."""
    if "DEMO_PORT" in os.environ:
        return int(os.environ["DEMO_PORT"])
    return 8000 if _is_free(8000) else free_port()


def _is_free(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _connect_sample(port: int, token: str, database: PostgresServer) -> None:
    """So that the console opens on the sample database."""
    secrets = {
        "host": database.host,
        "port": database.port,
        "dbname": DATABASE,
        "username": USER,
        "password": database.password,
    }
    item = {"name": "Sample shop", "connection_type": "postgres", "access": "read", "secrets": secrets}
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx.patch(f"http://127.0.0.1:{port}/api/v1/connection", json=[item], headers=headers, trust_env=False)
    answer.raise_for_status()


def _explain(ready: str, port: int, token: str, client: dict[str, str], database: PostgresServer, console: str) -> None:
    variables = {
        "API": f"http://127.0.0.1:{port}/api/v1",
        "TOKEN": token,
        "CLIENT_ID": client["client_id"],
        "CLIENT_SECRET": client["client_secret"],
        "DB_HOST": database.host,
        "DB_PORT": str(database.port),
        "DB_NAME": DATABASE,
        "DB_USER": USER,
        "DB_PASSWORD": database.password,
    }
    print(ready.strip())
    print(f"\nAddress: http://127.0.0.1:{port}    Documentation: http://127.0.0.1:{port}/docs\nToken: {token}\n")
    print(f"Console, signed in, once and within ten minutes, with the sample database: {console}\n")
    print("Paste this into another shell. Ctrl-C here ends everything.\n")
    print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items()))
    print((HERE / "main_job.sh").read_text(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
