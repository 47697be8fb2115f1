"""What a definition file may say, and reading one: every mistake is reported with file, line and field.

A definition is data. It names secrets in texts as `<name>`, says where requests go and what answers mean, and can hold no code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from connectory.sources import ConnectorUnusable
from connectory_saas.contents import CollectionShape, mistakes_in
from connectory_saas.strict import Line, Mistake, Strict
from connectory_saas.templates import names_in

IDENTIFIER = r"^[a-z][a-z0-9_]{0,63}$"
_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_SHOWN = 400
"""Characters of a mistake: a plugin's reason may have 500, and file and line come first."""

Status = Annotated[int, Field(ge=100, le=599)]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,80}$")]
HeaderText = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[ -~]+$")]
Url = Annotated[
    str,
    Field(max_length=1000, pattern=rf"^https://(<[a-z][a-z0-9_]*>|({_LABEL}\.)+{_LABEL})(/[A-Za-z0-9._~:/<>@-]*)?$"),
]
"""`https://`, then a host or the secret that holds one, then a path in which secrets may stand. Queries are given apart."""
HostRule = Annotated[
    str, Field(pattern=rf"^(\*\*|(\*|{_LABEL})(\.{_LABEL})+|(\*\.)+{_LABEL}(\.{_LABEL})+)(:[0-9]{{2,5}})?$")
]
"""A host name. `*` stands for one label, `**` alone for any name of at least two; a port may follow, 443 goes without saying."""


class SecretField(Strict):
    """One secret. Fields are shown in the order of the file.

    Attributes:
        title, description: what a form shows.
        default: its value where none is given; it is then not required.
        options: the accepted values. Default: any printable ASCII.
        sensitive: whether it is never shown again.
        optional: whether it may be left out though it has no default.
        hosts: for a field that holds a host: which are accepted.
        url: whether it holds a redirect url.
        pattern, expected: a regular expression for the whole value, in the common part of Python and ECMA-262, and what is
            said of a value that does not fit it: "Must be …".
    """

    title: Line
    description: Line | None = None
    default: Line | None = None
    options: tuple[Line, ...] | None = Field(default=None, min_length=1)
    sensitive: bool = False
    optional: bool = False
    hosts: tuple[HostRule, ...] | None = Field(default=None, min_length=1)
    url: bool = False
    pattern: Line | None = None
    expected: Line | None = None

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise PydanticCustomError("pattern", "Is not a regular expression.") from error
        return value


class Bearer(Strict):
    """`Authorization: Bearer <token>` (RFC 6750 §2.1)."""

    strategy: Literal["bearer"]
    token: HeaderText


class Basic(Strict):
    """`Authorization: Basic …` (RFC 7617); a user or a password that a vendor does not look at may be constant or empty."""

    strategy: Literal["basic"]
    username: Annotated[str, Field(max_length=1000)] = ""
    password: Annotated[str, Field(max_length=1000)] = ""


class ApiKeyHeader(Strict):
    """An API key in one header."""

    strategy: Literal["header"]
    name: HeaderName
    value: HeaderText


class ApiKeyQuery(Strict):
    """An API key in the query."""

    strategy: Literal["query"]
    name: Line
    value: Line


class Headers(Strict):
    """Several keys, each in a header."""

    strategy: Literal["headers"]
    headers: dict[HeaderName, HeaderText] = Field(min_length=1)


class _OAuth(Strict):
    """What both OAuth 2.0 grants have.

    Attributes:
        token_url: the token endpoint.
        client_id, client_secret: the client's credentials.
        client_auth: whether these go into the form (`client_secret_post`) or a header (`client_secret_basic`), RFC 6749 §2.3.1.
        scope: what is asked for; separators are the vendor's.
        parameters: further members of the token request.
        headers: sent with every request besides the token.
        lifetime: seconds that a token lives where the answer has no `expires_in`.
    """

    token_url: Url
    client_id: HeaderText
    client_secret: HeaderText
    client_auth: Literal["client_secret_post", "client_secret_basic"] = "client_secret_post"
    scope: Line | None = None
    parameters: dict[Line, Line] = {}
    headers: dict[HeaderName, HeaderText] = {}
    lifetime: Annotated[int, Field(ge=60, le=31_536_000)] = 3600


