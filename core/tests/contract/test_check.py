"""The verdicts of a test: a closed set of codes, each with a sentence of our own."""

import pytest

from connectory import CheckFailed, FailureCode

DESIGNED = {
    *("secrets_missing", "secrets_unreadable", "connector_unavailable", "driver_missing", "address_not_allowed"),
    *("dns_failed", "dns_timeout", "connect_refused", "connect_timeout", "protocol_mismatch"),
    *("tls_failed", "tls_untrusted", "auth_failed", "insecure_auth_refused"),
    *("database_not_found", "schema_not_found", "permission_denied", "query_failed"),
    *("unexpected_redirect", "rate_limited", "http_4xx", "http_5xx"),
    *("timeout", "resource_limit", "crashed", "internal_driver_error"),
}


def test_the_set_of_codes_is_the_designed_one():
    assert set(FailureCode) == DESIGNED


@pytest.mark.parametrize("code", FailureCode)
def test_every_code_has_one_sentence_that_says_what_happened(code):
    sentence = code.reason
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert len(sentence) > 30


def test_no_two_codes_share_a_sentence():
    assert len({code.reason for code in FailureCode}) == len(FailureCode)


def test_the_key_is_filled_in_where_it_is_known():
    assert "/connection/app_db/secret" in FailureCode.SECRETS_MISSING.reason.replace("{key}", "app_db")
    assert "{key}" in FailureCode.SECRETS_MISSING.reason


def test_a_failure_carries_its_code_and_no_text_of_others():
    failure = CheckFailed(FailureCode.AUTH_FAILED, step="authenticate", remedy="Ask for the role.", retry_after=3)
    assert str(failure) == "auth_failed"
    assert (failure.code, failure.step, failure.remedy, failure.retry_after) == (
        FailureCode.AUTH_FAILED,
        "authenticate",
        "Ask for the role.",
        3,
    )
