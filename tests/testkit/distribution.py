"""Installed distributions made on the spot: the files that an installer leaves behind, in a folder for `sys.path`.

    install(folder, "connectory-ledger", entry_points={"ledger": "ledger_plugin"}, modules={"ledger_plugin": SOURCE})

Nothing is imported and nothing outside of `folder` is touched. Give the modules of each test names of their own, or
take them out of `sys.modules` afterwards.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

GROUP = "connectory.connectors"


def install(
    folder: Path,
    name: str,
    *,
    version: str = "1.0",
    entry_points: Mapping[str, str] | None = None,
    modules: Mapping[str, str] | None = None,
    requires: Sequence[str] = (),
    group: str = GROUP,
) -> Path:
    """Install a distribution into `folder`, and return its metadata's folder.

    `entry_points` maps names to targets (`module` or `module:object`), `modules` maps module names (no dots) to their
    source, `requires` are requirements as in a pyproject.
    """
    folder.mkdir(parents=True, exist_ok=True)
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir()
    required = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{required}")
    declared = "".join(f"{identifier} = {target}\n" for identifier, target in (entry_points or {}).items())
    (metadata / "entry_points.txt").write_text(f"[{group}]\n{declared}")
    for module, source in (modules or {}).items():
        (folder / f"{module}.py").write_text(source)
    return metadata


def plugin_source(identifier: str, *, before: str = "", hooks: Mapping[str, str | None] | None = None) -> str:
    """The source of a module that is a connector with one sensitive field, and whose test always succeeds.

    `before` is put in front of everything. `hooks` replaces the named hooks' source, or with `None` leaves them out.
    """
    chosen = {
        "connectory_identifier": f"@hookimpl\ndef connectory_identifier():\n    return {identifier!r}\n",
        "connectory_type": '@hookimpl\ndef connectory_type():\n    return "database"\n',
        "connectory_secret_schema": "@hookimpl\ndef connectory_secret_schema():\n    return PluginSecrets\n",
        "connectory_test_connection": "@hookimpl\ndef connectory_test_connection(secrets, context):\n    pass\n",
        **(hooks or {}),
    }
    body = "\n\n".join(source for source in chosen.values() if source is not None)
    return (
        f"{before}\n"
        "from connectory import CheckFailed, CheckSkipped, DeployerSettings, Description, FailureCode, Host, Port\n"
        "from connectory import Secrets, SecretText, hookimpl\n\n\n"
        "class PluginSecrets(Secrets):\n    token: SecretText\n\n\n"
        f"{body}\n"
    )
