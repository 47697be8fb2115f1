"""What is promised to plugin authors, deployers and REST consumers, as text that can be read in a diff."""

import enum
import inspect
import re
import typing
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel
from typer.main import get_command

import connectory.consent
import connectory.sources
import connectory.testing
import connectory.toolkit
from connectory.contract import hookspecs

MODULES = (connectory, connectory.consent, connectory.sources, connectory.testing, connectory.toolkit)
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def python_names() -> Iterator[str]:
    """Every public name with its signature; of a class, its public members."""
    for module in MODULES:
        yield f"# {module.__name__}"
        for name in sorted(module.__all__):
            yield from _described(name, getattr(module, name))
        yield ""


def _described(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, type):
        yield f"class {name}({', '.join(base.__name__ for base in value.__bases__ if base is not object)})"
        yield from sorted(f"    {line}" for line in _members(value))
    elif inspect.isroutine(value):
        yield f"def {name}{_signature(value)}"
    elif typing.get_origin(value) is not None:
        yield f"{name}: a type over {_plain(typing.get_args(value)[0])}"
    else:
        yield f"{name}: {type(value).__name__}"


def _members(cls: type) -> Iterator[str]:
    if issubclass(cls, enum.Enum):
        yield from (f"{member.name} = {member.value!r}" for member in cls)
        return
    annotations = {
        key: kind for base in reversed(cls.__mro__) for key, kind in vars(base).get("__annotations__", {}).items()
    }
    fields = cls.model_fields if issubclass(cls, BaseModel) else annotations
    for name in fields:
        if not name.startswith(("_", "model_")):
            yield f"{name}: {_plain(annotations.get(name, ''))}"
    if inspect.isfunction(vars(cls).get("__init__")):
        yield f"__init__{_signature(vars(cls)['__init__'])}"
    for name in dir(cls):
        member = inspect.getattr_static(cls, name)
        if name.startswith("_") or name in annotations or (issubclass(cls, BaseModel) and hasattr(BaseModel, name)):
            continue
        if isinstance(member, property):
            yield f"{name} -> {_plain(member.fget.__annotations__.get('return', '')) if member.fget else ''}"
        elif inspect.isroutine(getattr(cls, name)) and not any(
            name in vars(base) for base in (str, tuple, BaseException)
        ):
            yield f"{name}{_signature(getattr(cls, name))}"


def _signature(function: Callable[..., Any]) -> str:
    try:
        return _ADDRESS.sub("", str(inspect.signature(function)))
    except (TypeError, ValueError):
        return "(...)"


def _plain(annotation: Any) -> str:
    if isinstance(annotation, str):
        return annotation
    return getattr(annotation, "__name__", None) or _ADDRESS.sub("", repr(annotation))


def hooks() -> Iterator[str]:
    """Every hook with what it offers."""
    for kind, names in (("required", hookspecs.REQUIRED_HOOKS), ("optional", hookspecs.OPTIONAL_HOOKS)):
        yield f"# {kind}"
        yield from (f"{name}{_signature(getattr(hookspecs, name))}" for name in sorted(names))
        yield ""


def settings() -> Iterator[str]:
    """Every setting of the service with its type and default."""
    from connectory.settings import Settings

    prefix = Settings.model_config.get("env_prefix", "")
    for name, field in sorted(Settings.model_fields.items()):
        default = "required" if field.is_required() else repr(field.get_default(call_default_factory=False))
        yield f"{prefix}{name.upper()}: {_plain(field.annotation)} = {default}"


def commands() -> Iterator[str]:
    """Every command with its arguments and options."""
    from connectory.commands import app

    yield from _commands("connectory", get_command(app))


def _commands(path: str, command: Any) -> Iterator[str]:
    if hasattr(command, "commands"):
        for name, inner in sorted(command.commands.items()):
            yield from _commands(f"{path} {name}", inner)
        return
    parameters = [
        "/".join(one.opts) if one.param_type_name == "option" else (one.name or "").upper()
        for one in command.params
        if one.name not in {"help", "install_completion", "show_completion"}
    ]
    yield " ".join([path, *(f"[{name}]" for name in parameters)])


def rest(document: dict[str, Any]) -> Iterator[str]:
    """Every operation of the OpenAPI document with its parameters and the members of what it takes and answers."""
    for path, operations in sorted(document["paths"].items()):
        for method, operation in sorted(operations.items()):
            asked = [f"{one['name']} ({one['in']})" for one in operation.get("parameters", [])]
            yield f"{method.upper()} {path}  {operation['operationId']}  {', '.join(asked)}".rstrip()
            yield f"    takes {_names(operation.get('requestBody', {}))}"
            yield from (
                f"    answers {status} {_names(answer)}" for status, answer in sorted(operation["responses"].items())
            )
    yield ""
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield f"{name}: {', '.join(sorted(schema.get('properties', {}))) or schema.get('type', 'one of several')}"


def _names(found: Any) -> str:
    names = sorted(set(re.findall(r"#/components/schemas/(\w+)", str(found))))
    return ", ".join(names) or "nothing that has a name"
