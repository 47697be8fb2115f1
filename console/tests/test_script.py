"""The rules that the console's script and templates keep."""

from pathlib import Path


def test_there_is_one_script_and_it_keeps_the_rules() -> None:
    folder = Path(__file__).parents[1] / "connectory_console"
    [script] = folder.glob("static/*.js")
    text = script.read_text()
    assert len(text.splitlines()) <= 300
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "localStorage",
        "DOMParser",
    ):
        assert word not in text
    for template in folder.glob("templates/*.html"):
        markup = template.read_text()
        for word in ("<style", " style=", " onclick", "javascript:", "|safe", "http://", "https://"):
            assert word not in markup, template.name
