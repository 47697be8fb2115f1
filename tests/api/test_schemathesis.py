"""Schemathesis over the whole OpenAPI document, with all checks: nothing it makes up brings the service out of its contract."""

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from testkit.service import environment_of, running_service, token_of_root

# What no schema of one request can say: whether secrets are valid depends on the type of the connection that the path, or
# another member, names; the collections of a dataset need names that differ; only some connections, with their secrets stored,
# can be consented to; and a code to sign in with has to be one that was given out (RFC 6749 has 400 for the others). So these
# eight may refuse what fits their schema. Whether an entity tag is that of what is stored no schema says either, and that is
# looked at before the content is. Nothing else is excepted.
_CONFIGURATION = """
[[operations]]
include-operation-id = ["saveConnections", "putSecrets", "patchSecrets"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "412", "422", "429", "5xx"]
checks.negative_data_rejection.expected-statuses = ["400", "401", "403", "404", "405", "409", "412", "413", "415", "422", "5xx"]

[[operations]]
include-operation-id = ["validateSecrets", "testSecrets", "saveDatasets"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "422", "429", "5xx"]

[[operations]]
include-operation-id = ["deleteConnection"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "409", "412", "429", "5xx"]

[[operations]]
include-operation-id = ["getConnection"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "304", "401", "403", "404", "409", "429", "5xx"]

[[operations]]
include-operation-id = ["authorizeConnection", "createToken"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404", "409", "422", "429", "5xx"]

# Or it would end the client whose token it uses, and be answered 401 from then on. So these end others, and never one that was
# just made, which the one check expects that is left out; only clients are made by POST.
[[operations]]
include-operation-id = ["deleteClient"]
parameters = {{ "path.client_id" = "{doomed}" }}

[[operations]]
include-operation-id = ["rotateClientSecret", "revokeClientToken", "revokeClientTokens"]
parameters = {{ "path.client_id" = "{kept}" }}
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
    """All checks but one, and in every phase all operations."""
    home = tmp_path / "home"
    # Hosts are made up at random: none of them is to be connected to, or waited for.
    nowhere = {"CONNECTORY_PROBE_DEADLINE": "1", "CONNECTORY_DISCOVERY_DEADLINE": "1", "CONNECTORY_EGRESS_DENY": "*"}
    with running_service(home, nowhere) as service:
        token = token_of_root(home, service.url)
        clients = f"{service.url}/api/v1/client"
        headers = {"Authorization": f"Bearer {token}"}
        ids = {
            name: httpx.post(clients, json={"name": name, "scopes": ["audit:read"]}, headers=headers).json()[
                "client_id"
            ]
            for name in ("doomed", "kept")
        }
        (tmp_path / "schemathesis.toml").write_text(_CONFIGURATION.format(**ids))
        command = [Path(sys.executable).with_name("st"), "--config-file", tmp_path / "schemathesis.toml", "run"]
        command += [f"{service.url}/openapi.json", "-H", f"Authorization: Bearer {token}", "--checks", "all"]
        command += ["--exclude-checks", "ensure_resource_availability"]
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
            command, cwd=tmp_path, env=environment_of(home), capture_output=True, text=True, timeout=500
        )
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
        assert re.search(r"Selected: (\d+)/\1\b", done.stdout), "Some operations were not tested."
        assert httpx.get(f"{service.url}/api/v1/connection", headers=headers).status_code == 200
        log = service.log.read_text()
    assert '"status":5' not in log
    assert '"request failed"' not in log