class ClientCredentials(_OAuth):
    """OAuth 2.0 client credentials (RFC 6749 §4.4), Adobe's server-to-server exchange among them."""

    strategy: Literal["client_credentials"]


class AuthorizationCode(_OAuth):
    """OAuth 2.0 with the consent of a person (RFC 6749 §4.1), and refresh (§6).

    Attributes:
        authorize_url: where the person consents.
        refresh_url: where tokens are refreshed. Default: at `token_url`.
        redirect_uri: where the vendor sends the browser back to.
        pkce: whether the vendor takes a code challenge (RFC 7636).
    """

    strategy: Literal["authorization_code"]
    authorize_url: Url
    refresh_url: Url | None = None
    redirect_uri: HeaderText
    pkce: bool = False


Auth = Annotated[
    Bearer | Basic | ApiKeyHeader | ApiKeyQuery | Headers | ClientCredentials | AuthorizationCode,
    Field(discriminator="strategy"),
]


class Expected(Strict):
    """What the JSON of a success looks like: its type, and members that an object of that service has."""

    type: Literal["object", "array"]
    members: tuple[Line, ...] = ()


class Answer(Strict):
    """What one status means, where that is more than its class tells.

    Attributes:
        status: the HTTP status.
        body: members of the JSON answer that must have these values too, by dotted name; a number counts in a list.
        code: the verdict; `ok` is a success that need not be JSON.
        remedy: our sentence for it: what happened, and what to do.
    """

    status: Status
    body: dict[Line, Line] = {}
    code: Literal["ok", "auth_failed", "permission_denied", "rate_limited", "http_4xx", "http_5xx"]
    remedy: Line | None = None


class Request(Strict):
    """One request of the test: the cheapest that proves the credentials and reads nobody's personal data.

    Attributes:
        url: where it goes. Secrets in its path are percent-encoded.
        query, headers: constant or with secrets.
        auth: how it is authorized, where not like the others.
        expect: what a success looks like.
        answers: what statuses mean; the first that fits counts. The others mean what their class says.
    """

    url: Url
    method: Literal["GET"] = "GET"
    query: dict[Line, Line] = {}
    headers: dict[HeaderName, HeaderText] = {}
    auth: Auth | None = None
    expect: Expected
    answers: tuple[Answer, ...] = ()


class RateLimit(Strict):
    """How a vendor limits requests.

    Attributes:
        reset_header, reset: a header besides `Retry-After` that says when requests are taken again: in so many `seconds`, or at a
            `unix` time.
    """

    reset_header: HeaderName | None = None
    reset: Literal["seconds", "unix"] = "seconds"


class Definition(Strict):
    """One connector.

    Attributes:
        identifier: what consumers call it. Left out, it is the file's name, and it can be no other.
        name, icon, user_guide, category: what user interfaces show. The icon is SVG; without one the service draws one.
        secrets: the fields, in order.
        auth: how requests are authorized.
        test: the requests of the test, in order.
        rate_limit: how the vendor says when to come back.
        collections: what every account holds, by the names of the collections. Default: it is not known.
    """

    identifier: Annotated[str, Field(pattern=IDENTIFIER)]
    name: Annotated[Line, Field(max_length=80)]
    icon: Annotated[str, Field(max_length=16_384, pattern=r"^\s*<svg[\s>]")] | None = None
    user_guide: Annotated[str, Field(max_length=500, pattern=r"^https://")] | None = None
    category: Annotated[Line, Field(max_length=40)] | None = None
    secrets: dict[Annotated[str, Field(pattern=IDENTIFIER)], SecretField] = Field(min_length=1)
    auth: Auth
    test: tuple[Request, ...] = Field(min_length=1)
    rate_limit: RateLimit | None = None
    collections: dict[Line, CollectionShape] = {}


