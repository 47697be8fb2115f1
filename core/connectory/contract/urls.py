"""Our own strict grammar for connection urls. A url is parsed into the same parts a consumer could have sent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote, unquote

from connectory.contract.fields import HOSTNAME_PATTERN, IPV4_PATTERN, IPV6_PATTERN, TEXT_PATTERN

# What may stand in each place, unencoded (RFC 3986's unreserved and sub-delims, except what this grammar uses itself) or
# percent-encoded (§2.1).
_PLAIN = r"[A-Za-z0-9._~!$'()*+,;=-]|%[0-9A-Fa-f]{2}"
_USERNAME = re.compile(rf"(?:{_PLAIN})+")
_PASSWORD = re.compile(rf"(?:{_PLAIN}|:)+")
_SEGMENT = re.compile(rf"(?:{_PLAIN}|[:@])+")
_VALUE = re.compile(r"(?:[A-Za-z0-9._~!$'()*,;:@/-]|%[0-9A-Fa-f]{2})+")
_NO_CONTROLS = re.compile(TEXT_PATTERN)
_PORT = re.compile(r":[1-9][0-9]{0,4}")
_PASSWORD_HINT = "'@', '/', '?' and '#' in a password must be percent-encoded."
URL_HOST_PATTERN = rf"(?:{HOSTNAME_PATTERN}|{IPV4_PATTERN}|\[{IPV6_PATTERN}\])"


class UrlInvalid(ValueError):
    """A url does not follow its grammar. `args[0]` names the part and holds nothing of the url."""


@dataclass(frozen=True)
class QueryKey:
    """One known query key of a url.

    Attributes:
        field: the secrets field that the value is for; `None` for a key that is accepted and has no meaning here.
        values: the accepted values and what each stands for. Default: any text, for a key without a field.
    """

    field: str | None
    values: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class UrlGrammar:
    """The urls that a connector accepts instead of the parts, and which field each part of them is.

    A url must also give every part whose field has no default. What a part may hold is for its field to say.

    Attributes:
        schemes: each accepted scheme, and the fields it implies. The first is the one that `render` writes.
        host: field of the host. Its grammar in the url is `host_pattern`.
        port: field of the port, or `None` where urls have none.
        username, password: fields of the user info, or `None` where urls have none.
        path: fields of the path's segments, in order.
        query: the known query keys, each with its field, whose type reads the value, or with a `QueryKey`.
        required: parts that must be given although their fields have a default.
        required_parts: the same, where the parts are sent instead of a url.
        host_pattern: a regular expression for the host. Default: a host name, an IPv4 address, an IPv6 address in brackets.
        without_port: schemes whose urls must not hold a port, because the DNS says which it is. Default: none.
    """

    schemes: Mapping[str, Mapping[str, Any]]
    host: str = "host"
    port: str | None = "port"
    username: str | None = "username"
    password: str | None = "password"
    path: tuple[str, ...] = ("dbname",)
    query: Mapping[str, QueryKey | str] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    required_parts: frozenset[str] = frozenset()
    texts: Mapping[str, Any] = field(
        default_factory=dict, repr=False
    )  # of 0.1.0, where a url's pattern held them; unused
    host_pattern: str = URL_HOST_PATTERN
    without_port: frozenset[str] = frozenset()

    @cached_property
    def fields(self) -> frozenset[str]:
        """Every field that the authority and path of a url stand for; these may not be sent beside a url."""
        names = {self.host, self.port, self.username, self.password, *self.path}
        names |= {name for implied in self.schemes.values() for name in implied}
        return frozenset(name for name in names if name)

    @cached_property
    def query_keys(self) -> dict[str, list[str]]:
        """The query keys of each field that a url may give in its query; such a field may also be sent beside the url."""
        keys: dict[str, list[str]] = {}
        for key, meaning in self.query.items():
            name = meaning.field if isinstance(meaning, QueryKey) else meaning
            if name is not None:
                keys.setdefault(name, []).append(key)
        return keys

    def needed_in_url(self, without_default: frozenset[str]) -> frozenset[str]:
        """The fields that a url, or what is sent beside it, must give, where the model has these fields without a default."""
        return self.required | without_default & (self.fields | self.query_keys.keys())

    def needed_parts(self, without_default: frozenset[str]) -> frozenset[str]:
        """The same where the parts are sent instead of a url."""
        return self.needed_in_url(without_default) | self.required_parts

    @cached_property
    def shape(self) -> str:
        """A pattern for the schema: the scheme, and printable ASCII. `parse` is stricter."""
        schemes = "|".join(scheme.replace("+", r"\+").replace(".", r"\.") for scheme in self.schemes)
        return rf"^(?:{schemes}):\/\/[!-~]+$"

    @cached_property
    def form(self) -> str:
        """The url as people read it, such as `postgresql://username:password@host:port/dbname`."""
        userinfo = f"{self.username}{f':{self.password}' if self.password else ''}@" if self.username else ""
        port = f":{self.port}" if self.port else ""
        return f"{next(iter(self.schemes))}://{userinfo}{self.host}{port}" + "".join(f"/{name}" for name in self.path)

    def parse(self, url: str) -> dict[str, Any]:
        """The fields that `url` stands for; those it leaves out are absent.

        Raises:
            UrlInvalid: with a sentence that names the part, and nothing of the url.
        """
        if url != url.strip():
            raise UrlInvalid("The url begins or ends with a blank; leave it out.")
        scheme, separator, rest = url.partition("://")
        if not separator or scheme not in self.schemes:
            raise UrlInvalid(f"The url must begin with {' or '.join(f'{scheme}://' for scheme in self.schemes)}.")
        rest, question, query = rest.partition("?")
        authority, _, path = rest.partition("/")
        userinfo, at, hostport = authority.rpartition("@")
        parts = dict(self.schemes[scheme])
        parts |= self._userinfo(userinfo) if at else {}
        try:
            parts |= self._host_and_port(hostport)
        except UrlInvalid as problem:
            if at or "@" not in rest + query:
                raise
            # A password may have ended the authority too early.
            raise UrlInvalid(f"{problem} {_PASSWORD_HINT}") from None
        if scheme in self.without_port and self.port in parts:
            raise UrlInvalid(f"A url that begins with {scheme}:// must not hold a port; the DNS says which it is.")
        parts |= self._path(path)
        parts |= self._query(query) if question else {}
        if lacking := self.required - parts.keys():
            raise UrlInvalid(f"The url lacks a part: {', '.join(sorted(lacking))}.")
        return parts

    def _userinfo(self, userinfo: str) -> dict[str, Any]:
        if self.username is None:
            raise UrlInvalid("The url must not hold a user name or password.")
        # A colon inside a password needs no escape: the first one ends the user name (RFC 3986 §3.2.1).
        written, colon, secret = userinfo.partition(":")
        username, password = _decoded(written, _USERNAME), _decoded(secret, _PASSWORD)
        if username is None or (colon and (password is None or self.password is None)):
            raise UrlInvalid("The url's user name or password holds a character that must be percent-encoded.")
        parts = {self.username: username}
        return parts | {self.password: password} if colon and self.password else parts

    def _host_and_port(self, hostport: str) -> dict[str, Any]:
        if hostport.startswith("["):
            host, bracket, port = hostport[1:].partition("]")
            written = f"[{host}{bracket}"
        else:
            written = host = hostport.partition(":")[0]
            port = hostport.removeprefix(host)
        if not re.fullmatch(self.host_pattern, written) or port[:1] not in {"", ":"}:
            raise UrlInvalid(f"The url's {self.host} is not {self._one_host()}.")
        if not port:
            return {self.host: host}
        if self.port is None:
            raise UrlInvalid("The url must not hold a port.")
        if not _PORT.fullmatch(port) or int(port[1:]) > 65535:
            raise UrlInvalid("The url's port must be a number from 1 to 65535.")
        return {self.host: host, self.port: int(port[1:])}

    def _one_host(self) -> str:
        if self.host_pattern == URL_HOST_PATTERN:
            return "one host name, IPv4 address, or IPv6 address in brackets"
        return "of the form that is expected there"

    def _path(self, path: str) -> dict[str, Any]:
        segments = [_decoded(segment, _SEGMENT) for segment in path.removesuffix("/").split("/")] if path else []
        if len(segments) > len(self.path) or None in segments:
            raise UrlInvalid(f"The url's path must be {'/'.join(self.path) or 'empty'}, percent-encoded.")
        return dict(zip(self.path, segments, strict=False))

    def _query(self, query: str) -> dict[str, Any]:
        parts: dict[str, Any] = {}
        given: set[str] = set()
        for pair in query.split("&"):
            key, _, written = pair.partition("=")
            name, value = self._read(key, written)
            if (name or key) in given:
                raise UrlInvalid("The url repeats a query key; each may stand once, and so may keys of one meaning.")
            given.add(name or key)
            if name is not None:
                parts[name] = value
        return parts

    def _read(self, key: str, written: str) -> tuple[str | None, Any]:
        """The field that a query key gives, and its value."""
        meaning = self.query.get(key)
        value = _decoded(written, _VALUE)
        if isinstance(meaning, str) and value is not None:
            return meaning, value
        if isinstance(meaning, QueryKey) and meaning.values is not None:
            # Many write a space of a query as "+" (the WHATWG's form encoding); in free text that would be ambiguous.
            known = {quote(text, safe=""): stands_for for text, stands_for in meaning.values.items()}
            if (spelling := written.replace("+", "%20")) in known:
                return meaning.field, known[spelling]
        elif isinstance(meaning, QueryKey) and value is not None:
            return None, None
        raise self._unknown_query()

    def _unknown_query(self) -> UrlInvalid:
        known = ", ".join(self.query) or "none"
        return UrlInvalid(
            f"The url's query holds an unknown key, or a value that is not accepted; known keys: {known}."
        )

    def render(self, parts: Mapping[str, Any]) -> str:
        """The url that stands for `parts`: the reverse of `parse`."""
        scheme = next(
            scheme
            for scheme, implied in self.schemes.items()
            if all(parts.get(key, value) == value for key, value in implied.items())
        )
        userinfo = ""
        if self.username and parts.get(self.username) is not None:
            userinfo = quote(str(parts[self.username]), safe="")
            if self.password and parts.get(self.password) is not None:
                userinfo += ":" + quote(str(parts[self.password]), safe="")
            userinfo += "@"
        host = str(parts[self.host])
        authority = f"[{host}]" if ":" in host else host
        if self.port and parts.get(self.port) is not None and scheme not in self.without_port:
            authority += f":{parts[self.port]}"
        path = "".join("/" + quote(str(parts[name]), safe="") for name in self.path if parts.get(name) is not None)
        pairs = [
            f"{key}={quote(value, safe='')}"
            for name, keys in self.query_keys.items()
            if parts.get(name) is not None
            for key, value in [next(self._spellings(keys, parts[name]))]
        ]
        return f"{scheme}://{userinfo}{authority}{path}" + (f"?{'&'.join(pairs)}" if pairs else "")

    def _spellings(self, keys: list[str], value: Any) -> Iterator[tuple[str, str]]:
        """The query keys of one field that can give it `value`, each with its text for it."""
        for key in keys:
            meaning = self.query[key]
            if isinstance(meaning, str):
                yield key, str(value)
            else:
                known = (meaning.values or {}).items()
                yield from ((key, text) for text, stands_for in known if stands_for == value)

    def mask(self, url: str, mask: str) -> str:
        """`url` with its password replaced by `mask`; the url must follow the grammar."""
        scheme, separator, rest = url.partition("://")
        authority = re.match(r"[^/?]*", rest)
        end = authority.end() if authority else 0
        userinfo, at, hostport = rest[:end].rpartition("@")
        username, colon, _ = userinfo.partition(":")
        return f"{scheme}{separator}{username}:{mask}{at}{hostport}{rest[end:]}" if colon else url


def _decoded(written: str, allowed: re.Pattern[str]) -> str | None:
    """What `written` stands for; `None` where it is not `allowed`, or not UTF-8 without control characters."""
    if not allowed.fullmatch(written):
        return None
    try:
        text = unquote(written, errors="strict")
    except UnicodeDecodeError:
        return None
    return text if _NO_CONTROLS.fullmatch(text) else None
