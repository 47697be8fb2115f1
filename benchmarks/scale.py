"""Hundreds of installed plugins: what each costs the start, the list of types, and the memory of the service.

The figure beside it is what importing a plugin takes by itself, and what an item of the 22 types without them takes.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from installation import Installation
from testkit.distribution import install

PLUGINS = 500
ROUNDS = 3
SOURCE = """
from pydantic import Field

from connectory import CheckContext, Connector, Description, Host, Name, Port, Secrets, SecretText


class SystemSecrets(Secrets):
    host: Host = Field(title="Host", description="Name or address of the server.")
    port: Port = Field(default=5432, title="Port")
    username: Name = Field(title="User name")
    password: SecretText = Field(title="Password")
    database: Name | None = Field(default=None, title="Database")


class System(Connector[SystemSecrets]):
    identifier = "{identifier}"
    type = "database"
    description = Description(human_readable="System {number}", category="DATABASE")

    def test(self, secrets: SystemSecrets, context: CheckContext) -> None:
        with context.open(secrets.host, secrets.port):
            pass
"""
_IMPORT = """
import importlib, sys, time
import connectory, pydantic
began = time.process_time()
for number in range({plugins}):
    importlib.import_module(f"synthetic_{{number:03}}")
print(time.process_time() - began)
"""


def write_plugins(folder: Path) -> None:
    """Install the plugins into `folder`, as pip would, compiled."""
    for number in range(PLUGINS):
        identifier = f"synthetic_{number:03}"
        modules = {identifier: SOURCE.format(identifier=identifier, number=number)}
        entry_points = {identifier: f"{identifier}:System"}
        install(
            folder, f"acme-{number:03}", entry_points=entry_points, modules=modules, requires=["connectory>=0.1,<1"]
        )
    subprocess.run([sys.executable, "-m", "compileall", "-q", folder], check=True)


def measure_scale(folder: Path) -> list[str]:
    """Rows of the table: start, list and memory, each plugin's share.

    Args:
        folder: is created, for what is installed and stored.
    """
    site = folder / "site"
    write_plugins(site)
    importing = [sys.executable, "-c", _IMPORT.format(plugins=PLUGINS)]
    own = [
        float(
            subprocess.run(
                importing, env=os.environ | {"PYTHONPATH": str(site)}, check=True, capture_output=True
            ).stdout
        )
        for _ in range(ROUNDS)
    ]
    few, many = Installation(folder / "few"), Installation(folder / "many")
    many.add_settings({"PYTHONPATH": str(site)})
    ready: dict[str, list[float]] = {"few": [], "many": []}
    memory: dict[str, list[float]] = {"few": [], "many": []}
    item: dict[str, list[float]] = {"few": [], "many": []}
    for _ in range(ROUNDS):
        for name, installation in (("few", few), ("many", many)):
            with installation.start_service() as service:
                ready[name].append(service.ready_after)
                memory[name].append(service.memory_at_ready)
                path = "/api/v1/connection_type?size=100"
                count = len(json.loads(service.request("GET", path)[1])["items"])
                started = service.cpu()
                for _ in range(200):
                    service.request("GET", path)
                item[name].append((service.cpu() - started) / 200 / count * 1e6)
    middle = statistics.median
    start = (middle(ready["many"]) - middle(ready["few"]) - middle(own)) / PLUGINS * 1000
    kilobytes = (middle(memory["many"]) - middle(memory["few"])) * 1024 / PLUGINS
    few_item, many_item = middle(item["few"]), middle(item["many"])
    importing_one = f"{middle(own) / PLUGINS * 1000:.2f}"
    listed = "`GET /connection_type`, each item"
    return [
        _row("start, each plugin beyond its own import", "ms", f"{start:.2f}", importing_one, "2 ms", start <= 2),
        _row(listed, "µs of CPU", f"{many_item:.1f}", f"{few_item:.1f}", "1.5 times", many_item <= 1.5 * few_item),
        _row("memory (PSS), each plugin", "kB", f"{kilobytes:.0f}", "", "100 kB", kilobytes <= 100),
    ]


def _row(case: str, unit: str, service: str, floor: str, bound: str, reached: bool) -> str:
    return (
        f"| {PLUGINS} plugins: {case} | {unit} | {service} | {floor} | {bound} | | {'yes' if reached else '**no**'} |"
    )


if __name__ == "__main__":
    import tempfile

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        print("\n".join(measure_scale(Path(temporary) / "scale")))
    print(f"{time.perf_counter() - started:.0f} s")
