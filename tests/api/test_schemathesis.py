"""Schemathesis over the whole OpenAPI document, with all checks: nothing it makes up brings the service out of its contract."""

import subprocess
import sys
from pathlib import Path

import pytest

from testkit.service import environment_of, running_service, token_of_root

# What no schema of one request can say: whether secrets are valid depends on the type of the connection that the path, or
# another member, names; the collections of a dataset need names that differ; and only some connections, with their secrets
# stored, can be consented to. So these five may refuse what fits their schema. Nothing else is excepted.
_CONFIGURATION = """
[[operations]]
include-operation-id = ["saveConnections", "putSecrets", "patchSecrets", "saveDatasets"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "422", "429", "5xx"]

[[operations]]
include-operation-id = ["authorizeConnection"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404", "409", "422", "429", "5xx"]
"""


@pytest.mark.parametrize(
    ("seed", "phases"),
    # The first two phases do not depend on the seed.
    [
        (1, "examples,coverage,fuzzing,stateful"),
        *(pytest.param(seed, "fuzzing,stateful", marks=pytest.mark.soak) for seed in range(2, 6)),
    ],
)
def test_the_service_keeps_to_its_openapi_document(tmp_path: Path, seed: int, phases: str) -> None:
    """All checks, and in every phase all operations."""
    (tmp_path / "schemathesis.toml").write_text(_CONFIGURATION)
    home = tmp_path / "home"
    # Hosts are made up at random: none of them is to be connected to, or waited for.
    nowhere = {"CONNECTORY_PROBE_DEADLINE": "1", "CONNECTORY_EGRESS_DENY": "*"}
    with running_service(home, nowhere) as service:
        token = token_of_root(home, service.url)
        command = [Path(sys.executable).with_name("st"), "--config-file", tmp_path / "schemathesis.toml", "run"]
        command += [f"{service.url}/openapi.json", "-H", f"Authorization: Bearer {token}", "--checks", "all"]
        command += [
            "--seed",
            str(seed),
            "--max-examples",
            "5",
            "--phases",
            phases,
            "--continue-on-failure",
            "--no-shrink",
            "--no-color",
        ]
        command += ["--generation-database", "none", "--request-timeout", "20", "--warnings", "off"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment_of(home), capture_output=True, text=True, timeout=170
        )
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
        assert "Selected: 26/26" in done.stdout
        log = service.log.read_text()
    assert '"status":5' not in log
    assert '"request failed"' not in log
