"""A private key is taken by its form when it is stored, and read when it is used."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from connectory import CheckFailed, FailureCode, Secrets
from connectory.documents.validation import SecretsInvalid, parse_secrets
from connectory.toolkit import PemPrivateKey, rsa_private_key

REMEDY = "Look at the key."


class KeyHolder(Secrets):
    key: PemPrivateKey


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def written(key, form=serialization.PrivateFormat.PKCS8, passphrase: bytes | None = None) -> str:
    encryption = (
        serialization.BestAvailableEncryption(passphrase) if passphrase is not None else serialization.NoEncryption()
    )
    return key.private_bytes(serialization.Encoding.PEM, form, encryption).decode()


@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
def test_a_key_is_taken_and_read_in_both_forms(key, form):
    pem = parse_secrets(KeyHolder, {"key": written(key, form)}).key.get_secret_value()
    assert rsa_private_key(pem, remedy=REMEDY).private_numbers() == key.private_numbers()


def test_an_encrypted_key_is_read_with_its_passphrase(key):
    pem = parse_secrets(KeyHolder, {"key": written(key, passphrase=b"S3cret")}).key.get_secret_value()
    assert rsa_private_key(pem, "S3cret", remedy=REMEDY).private_numbers() == key.private_numbers()


def test_a_key_that_lost_its_line_breaks_is_read(key):
    pem = parse_secrets(KeyHolder, {"key": written(key).replace("\n", " ")}).key.get_secret_value()
    assert rsa_private_key(pem, remedy=REMEDY).private_numbers() == key.private_numbers()


def test_what_is_no_key_that_can_be_read_is_refused_with_the_remedy(key):
    encrypted = written(key, passphrase=b"S3cret")
    unreadable = [
        ("-----BEGIN PRIVATE KEY-----\nMAIFAA==\n-----END PRIVATE KEY-----\n", None),
        (encrypted, None),
        (encrypted, "wrong"),
        (encrypted, ""),
        (written(key), "needless"),
        (written(ec.generate_private_key(ec.SECP256R1())), None),
    ]
    for pem, passphrase in unreadable:
        parse_secrets(KeyHolder, {"key": pem})
        with pytest.raises(CheckFailed) as caught:
            rsa_private_key(pem, passphrase, remedy=REMEDY)
        failure = caught.value
        assert (failure.code, failure.step, failure.remedy) == (FailureCode.AUTH_FAILED, "authenticate", REMEDY)


@pytest.mark.parametrize(
    "value",
    [
        "/etc/shadow",
        "file:///root/.ssh/id_rsa",
        "",
        "-----BEGIN PRIVATE KEY-----\nAAAA",
        "-----BEGIN PRIVATE KEY----------END PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nAAAA\u0000\n-----END PRIVATE KEY-----",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        "-----BEGIN PRIVATE KEY-----\nqi2unhflhncflkjas\n-----END PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nMAIFAA==\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nMAIFAA\n-----END PRIVATE KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" * 2,
        "-----BEGIN PRIVATE KEY-----\n" + "A" * 16384 + "\n-----END PRIVATE KEY-----",
    ],
)
def test_what_has_not_the_form_of_a_key_is_refused_and_not_repeated(value):
    with pytest.raises(SecretsInvalid) as caught:
        parse_secrets(KeyHolder, {"key": value})
    (problem,) = caught.value.problems
    assert problem["loc"] == ["key"]
    assert len(value) < 4 or value not in problem["msg"]
