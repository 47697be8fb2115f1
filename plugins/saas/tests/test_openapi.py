"""Where a vendor publishes an OpenAPI document: the connector's request and the stand-in's answers keep to it."""

import pytest

from servers.saas import VENDORS
from servers.saas.openapi import DESCRIBED, Operation
from servers.saas.web import Answer, Asked
from testkit.checking import Check


@pytest.mark.parametrize("identifier", DESCRIBED)
def test_request_and_answers_keep_to_the_vendors_document(check: Check, identifier: str) -> None:
    [kind] = [vendor for vendor in VENDORS if vendor.identifier == identifier]
    answers: list[Answer] = []
    with kind() as vendor:
        real = vendor.answer_to

        def noting(asked: Asked) -> Answer:
            answers.append(real(asked))
            return answers[-1]

        vendor.answer_to = noting  # type: ignore[method-assign]
        assert check(vendor).status == "succeeded"
        for changes in vendor.wrong.values():
            assert check(vendor, **changes).status == "failed"
        for asked, answer in zip(vendor.asked, answers, strict=True):
            operation = Operation(identifier, asked.method, asked.path)
            assert operation.request_complaints(asked) == []
            assert operation.answer_complaints(answer) == []
        assert [answer.status for answer in answers] == [200, 401, 403]


def test_a_request_or_an_answer_that_departs_from_it_is_noticed() -> None:
    operation = Operation("stripe", "GET", "/v1/balance")
    asked = Asked("GET", "/v1/balance", {"made_up": ["1"]}, {}, b"")
    assert operation.request_complaints(asked) == ["authorization", "query made_up"]
    assert operation.answer_complaints(Answer(200, {}, b'{"object": "balance"}')) != []
