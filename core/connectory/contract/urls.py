"""Our own strict grammar for connection urls. A url is parsed into the same parts a consumer could have sent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote, unquote, unquote_plus

from connectory.contract.fields import HOSTNAME_PATTERN, IPV4_PATTERN, IPV6_PATTERN

# Percent-encoded UTF-8 without control characters (RFC 3986 §2.1; the byte ranges are those of RFC 3629 §4).
_PERCENT = (
    r"(?:%[2-6][0-9A-Fa-f]|%7[0-9A-Ea-e]"
    r"|%[Cc][2-9A-Fa-f]%[89ABab][0-9A-Fa-f]|%[Dd][0-9A-Fa-f]%[89ABab][0-9A-Fa-f]"
    r"|%[Ee]0%[ABab][0-9A-Fa-f]%[89ABab][0-9A-Fa-f]|%[Ee][1-9A-Ca-cEFef](?:%[89ABab][0-9A-Fa-f]){2}"
    r"|%[Ee][Dd]%[89][0-9A-Fa-f]%[89ABab][0-9A-Fa-f]"
    r"|%[Ff]0%(?:9|[ABab])[0-9A-Fa-f](?:%[89ABab][0-9A-Fa-f]){2}|%[Ff][1-3](?:%[89ABab][0-9A-Fa-f]){3}"
    r"|%[Ff]4%8[0-9A-Fa-f](?:%[89ABab][0-9A-Fa-f]){2})"
)
# What may stand unencoded in each place: RFC 3986's unreserved and sub-delims, less what this grammar uses itself.
_PLAIN = r"[A-Za-z0-9._~!$'()*+,;=-]"
_IN_QUERY = r"[A-Za-z0-9._~!$'()*,;:@/-]"
_PORT = r"(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
URL_HOST_PATTERN = rf"(?:{HOSTNAME_PATTERN}|{IPV4_PATTERN}|\[{IPV6_PATTERN}\])"


def _literal(text: str) -> str:
    """A pattern for `text` itself, with only the escapes that ECMA-262 knows."""
    return "".join(f"\\{character}" if character in r"^$\.*+?()[]{}|/" else character for character in text)


def _some(plain: str, limit: UrlText | None) -> str:
    """A pattern for one or more characters that stand as they are or percent-encoded, within `limit`."""
    if limit is None:
        return rf"(?:{plain}|{_PERCENT})+"
    refused = f"(?!{limit.refused})" if limit.refused else ""
    return rf"(?:{refused}(?:{plain}|{_PERCENT})){{1,{limit.max_length}}}"


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
class UrlText:
    """What a user name, a password, a segment of the path or a free query value may hold, where that is less than any text.

    `parse` takes more than this and leaves the refusal to the field, whose own grammar gives the reason; the `pattern` that
    consumers read must not promise more than the field accepts.

    Attributes:
        max_length: most characters, counted as characters and not as bytes of their percent-encoding.
        without: ASCII characters that may not occur, percent-encoded or not.
        basic_plane: whether characters beyond U+FFFF may not occur, which UTF-8 writes as four bytes.
    """

    max_length: int
    without: str = ""
    basic_plane: bool = False

    @property
    def refused(self) -> str:
        """A regular expression for the beginning of what may not occur; empty where all may."""
        refused = ["%[Ff]"] if self.basic_plane else []
        refused += [
            rf"{_literal(character)}|%{code[0]}" + (f"[{code[1]}{code[1].lower()}]" if code[1].isalpha() else code[1])
            for character in self.without
            for code in [f"{ord(character):02X}"]
        ]
        return "|".join(refused)


@dataclass(frozen=True)
class UrlGrammar:
    """The urls that a connector accepts instead of the parts, and which field each part of them is.

    Attributes:
        schemes: each accepted scheme, and the fields it implies. The first is the one that `render` writes.
        host: field of the host. Its grammar in the url is `host_pattern`.
        port: field of the port, or `None` where urls have none.
        username, password: fields of the user info, or `None` where urls have none.
        path: fields of the path's segments, in order.
        query: the known query keys, or for free text values the field alone.
        required: which of the parts must be there.
        required_parts: further ones that must be there where the parts are sent instead of a url.
        texts: the fields that accept less than any text in their place of the url.
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
    texts: Mapping[str, UrlText] = field(default_factory=dict)
    host_pattern: str = URL_HOST_PATTERN

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

    def gives(self, name: str) -> str | None:
        """A regular expression to be found in just those urls that give the field `name`; `None` where no url can.

        Raises:
            ValueError: for a part that is neither the password nor in the query.
        """
        if name in self.query_keys:
            return f"[?&](?:{'|'.join(self.query_keys[name])})="
        if name == self.password:
            return "^[^:]+://[^:@/?]+:[^@/?]+@"
        if name in self.fields:
            raise ValueError(f"whether a url gives {name} cannot be told by a pattern")
        return None

    @cached_property
    def pattern(self) -> str:
        """The whole grammar as one regular expression, in the common part of Python and ECMA-262.

        It is what the JSON Schema shows, so it accepts exactly the urls that `parse` and the fields accept.
        """
        return self._pattern(self.texts)

    def _pattern(self, texts: Mapping[str, UrlText]) -> str:
        scheme = "|".join(map(_literal, self.schemes))
        return (
            rf"{self._once_pattern}(?:{scheme})://{self._userinfo_pattern(texts)}(?:{self.host_pattern})"
            + self._port_pattern
            + self._path_pattern(texts)
            + self._query_pattern(texts)
        )

    @property
    def _once_pattern(self) -> str:
        """That no key occurs twice, and no two keys of one field."""
        alone = [
            [key] for key, meaning in self.query.items() if isinstance(meaning, QueryKey) and meaning.field is None
        ]
        groups = ["|".join(map(_literal, keys)) for keys in [*self.query_keys.values(), *alone]]
        return "".join(rf"(?!.*[?&](?:{keys})=[^&]*&(?:.*&)?(?:{keys})=)" for keys in groups)

    def _userinfo_pattern(self, texts: Mapping[str, UrlText]) -> str:
        if self.username is None:
            return ""
        word = _some(_PLAIN, texts.get(self.username))
        password = ""
        if self.password is not None:
            # A colon inside a password needs no escape: the first one ends the user name (RFC 3986 §3.2.1).
            secret = ":" + _some(rf"{_PLAIN}|:", texts.get(self.password))
            password = secret if self.password in self.required else f"(?:{secret})?"
        userinfo = rf"{word}{password}@"
        return userinfo if self.required & {self.username, self.password} else f"(?:{userinfo})?"

    @property
    def _port_pattern(self) -> str:
        if self.port is None:
            return ""
        return rf":{_PORT}" if self.port in self.required else rf"(?::{_PORT})?"

    def _path_pattern(self, texts: Mapping[str, UrlText]) -> str:
        pattern = "/?"
        for name in reversed(self.path):
            segment = _some(rf"{_PLAIN}|[:@]", texts.get(name))
            inner = f"/{segment}{pattern}"
            pattern = inner if name in self.required else f"(?:{inner}|/?)"
        return pattern

    def _query_pattern(self, texts: Mapping[str, UrlText]) -> str:
        if not self.query:
            return ""
        pairs = []
        for key, meaning in self.query.items():
            if isinstance(meaning, QueryKey) and meaning.values is not None:
                # Many write a space of a query as "+" (the WHATWG's form encoding); in free text that would be ambiguous.
                value = "|".join(
                    _literal(quote(text, safe="")).replace("%20", r"(?:%20|\+)") for text in meaning.values
                )
                pairs.append(rf"{_literal(key)}=(?:{value})")
            else:
                limit = texts.get(meaning) if isinstance(meaning, str) else None
                pairs.append(rf"{_literal(key)}=" + _some(_IN_QUERY, limit))
        pair = "(?:" + "|".join(pairs) + ")"
        return rf"(?:\?{pair}(?:&{pair})*)?"

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self._pattern({}))

    def parse(self, url: str) -> dict[str, Any]:
        """The fields that `url` stands for; those it leaves out are absent.

        Raises:
            UrlInvalid: with a sentence that names the part, and nothing of the url.
        """
        if not self._compiled.fullmatch(url):
            raise UrlInvalid(self._complaint(url))
        scheme, _, rest = url.partition("://")
        rest, _, query = rest.partition("?")
        authority, _, path = rest.partition("/")
        userinfo, _, hostport = authority.rpartition("@")
        parts: dict[str, Any] = dict(self.schemes[scheme])
        host, port = self._split_port(hostport)
        parts[self.host] = host
        if port and self.port:
            parts[self.port] = int(port)
        if userinfo and self.username:
            username, _, password = userinfo.partition(":")
            parts[self.username] = unquote(username, errors="strict")
            if password and self.password:
                parts[self.password] = unquote(password, errors="strict")
        for name, segment in zip(self.path, path.split("/"), strict=False):
            if segment:
                parts[name] = unquote(segment, errors="strict")
        for pair in filter(None, query.split("&")):
            key, _, value = pair.partition("=")
            meaning = self.query[key]
            if isinstance(meaning, str):
                parts[meaning] = unquote(value, errors="strict")
            elif meaning.field is not None and meaning.values is not None:
                parts[meaning.field] = meaning.values[unquote_plus(value, errors="strict")]
        return parts

    def _split_port(self, hostport: str) -> tuple[str, str]:
        if hostport.startswith("["):
            host, _, port = hostport[1:].partition("]")
            return host, port.removeprefix(":")
        host, _, port = hostport.partition(":")
        return host, port

    def _complaint(self, url: str) -> str:
        """Name the first part of `url` that does not fit."""
        scheme, separator, rest = url.partition("://")
        if not separator or scheme not in self.schemes:
            return f"The url must begin with {' or '.join(f'{scheme}://' for scheme in self.schemes)}."
        rest, _, query = rest.partition("?")
        authority, _, path = rest.partition("/")
        userinfo, at, hostport = authority.rpartition("@")
        if at and self.username is None:
            return "The url must not hold a user name or password."
        if at and not re.fullmatch(rf"(?:{_PLAIN}|{_PERCENT})+(?::(?:{_PLAIN}|:|{_PERCENT})+)?", userinfo):
            return "The url's user name or password holds a character that must be percent-encoded."
        if not re.fullmatch(rf"(?:{self.host_pattern})(?::[0-9]*)?", hostport):
            return "The url's host is not a host name or IP address; '@', '/', '?' and '#' in a password must be percent-encoded."
        if not re.fullmatch(rf"(?:{self.host_pattern})" + (rf"(?::{_PORT})?" if self.port else ""), hostport):
            return "The url's port must be a number from 1 to 65535." if self.port else "The url must not hold a port."
        if not re.fullmatch(self._path_pattern({}), f"/{path}" if path else ""):
            return f"The url's path must be {'/'.join(self.path) or 'empty'}, percent-encoded."
        if query and not re.fullmatch(self._query_pattern({}), f"?{query}"):
            known = ", ".join(self.query) or "none"
            return f"The url's query holds an unknown key, or a value that is not accepted; known keys: {known}."
        missing = ", ".join(sorted(self.required))
        return f"The url lacks a required part or repeats a query key; required: {missing or self.host}."

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
        if self.port and parts.get(self.port) is not None:
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
