"""Import one connector and verify it. Whatever a plugin does wrong becomes a reason, never an exception."""

from __future__ import annotations

import difflib
import inspect
import os
import re
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import pluggy
from pydantic import PydanticUserError, ValidationError
from pydantic.json_schema import PydanticJsonSchemaWarning

from connectory.catalog.loaded import LoadedConnector, Plugin
from connectory.catalog.record import PluginRecord
from connectory.contract import hookspecs
from connectory.contract.description import Description
from connectory.contract.hookspecs import ConnectorUnusable
from connectory.contract.secrets import Secrets
from connectory.contract.settings import DeployerSettings, read_settings
from connectory.documents.json_schema import is_json, secret_json_schema, undrawable_field
from connectory.documents.roles import field_facts

LOAD_LIMIT = 5.0
"""Seconds that importing and verifying one plugin may take; a slower plugin is `failed`."""

_HOOKS = (*hookspecs.REQUIRED_HOOKS, *hookspecs.OPTIONAL_HOOKS)
TYPE = re.compile(r"[a-z][a-z0-9_-]{0,63}")
"""The words that `connectory_type` may return."""

REASON_LIMIT = 500
"""Characters of a reason that a plugin gives itself."""

_T = TypeVar("_T")


class PluginBroken(Exception):
    """A plugin cannot be used; the message is one line with the remedy."""


def load_connector(
    record: PluginRecord, load: Callable[[], Any], environment: Mapping[str, str] | None = None
) -> LoadedConnector:
    """Import one plugin and verify it, within `LOAD_LIMIT` seconds.

    Args:
        load: imports what the entry point names, or has the source make it.

    Raises:
        PluginBroken: with the reason.
    """
    return begin_to_load(record, load, environment).result()


def begin_to_load(
    record: PluginRecord, load: Callable[[], Any], environment: Mapping[str, str] | None = None
) -> Loading[LoadedConnector]:
    """The same, in the background."""
    variables = os.environ if environment is None else environment
    return Loading(record, lambda: _load(record, load, variables))


def thread_name(record: PluginRecord) -> str:
    """The name of the thread in which a plugin's code is run to load it."""
    return f"load-{record.identifier}-{record.distribution}"


