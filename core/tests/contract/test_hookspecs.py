"""The documentation of the hooks: every hook has an example, and every example runs as it stands."""

import doctest
import inspect

import pytest

import connectory
from connectory.contract import data, hookspecs, session
from connectory.contract.secrets import Secrets

HOOKS = (*hookspecs.REQUIRED_HOOKS, *hookspecs.OPTIONAL_HOOKS)
DATA = [
    data,
    *(data.CollectionRef, data.CollectionInfo, data.Rows, data.Batch),
    *(session.SessionFailed, session.DataSession),
]
DOCUMENTED = [hookspecs, Secrets, *DATA, *(getattr(hookspecs, name) for name in HOOKS)]


def examples(documented) -> list[doctest.DocTest]:
    # In a module of its own, as if an author had pasted it into an empty file.
    finder = doctest.DocTestFinder(recurse=False)
    return finder.find(documented, documented.__name__, module=False, globs={"__name__": "pasted"})


@pytest.mark.parametrize("documented", DOCUMENTED, ids=lambda documented: documented.__name__)
def test_every_example_runs_as_it_stands(documented, capsys):
    [example] = examples(documented)
    assert example.examples
    outcome = doctest.DocTestRunner(verbose=False).run(example)
    assert outcome.failed == 0, capsys.readouterr().out


def test_the_lists_of_hooks_name_every_hook():
    declared = {name for name, found in vars(hookspecs).items() if hasattr(found, "connectory_spec")}
    assert declared == set(HOOKS)
    assert len(HOOKS) == len(set(HOOKS))


@pytest.mark.parametrize("name", HOOKS)
def test_a_hooks_example_implements_that_hook(name):
    assert "@hookimpl" in inspect.getdoc(getattr(hookspecs, name))
    assert f"def {name}(" in inspect.getdoc(getattr(hookspecs, name))


@pytest.mark.parametrize("name", HOOKS)
def test_optional_hooks_say_so(name):
    assert inspect.getdoc(getattr(hookspecs, name)).startswith("Optional.") == (name in hookspecs.OPTIONAL_HOOKS)


def test_the_first_arguments_of_a_hook_never_change():
    # Plugins in the field name these; a new one may only be appended, with a default.
    assert list(inspect.signature(hookspecs.connectory_test_connection).parameters)[:2] == ["secrets", "context"]
    for name in ("connectory_identifier", "connectory_type", "connectory_describe"):
        assert list(inspect.signature(getattr(hookspecs, name)).parameters) == []
    assert list(inspect.signature(hookspecs.connectory_secret_schema).parameters) == ["settings"]


def test_every_public_name_is_documented():
    undocumented = []
    for name in connectory.__all__:
        found = getattr(connectory, name)
        if inspect.isclass(found) or inspect.isfunction(found):
            if not inspect.getdoc(found):
                undocumented.append(name)
        elif f"\n{name} = " in (source := _source_that_assigns(name)):
            # Constants and annotated types have their text below, where editors look for it.
            if not source.partition(f"\n{name} = ")[2].partition('\n"""')[1]:
                undocumented.append(name)
        else:
            undocumented.append(name)
    assert undocumented == []


def _source_that_assigns(name: str) -> str:
    from connectory.contract import fields, ssl_mode

    modules = [hookspecs, fields, ssl_mode]
    return next((source for source in map(inspect.getsource, modules) if f"\n{name} = " in source), "")


def test_everything_that_is_public_can_be_imported():
    assert sorted(connectory.__all__, key=str.lower) == sorted(set(connectory.__all__), key=str.lower)
    for name in connectory.__all__:
        assert hasattr(connectory, name)
