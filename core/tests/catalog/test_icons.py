"""The icons that are drawn for connectors which bring none, and which of the others' are shown."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectory.catalog.catalog import build_catalog
from connectory.catalog.drawings import drawing_complaints
from connectory.catalog.icons import drawn_icon
from connectory.contract.description import Description

SVG = "{http://www.w3.org/2000/svg}"
CATALOG = build_catalog(environment={})
CONNECTORS = list(CATALOG.connectors.values())

identifiers = st.from_regex(r"[a-z][a-z0-9_]{0,63}", fullmatch=True)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
kinds = st.sampled_from(["database", "saas", "manual", "queue"])
categories = st.none() | st.sampled_from(["DATABASE", "crm", " Sales "]) | st.text(max_size=40)


def luminance(colour):
    """Relative luminance as WCAG 2.2 defines it."""
    digits = colour.removeprefix("#")
    digits = digits if len(digits) == 6 else "".join(digit * 2 for digit in digits)
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def letters(icon):
    return ET.fromstring(icon).findtext(f"{SVG}g/{SVG}text")


def shape(icon):
    return re.search("</text>(.*)</g>", icon)[1]


@given(identifiers, names, kinds, categories)
def test_every_name_gives_a_small_document_of_its_own_that_only_draws(identifier, name, kind, category):
    icon = drawn_icon(identifier, name, kind, category)
    assert icon == drawn_icon(identifier, name, kind, category)
    assert len(icon.encode()) <= 1024
    assert list(drawing_complaints(icon)) == []
    root = ET.fromstring(icon)
    assert (root.tag, root.get("viewBox"), root.get("role")) == (f"{SVG}svg", "0 0 32 32", "img")
    assert root.findtext(f"{SVG}title").strip()
    assert 1 <= len(letters(icon)) <= 2
    assert letters(icon).isalnum()
    tile, text = (root.find(SVG + part).get("fill") for part in ("rect", "g"))
    assert contrast(text, tile) >= 4.5
    assert min(contrast(tile, "#fff"), contrast(tile, "#14161a")) >= 3
    Description(icon=icon)


@given(names.filter(lambda name: name.isprintable() and name.strip()))
def test_the_title_is_the_name(name):
    assert ET.fromstring(drawn_icon("ledger", name, "saas", None)).findtext(f"{SVG}title") == name.strip()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Redis", "Re"),
        ("BigQuery", "BQ"),
        ("Big query", "BQ"),
        ("SendGrid", "SG"),
        ("PostgreSQL", "Po"),
        ("MySQL", "My"),
        ("MongoDB", "Mo"),
        ("Microsoft SQL Server", "MS"),
        ("LDAP", "LD"),
        ("S3", "S3"),
        ("Auth0", "A0"),
        ("ledger", "Le"),
        ("SQL", "SQ"),
        ("Ökonom", "Ök"),
        ("数据库", "数据"),
        ("!?", "LB"),
        ("X", "X"),
    ],
)
def test_the_letters_begin_two_words_or_one(name, expected):
    assert letters(drawn_icon("ledger_book", name, "database", None)) == expected


def test_kinds_differ_by_shape_and_categories_by_colour():
    kinds = ["database", "saas", "manual", "queue"]
    assert len({shape(drawn_icon("x", "X", kind, "CRM")) for kind in kinds}) == len(kinds)
    assert shape(drawn_icon("x", "X", "queue", None)) == shape(drawn_icon("x", "X", "directory", None))
    known = ["DATABASE", "CRM", "MARKETING", "SALES", "MONITORING", "ANALYTICS", "ECOMMERCE", "IDENTITY", "MANUAL"]
    assert len({drawn_icon("x", "X", "saas", category) for category in known}) == len(known)
    assert drawn_icon("x", "X", "saas", "crm ") == drawn_icon("x", "X", "saas", "CRM")
    assert drawn_icon("x", "X", "database", None) == drawn_icon("x", "X", "database", "Database")


def test_every_installed_connector_has_an_icon_and_no_two_the_same():
    ours = [found for found in CONNECTORS if found.record.distribution.startswith("connectory")]
    assert len(ours) >= 21
    assert [found.identifier for found in ours if found.description.icon is not None] == []
    pictures = {re.sub("<title>.*</title>", "", found.icon) for found in ours}
    assert len(pictures) == len(ours)


def with_icon(icon):
    found = CATALOG.connectors["manual"]
    return replace(found, description=found.description.model_copy(update={"icon": icon})).icon


@pytest.mark.parametrize(
    "drawing",
    [
        "<svg></svg>",
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><path d="M1 0h6v8H1zM2 2h4v1H2z"/></svg>',
        """<svg><linearGradient id="a"><stop stop-color="rgb(1, 2, 3)"/></linearGradient><g transform="rotate(3)">
        <rect fill="url('#a')" style="opacity: .5"/></g></svg>""",
    ],
)
def test_a_connectors_own_drawing_is_shown_as_it_is(drawing):
    assert list(drawing_complaints(drawing)) == []
    assert with_icon(drawing) == drawing


HOSTILE = [
    "<script>alert(1)</script>",
    "<SCRIPT>alert(1)</SCRIPT>",
    "<g><script/></g>",
    '<g onload="alert(1)"/>',
    '<g ONLOAD="alert(1)"/>',
    '<a href="javascript:alert(1)"><path d=""/></a>',
    '<use href="https://elsewhere.example/#x"/>',
    '<use xmlns:x="http://www.w3.org/1999/xlink" x:href="#x"/>',
    '<g xml:base="https://elsewhere.example/"/>',
    '<image src="https://elsewhere.example/"/>',
    "<style>@import 'https://elsewhere.example/'</style>",
    '<g style="fill: url(https://elsewhere.example/)"/>',
    r'<g style="fill: u\72l(https://elsewhere.example/)"/>',
    '<g style="background: image-set(&quot;https://elsewhere.example/&quot; 1x)"/>',
    '<g fill="URL( &quot;//elsewhere.example/&quot;)"/>',
    '<set attributeName="onload" to="alert(1)"/>',
    '<animate attributeName="href" to="javascript:alert(1)"/>',
    "<foreignObject/>",
    '<iframe xmlns="http://www.w3.org/1999/xhtml" srcdoc="x"/>',
    '<meta xmlns="http://www.w3.org/1999/xhtml" http-equiv="refresh" content="0"/>',
    '<title xmlns="http://www.w3.org/1999/xhtml"/>',
    "<title><![CDATA[<img onerror=alert(1)>]]></title>",
    "<!-- > <script>alert(1)</script> -->",
    '<?xml-stylesheet href="https://elsewhere.example/"?>',
    '<!DOCTYPE svg [<!ENTITY x "y">]>',
    "<g>",
    "&undeclared;",
]


@pytest.mark.parametrize("content", HOSTILE)
def test_what_runs_loads_or_leads_elsewhere_is_not_shown(content):
    icon = f'<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0h1"/>{content}</svg>'
    assert list(drawing_complaints(icon))
    assert with_icon(icon) == with_icon(None)
    assert "elsewhere" not in with_icon(icon)


def test_the_root_itself_is_looked_at():
    assert list(drawing_complaints('<svg onload="alert(1)"/>'))
