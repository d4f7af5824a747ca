"""RPSL ``route6`` objects, as a route registry (IRR) holds them (RFC 2622 §2, RFC 4012 §3).

The draft (§4.1) would have everybody's prefixes in such a registry, so that a second origin AS can
be told from a hijacker. Here a registry is a text file; import filters are made from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv6Network

from topologies.route_origins import MAX_ASN

CLASS = "route6"
MANDATORY = ("origin", "mnt-by", "source")
"""Besides the prefix. RFC 4012's `descr` and `changed` may be missing: no filter needs them."""

_ATTRIBUTE = re.compile(r"([A-Za-z][A-Za-z0-9_-]*):(.*)")
_AS_NUMBER = re.compile(r"AS([0-9]+)", re.IGNORECASE)


class RpslError(ValueError):
    """A registry that cannot be read: file, line, what is wrong and what would be right."""


@dataclass(frozen=True, slots=True)
class Route6:
    """A registered route: this AS originates this prefix. Both together are the object's key."""

    prefix: IPv6Network
    origin: int


@dataclass(slots=True)
class _Attribute:
    """One attribute with where it stands; its value may have been continued over several lines."""

    line: int
    name: str
    value: str


def parse(text: str, where: str = "registry") -> tuple[Route6, ...]:
    """Return the ``route6`` objects of a registry, in order; objects of other classes are ignored.

    Raises RpslError for the first thing wrong, with line and cure; ``where`` names the file.
    """
    found: dict[Route6, int] = {}
    for attributes in _objects(text, where):
        if attributes[0].name != CLASS:
            continue
        route = _route(attributes, where)
        if route in found:
            raise RpslError(
                f"{where}:{attributes[0].line}: {route.prefix} from AS{route.origin} stands at "
                f"line {found[route]} too: leave one of them out"
            )
        found[route] = attributes[0].line
    return tuple(found)


def render(routes: Iterable[Route6], maintainer: str = "MAINT-LAB", source: str = "LAB") -> str:
    """Return a registry that holds these routes."""
    return "\n".join(
        f"{CLASS}:  {route.prefix}\norigin:  AS{route.origin}\nmnt-by:  {maintainer}\n"
        f"source:  {source}\n"
        for route in routes
    )


def _objects(text: str, where: str) -> Iterator[list[_Attribute]]:
    """Yield the objects: attributes up to an empty line (RFC 2622 §2)."""
    current: list[_Attribute] = []
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.partition("#")[0].rstrip()  # a comment ends with its line
        if not raw.strip():
            if current:
                yield current
            current = []
        elif raw[0] in " \t+":
            if not current:
                raise RpslError(
                    f"{where}:{number}: a continuation of nothing: begin the line with `{CLASS}:`"
                )
            current[-1].value = f"{current[-1].value} {line[1:].strip()}".strip()
        elif line:
            current.append(_attribute(line, f"{where}:{number}", number))
    if current:
        yield current


def _attribute(line: str, place: str, number: int) -> _Attribute:
    match = _ATTRIBUTE.fullmatch(line)
    if match is None:
        raise RpslError(f"{place}: {line!r} is no attribute: write `name: value`")
    return _Attribute(number, match[1].lower(), match[2].strip())


def _route(attributes: list[_Attribute], where: str) -> Route6:
    key = attributes[0]
    values: dict[str, _Attribute] = {}
    for attribute in attributes:
        if attribute.name in (CLASS, "origin") and attribute.name in values:
            raise RpslError(
                f"{where}:{attribute.line}: a second `{attribute.name}:` in one object: "
                "an empty line ends an object"
            )
        values.setdefault(attribute.name, attribute)
    for name in MANDATORY:
        if name not in values or not values[name].value:
            raise RpslError(
                f"{where}:{key.line}: {key.value or CLASS} has no `{name}:`: add the line "
                f"`{name}: …` to the object"
            )
    origin = values["origin"]
    return Route6(_prefix(key, where), _as_number(origin, where))


def _prefix(attribute: _Attribute, where: str) -> IPv6Network:
    try:
        if "/" not in attribute.value:
            raise ValueError("no length")
        return IPv6Network(attribute.value)
    except ValueError as error:
        raise RpslError(
            f"{where}:{attribute.line}: {attribute.value!r} is no IPv6 prefix ({error}): "
            "write one as fd00:192:168::/48"
        ) from None


def _as_number(attribute: _Attribute, where: str) -> int:
    match = _AS_NUMBER.fullmatch(attribute.value)
    number = int(match[1]) if match else 0
    if not 0 < number <= MAX_ASN:
        raise RpslError(
            f"{where}:{attribute.line}: {attribute.value!r} is no AS number: write one as AS64512"
        )
    return number
