"""Datasets as YAML: read with the line of every part, so that what is wrong can be shown where it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from connectory_console.languages import gettext as _

DEEPEST = 100
"""Levels that a document may be nested; the API refuses fewer."""


class YamlInvalid(Exception):
    """A text is not YAML that can be read.

    Attributes:
        line: where, counted from 1.
    """

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


# In C where PyYAML's wheel has it, as all of them do: a dataset of 1 MB takes two seconds and not twenty.
_FastLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FastDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Loader(_FastLoader):  # type: ignore[misc]
    """The safe loader, for which a date is the text that it is written as: JSON has no dates."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True)
class Read:
    """A text as it was read.

    Attributes:
        datasets: what it holds: a list of datasets, whether it was one, a list, or a file with the member `dataset`.
    """

    datasets: list[Any]
    _node: yaml.Node | None

    def line_of(self, path: tuple[str | int, ...]) -> int:
        """The line of the part at `path`, counted from 1, or of the innermost part around it that is there."""
        node = self._node
        parts = list(path)
        if isinstance(node, yaml.MappingNode) and (inner := _member(node, "dataset")) is not None:
            node = inner[1]
        if parts and isinstance(parts[0], int) and not isinstance(node, yaml.SequenceNode):
            parts = parts[1:]
        line = 1 if node is None else node.start_mark.line + 1
        for part in parts:
            if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
                line = node.start_mark.line + 1
            elif isinstance(node, yaml.MappingNode) and (found := _member(node, part)) is not None:
                line, node = found[0].start_mark.line + 1, found[1]
            else:
                break
        return line


def read_yaml(text: str) -> Read:
    """The datasets in `text`, which may be YAML or JSON.

    Raises:
        YamlInvalid: it is not YAML, repeats a member, refers back to itself, or is nested too deeply.
    """
    try:
        depth = 0
        for event in yaml.parse(text, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            line = event.start_mark.line + 1 if event.start_mark else 1
            if depth > DEEPEST:
                raise YamlInvalid(_("This is nested more than %(levels)s levels deep.", levels=DEEPEST), line)
            if isinstance(event, yaml.AliasEvent):
                raise YamlInvalid(_("Write this out: references (*) are not accepted."), line)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is not None:
                _refuse_repeated(node)
            value = loader.construct_document(node) if node is not None else None
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        line = min(mark.line, text.count("\n")) + 1 if mark else 1  # the end of the text has no line of its own
        raise YamlInvalid(_("This is not YAML: %(problem)s.", problem=problem.problem), line) from None
    except (yaml.YAMLError, ValueError):
        raise YamlInvalid(_("This is not YAML: it holds characters that YAML does not have."), 1) from None
    if isinstance(value, dict) and isinstance(value.get("dataset"), list):
        value = value["dataset"]
    return Read(value if isinstance(value, list) else [value], node)


def write_yaml(dataset: Any) -> str:
    """A dataset as YAML, members in their order, without those that hold nothing."""
    plain = _without_nothing(dataset)
    return str(yaml.dump(plain, Dumper=_FastDumper, sort_keys=False, allow_unicode=True, width=100))


def _without_nothing(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nothing(part) for name, part in value.items() if part not in (None, [], {})}
    return [_without_nothing(part) for part in value] if isinstance(value, list) else value


def _member(node: yaml.MappingNode, name: Any) -> tuple[yaml.Node, yaml.Node] | None:
    return next(((key, value) for key, value in node.value if key.value == str(name)), None)


def _refuse_repeated(node: yaml.Node) -> None:
    """YAML says that names are unique (YAML 1.2.2 §3.2.1.1); the loader takes the last one, and the first would be lost."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if isinstance(key.value, str) and key.value in seen:
                raise YamlInvalid(_("'%(name)s' is here a second time.", name=key.value[:80]), key.start_mark.line + 1)
            if isinstance(key.value, str):
                seen.add(key.value)
            _refuse_repeated(value)
    elif isinstance(node, yaml.SequenceNode):
        for part in node.value:
            _refuse_repeated(part)
