"""What an SVG document of somebody else may hold to be shown: a drawing, and nothing that runs, loads or leads anywhere."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator

_SVG = "http://www.w3.org/2000/svg"
_ELEMENTS = frozenset(
    {
        *("svg", "g", "defs", "title", "desc", "path", "rect", "circle", "ellipse", "line", "polyline", "polygon"),
        *("text", "tspan", "linearGradient", "radialGradient", "stop", "clipPath", "mask", "pattern"),
    }
)
_ATTRIBUTES = frozenset({"href", "src", "base"})
# A value may do sums with colours and coordinates, and name what stands in the same document.
_FUNCTION = re.compile(r"([a-z-]*)\(\s*([\"']?#)?", re.IGNORECASE)
_FUNCTIONS = frozenset({"rgb", "rgba", "hsl", "hsla", "matrix", "translate", "scale", "rotate", "skewx", "skewy"})


def drawing_complaints(document: str) -> Iterator[str]:
    """What keeps an SVG document from being shown to people, one sentence each; none where nothing does.

    As an image, a document runs no script; this holds where somebody puts it into a page, too.
    """
    if "<!" in document or "<?" in document:
        # An HTML parser ends them elsewhere than an XML parser does, so what they hide from one the other may run.
        yield "The icon has comments, CDATA, declarations or processing instructions; leave them out."
        return
    try:
        elements = list(ET.fromstring(document).iter())  # noqa: S314 - it declares no entities: see above
    except ET.ParseError:
        yield "The icon is not well-formed SVG."
        return
    for element in elements:
        namespace, _, name = element.tag.rpartition("}")
        if namespace.removeprefix("{") not in ("", _SVG) or name not in _ELEMENTS:
            yield f"The icon has an element '{name[:40]}'; one that is shown has only shapes, text and gradients."
        for attribute, value in element.attrib.items():
            if not _is_harmless(attribute.rpartition("}")[2].lower(), value):
                yield f"The icon's element '{name[:40]}' holds a script or a link; user interfaces show it inside their own page."


def _is_harmless(attribute: str, value: str) -> bool:
    if attribute.startswith("on") or attribute in _ATTRIBUTES or "\\" in value or "@" in value:
        return False
    return all(
        local if name.lower() == "url" else name.lower() in _FUNCTIONS for name, local in _FUNCTION.findall(value)
    )