class Loading(Generic[_T]):
    """A plugin's code at work, in a thread of its own: one that never returns from its import is left behind there.

    Args:
        work: runs the code.
    """

    def __init__(self, record: PluginRecord, work: Callable[[], _T]) -> None:
        self.record = record
        self._work = work
        self._results: list[_T] = []
        self._errors: list[BaseException] = []
        self._started = time.monotonic()
        self.thread = threading.Thread(target=self._run, name=thread_name(record), daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except BaseException as error:  # a plugin may raise SystemExit, or anything else
            self._errors.append(error)
        self._took = time.monotonic() - self._started

    def ends_within(self, seconds: float) -> bool:
        """Wait for so long at most; whether it has ended."""
        self.thread.join(seconds)
        return not self.thread.is_alive()

    def result(self) -> _T:
        """What the work returned, within `LOAD_LIMIT` seconds of its beginning.

        Raises:
            PluginBroken: with the reason, whatever the work raised.
        """
        ended = self.ends_within(max(0.0, self._started + LOAD_LIMIT - time.monotonic()))
        if not ended or self._took > LOAD_LIMIT:
            raise PluginBroken(too_slow())
        if self._results:
            return self._results[0]
        [error] = self._errors
        if isinstance(error, PluginBroken):
            raise error
        raise PluginBroken(_import_failure(self.record, error)) from error


def too_slow() -> str:
    """The reason of a plugin that does not load within `LOAD_LIMIT`."""
    return (
        f"Importing it took over {LOAD_LIMIT:g} s; its module must import its driver inside connectory_test_connection."
    )


def _import_failure(record: PluginRecord, error: BaseException) -> str:
    if isinstance(error, ConnectorUnusable):
        return _plugins_own_reason(record, error)
    # The type and not the text: a plugin's exception may quote its environment.
    name = type(error).__name__
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"Importing it needs the module '{error.name}'; run: pip install --force-reinstall {record.distribution}"
    authors = f"report it to the authors of {record.distribution} {record.version}."
    if isinstance(error, SystemExit):
        return f"Loading it calls sys.exit(), which would end the service; {authors}"
    if isinstance(error, ValueError) and _raised_by_signal(error):
        return f"Importing it sets a handler of signals, which belong to the service; {authors}"
    return f"Loading it raised {name}; {authors}"


def _raised_by_signal(error: BaseException) -> bool:
    """Whether `signal.signal` raised it, which works in the main thread only."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and (Path(frames[-1].filename), frames[-1].name) == (Path(signal.__file__), "signal")


def _plugins_own_reason(record: PluginRecord, error: ConnectorUnusable) -> str:
    message = error.message
    if not isinstance(message, str) or not message.isprintable() or not 0 < len(message) <= REASON_LIMIT:
        return (
            f"It says that it cannot be used, but not in one line; report it to the authors of {record.distribution}."
        )
    return message


def plugin_of(found: Any) -> Any:
    """The plugin that an entry point or a source gives: a module, an object, or an instance of the class it names.

    Raises:
        PluginBroken: the class is abstract, or needs arguments.
        Exception: whatever else making the instance raises.
    """
    if not isinstance(found, type):
        return found
    if missing := sorted(getattr(found, "__abstractmethods__", ())):
        raise PluginBroken(f"Its class {found.__name__} does not define {', '.join(missing)}; add what is missing.")
    if needed := _required_arguments(found):
        raise PluginBroken(
            f"Its class {found.__name__} cannot be made without {', '.join(needed)}; give every argument a default, "
            "or let the entry point name an instance."
        )
    return found()


def _required_arguments(made: type[Any]) -> list[str]:
    try:
        parameters = inspect.signature(made).parameters.values()
    except (TypeError, ValueError):  # of some classes written in C
        return []
    named = [one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    return [one.name for one in named if one.default is one.empty]


def _load(record: PluginRecord, load: Callable[[], Any], environment: Mapping[str, str]) -> LoadedConnector:
    hooks = _register(plugin_of(load()))
    identifier = _call(hooks, "connectory_identifier")
    if identifier != record.identifier:
        raise PluginBroken(
            f"connectory_identifier() returns {identifier!r:.80}, "
            f"but its {_named(record)} '{record.identifier}'; make them equal."
        )
    kind = _call(hooks, "connectory_type")
    if not isinstance(kind, str) or not TYPE.fullmatch(kind):
        raise PluginBroken("connectory_type() must return a word of lower-case letters, digits, '-' and '_'.")
    settings = _settings(hooks, environment)
    model = _call(hooks, "connectory_secret_schema", settings=settings)
    if not (isinstance(model, type) and issubclass(model, Secrets)):
        raise PluginBroken("connectory_secret_schema() must return a subclass of connectory.Secrets.")
    description = _describe(hooks, record.identifier)
    schema = _schema(model, record.identifier, description.human_readable)
    plugin = Plugin(model, settings, hooks)
    return LoadedConnector(
        record=record,
        system_type=kind,
        description=description,
        schema=schema,
        fields=field_facts(model),
        settings_values=settings.model_dump(mode="json", exclude_unset=True) if settings else None,
        asks_for_consent=bool(hooks.connectory_authorization.get_hookimpls()),
        opens_sessions=bool(hooks.connectory_open_session.get_hookimpls()),
        knows_collections=bool(hooks.connectory_collections.get_hookimpls()),
        plugin=lambda: plugin,
    )


def _schema(model: type[Secrets], identifier: str, human_readable: str) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PydanticJsonSchemaWarning)  # of defaults that are left out, which is told
            schema = secret_json_schema(model, identifier, human_readable)
    except PydanticUserError as error:
        name = undrawable_field(model)
        which = f"the type of the field '{name}'" if name else "a type of its fields"
        raise PluginBroken(
            f"The JSON Schema of its secrets has no words for {which}; use another, or say them with pydantic.WithJsonSchema."
        ) from error
    if not is_json(schema):
        raise PluginBroken("The JSON Schema of its secrets holds a value that is not JSON; look at its defaults.")
    return schema


def _named(record: PluginRecord) -> str:
    return "source calls it" if record.source else "entry point is named"


class _PluginManager(pluggy.PluginManager):
    """Looks only at what can be a hook. A plugin holds many other names, and pluggy takes a while to look at each."""

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
        return super().parse_hookspec_opts(module_or_class, name) if name in _HOOKS else None

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        if name.startswith("__") or (inspect.ismodule(plugin) and not inspect.isroutine(vars(plugin).get(name))):
            return None
        return super().parse_hookimpl_opts(plugin, name)


def _register(plugin: Any) -> Any:
    """Give the plugin a manager of its own, so that nothing it implements can touch another plugin's calls."""
    manager = _PluginManager(hookspecs.PROJECT_NAME)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(plugin)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginBroken(_misfit(manager, plugin)) from error
    for name in _HOOKS:
        implementations = getattr(manager.hook, name).get_hookimpls()
        if not implementations and name in hookspecs.REQUIRED_HOOKS:
            raise PluginBroken(
                f"It does not implement {name}(); decorate its implementation with @connectory.hookimpl."
            )
        if any(_is_async(found.function) for found in implementations):
            raise PluginBroken(
                f"{name}() is 'async def'; hooks are plain functions, because a test has a process of its own."
            )
        if any(inspect.isgeneratorfunction(found.function) for found in implementations):
            raise PluginBroken(f"{name}() holds 'yield', so calling it would not run it; return or raise instead.")
    return manager.hook


def _is_async(function: Any) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _misfit(manager: pluggy.PluginManager, plugin: Any) -> str:
    """Which of the plugin's hooks pluggy refuses, in one line and without the paths that pluggy's own text holds."""
    for name in dir(plugin):
        if manager.parse_hookimpl_opts(plugin, name) is None:
            continue
        if name not in _HOOKS:
            close = difflib.get_close_matches(name, _HOOKS, n=1)
            remedy = f"did you mean {close[0]}()?" if close else f"the hooks are {', '.join(_HOOKS)}."
            return f"It implements {name}(), which is not a hook; {remedy}"
        offered = list(inspect.signature(getattr(hookspecs, name)).parameters)
        unknown = [
            argument for argument in inspect.signature(getattr(plugin, name)).parameters if argument not in offered
        ]
        if unknown:
            return f"{name}() takes {', '.join(unknown)}, but the hook offers only: {', '.join(offered) or 'nothing'}."
    return "It implements a hook with options that the hook's specification does not allow; use plain @connectory.hookimpl."


def _call(hooks: Any, name: str, **arguments: Any) -> Any:
    try:
        return getattr(hooks, name)(**arguments)
    except ConnectorUnusable:
        raise
    except Exception as error:
        raise PluginBroken(f"{name}() raised {type(error).__name__}; report it to its authors.") from error


def _describe(hooks: Any, identifier: str) -> Description:
    described = _call(hooks, "connectory_describe")
    if described is None:
        described = Description()
    if not isinstance(described, Description):
        raise PluginBroken("connectory_describe() must return a connectory.Description.")
    if described.human_readable:
        return described
    return described.model_copy(update={"human_readable": identifier.replace("_", " ").title()})


def _settings(hooks: Any, environment: Mapping[str, str]) -> DeployerSettings | None:
    model = _call(hooks, "connectory_settings")
    if model is None:
        return None
    if not (isinstance(model, type) and issubclass(model, DeployerSettings)):
        raise PluginBroken("connectory_settings() must return a subclass of connectory.DeployerSettings.")
    try:
        return read_settings(model, environment)
    except ValidationError as error:
        from connectory.contract.setting_problems import setting_problems

        problems = setting_problems(model, error) or ["Its settings do not go together; correct or unset them."]
        raise PluginBroken(" ".join(problems)) from error
