"""Failure codes tell authors what each stands for."""

import pydoc

import pytest

from connectory import FailureCode


@pytest.mark.parametrize("code", FailureCode)
def test_each_code_is_described(code):
    assert code.__doc__ == code.reason
    assert f"{code}: {code.reason}" in pydoc.render_doc(FailureCode, renderer=pydoc.plaintext)
