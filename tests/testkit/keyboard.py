"""People without a mouse: what a test tells a page to do is done with keys, and focus is seen wherever it goes."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

from playwright.sync_api import Locator, Page, expect

_MOST_TABS = 200
# Where focus goes with Tab: a group of radio buttons is one place.
_STEPS_TO = """one => {
  const groups = new Set(), places = [...document.querySelectorAll(
    'a[href], button, input, select, textarea, summary, [tabindex]')].filter((place) => {
    if (place.tabIndex < 0 || place.disabled || !place.checkVisibility({visibilityProperty: true})) return false;
    if (place.type !== 'radio') return true;
    const group = [...document.getElementsByName(place.name)].filter((other) => other.form === place.form);
    const stop = group.find((other) => other.checked) ?? group[0];
    return place === stop;
  });
  const wanted = one.type === 'radio' ? places.find((place) => place.name === one.name && place.form === one.form) : one;
  return places.indexOf(wanted) - places.indexOf(document.activeElement);
}"""
_IS_THERE = """one => one === document.activeElement || (one.type === 'radio' && document.activeElement.type === 'radio'
  && one.name === document.activeElement.name)"""
# Whether a click brings another page, and is not taken by the script of this one.
_LEAVES = """one => {
  const link = one.closest('a[href]'), button = one.closest('button');
  if (link) return !link.target && !link.getAttribute('href').startsWith('#') && !link.pathname.endsWith('.csv');
  const byScript = document.documentElement.matches('.scripted') && button?.form?.matches('[data-live]');
  return button?.type === 'submit' && !!button.form && !byScript;
}"""
_SEEN = """() => {
  const one = document.activeElement;
  const ring = [one, one.nextElementSibling, one.parentElement].filter(Boolean).map((part) => getComputedStyle(part));
  const box = one.getBoundingClientRect();
  return {
    ours: 'base' in document.body.dataset,
    tag: one.tagName,
    what: one.outerHTML.slice(0, 300),
    ring: ring.some((style) => style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2),
    inside: box.bottom > 0 && box.top < innerHeight,
  };
}"""


def focus_is_seen(page: Page) -> None:
    """Something has the focus, is on the screen, and looks different for it. Pages of others may be as they are."""
    seen = page.evaluate(_SEEN)
    assert seen["tag"] != "BODY", "focus is lost"
    assert seen["ring"] or not seen["ours"], f"focus is not seen: {seen['what']}"
    assert seen["inside"], f"focus is out of sight: {seen['what']}"


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until `wanted` has the focus, which is seen at each step."""
    for _ in range(_MOST_TABS):
        page.keyboard.press("Tab")
        focus_is_seen(page)
        if wanted.evaluate(_IS_THERE):
            return
    raise AssertionError(f"Tab does not lead to {wanted}")


@contextmanager
def hands_on_the_keyboard() -> Iterator[None]:
    """Have every locator press keys where it would click. What cannot be reached by Tab fails."""
    with (
        mock.patch.object(Locator, "click", _click),
        mock.patch.object(Locator, "check", _check),
        mock.patch.object(Locator, "fill", _fill),
        mock.patch.object(Locator, "select_option", _select),
    ):
        yield


def _go_to(wanted: Locator) -> Page:
    """Press Tab, or Shift and Tab, as often as it takes. A page may bring something new on the way; then once more."""
    expect(wanted).to_be_visible()
    page = wanted.page
    for _ in range(5):
        if wanted.evaluate(_IS_THERE):
            break
        steps = wanted.evaluate(_STEPS_TO)
        for _ in range(abs(steps)):
            page.keyboard.press("Tab" if steps > 0 else "Shift+Tab")
    else:
        raise AssertionError(f"Tab does not lead to {wanted}")
    focus_is_seen(page)
    return page


def _click(wanted: Locator, **_: Any) -> None:
    page = _go_to(wanted)
    with page.expect_navigation() if wanted.evaluate(_LEAVES) else nullcontext():
        page.keyboard.press("Space" if wanted.get_attribute("type") in {"checkbox", "radio"} else "Enter")


def _check(wanted: Locator, **_: Any) -> None:
    if wanted.is_checked():
        return
    page = _go_to(wanted)
    page.keyboard.press("Space")
    for _ in range(5):  # in a group of radio buttons arrows lead on
        if wanted.is_checked():
            return
        page.keyboard.press("ArrowDown")
    raise AssertionError(f"The keyboard does not check {wanted}")


def _fill(wanted: Locator, value: str, **_: Any) -> None:
    page = _go_to(wanted)
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    page.keyboard.insert_text(value)  # as it is pasted


def _select(wanted: Locator, value: str, **_: Any) -> None:
    page = _go_to(wanted)
    names = wanted.evaluate("one => [...one.options].map((option) => option.value)")
    page.keyboard.press("Home")
    for _ in range(names.index(value)):
        page.keyboard.press("ArrowDown")
    assert wanted.input_value() == value, json.dumps(names)