def load_definition(path: Path) -> Definition:
    """Read the definition in `path`.

    Raises:
        ConnectorUnusable: it cannot be read or is not accepted; the message names file, line and field.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConnectorUnusable(f"{path.name} cannot be read as UTF-8 text ({type(error).__name__}).") from error
    node, data = _parsed(text, path.name)
    try:
        definition = Definition.model_validate(_complete(data, path.stem))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise _mistake(path.name, node, found[0]["loc"], found[0]["msg"], len(found) - 1) from None
    mistakes = list(_inconsistencies(definition))
    if mistakes:
        raise _mistake(path.name, node, mistakes[0][0], mistakes[0][1], len(mistakes) - 1)
    return definition


def _complete(data: Any, identifier: str) -> Any:
    """What a file holds, with its identifier, and without the members that version 0.1 took, and that nothing ever read."""
    if not isinstance(data, dict):
        return data
    members = {"identifier": identifier} | {name: value for name, value in data.items() if name != "pagination"}
    if isinstance(rate_limit := members.get("rate_limit"), dict):
        read = {name: value for name, value in rate_limit.items() if name not in {"requests", "period"}}
        members["rate_limit"] = read
    return members


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # the C one where PyYAML has it
    pass


def _parsed(text: str, file: str) -> tuple[yaml.Node, Any]:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise ConnectorUnusable(f"{file} is empty; see the definitions that come with connectory-saas.")
        for key in _twice(node):
            raise ConnectorUnusable(f"{file}, line {key.start_mark.line + 1}, {key.value}: Is given twice."[:500])
        return node, loader.construct_document(node)
    except (yaml.MarkedYAMLError, yaml.reader.ReaderError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise ConnectorUnusable(
            f"{file}{line}: Is no YAML that a definition may hold ({type(error).__name__})."
        ) from None
    finally:
        loader.dispose()


def _twice(node: yaml.Node) -> Iterator[yaml.Node]:
    """Keys that a mapping has already, of which PyYAML would take the last."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if str(key.value) in seen:
                yield key
            seen.add(str(key.value))
            yield from _twice(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _twice(item)


def _mistake(file: str, root: yaml.Node, place: tuple[str | int, ...], message: str, others: int) -> ConnectorUnusable:
    node, names = root, []
    for part in place:
        below = _below(node, part)
        if below is not None:
            node = below
            names.append(str(part))
    if place and (not names or str(place[-1]) != names[-1]):
        names.append(str(place[-1]))  # a field that is missing
    more = f" ({others} more)" if others else ""
    field = ".".join(names) or "the file"
    text = f"{file}, line {node.start_mark.line + 1}, {field}: {message[:_SHOWN]}{more}"
    return ConnectorUnusable("".join(character if character.isprintable() else " " for character in text)[:500])


def _below(node: yaml.Node, part: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == str(part)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        item: yaml.Node = node.value[part]
        return item
    return None


_URLS = {"url", "token_url", "authorize_url", "refresh_url"}


def _inconsistencies(definition: Definition) -> Iterator[Mistake]:
    """Mistakes that show only when parts are seen together."""
    yield from _field_mistakes(definition)
    yield from mistakes_in(definition.collections)
    for place, text in _texts(definition.model_dump(exclude={"secrets", "name", "icon", "collections"}), ()):
        for name in names_in(text):
            if name not in definition.secrets:
                yield place, f"Names the secret '{name}', which is not among the secrets."
            elif text.startswith(f"https://<{name}>") and definition.secrets[name].hosts is None and place[-1] in _URLS:
                yield place, f"Takes its host from the secret '{name}', which has no 'hosts'."


def _field_mistakes(definition: Definition) -> Iterator[Mistake]:
    for name, found in definition.secrets.items():
        place = ("secrets", name)
        kinds = [kind for kind in ("options", "hosts", "url", "pattern") if getattr(found, kind)]
        if len(kinds) > 1:
            yield (*place, kinds[1]), f"Does not go with '{kinds[0]}'."
        if found.sensitive and (found.default is not None or found.hosts or found.options):
            yield (*place, "sensitive"), "Does not go with a default, 'hosts' or 'options'."
        if found.optional and found.default is not None:
            yield (*place, "optional"), "A field with a default is optional already."
        if (found.pattern is None) != (found.expected is None):
            yield place, "'pattern' and 'expected' go together."


def _texts(value: Any, place: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(item, (*place, name))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _texts(item, (*place, index))
