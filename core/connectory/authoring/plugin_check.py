"""`connectory check-plugin`: run the conformance kit in a process of its own, and tell of each rule as it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from connectory.authoring.connection_check import print_problems
from connectory.authoring.plugin_under_check import PluginUnderCheck, find_plugin
from connectory.authoring.refusal import Refused
from connectory.authoring.secrets_file import Payload
from connectory.contract.settings import PREFIX

_MARGIN = " " * 19
_CLEARED = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", f"{PREFIX}UPDATE_GOLDEN")
"""Variables that would have a say in the kit's run: what it checks must not depend on where it runs, nor be written."""


@dataclass(frozen=True)
class RuleReport:
    """How one rule of the kit ended.

    Attributes:
        connector: the identifier.
        rule: the rule, in a few words.
        why: why there is such a rule.
        fix: how to keep it, in general.
        needs: what the author gives or the connector declares, without which the rule says nothing; `None`: nothing.
        status: `passed`, `failed` or `not_run`.
        problem: what is wrong; `None` unless `failed`.
        reason: why it was not run; `None` unless `not_run`.
        notes: what a reader should know although it passed, such as the reason for which a field is public.
    """

    connector: str
    rule: str
    why: str
    fix: str
    needs: str | None
    status: str = "not_run"
    problem: str | None = None
    reason: str | None = "The run ended before it."
    notes: tuple[str, ...] = ()


def check_plugin(
    named: str, secrets: Payload | None, settings: Mapping[str, str], exceptions: Mapping[str, str], *, as_json: bool
) -> int:
    """Check a distribution, or the project in a folder, print a report, and return the exit code: 1 where a rule is broken.

    Args:
        secrets: secrets that work; of several connectors, by identifier.
        settings: deployer's settings that lead to the kit's far ends, with `{origin}`, `{host}` and `{port}` in their values.
        exceptions: the reason for each rule that is left out, by the rule's name.

    Raises:
        Refused: there is nothing to check, or no kit to check it with.
    """
    with tempfile.TemporaryDirectory(prefix="connectory-") as workplace:
        plugin = find_plugin(named, Path(workplace))
        job = {
            "distribution": plugin.distribution,
            "identifiers": plugin.identifiers,
            "secrets": _by_identifier(plugin, secrets),
            "settings": dict(settings),
            "exceptions": _by_rule(exceptions),
            "golden": plugin.golden,
            "folder": workplace,
        }
        reports: list[RuleReport] = []
        progress = sys.stderr if as_json else sys.stdout
        print(f"{plugin.distribution} {plugin.version}: {', '.join(plugin.identifiers)}", file=progress, flush=True)
        for answer in _answers(plugin, job):
            if isinstance(answer, list):
                return print_problems(answer, as_json=as_json)
            number, total, report = answer
            reports.append(report)
            lines = _short(report) if as_json else _whole(report)
            print(f"[{number:{len(str(total))}}/{total}] {lines}", file=progress, flush=True)
    counts = Counter(report.status for report in reports)
    if as_json:
        print(json.dumps(_item(plugin, reports, counts), indent=2, ensure_ascii=False))
    else:
        print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['not_run']} not run.")
    return 1 if counts["failed"] else 0


def _by_identifier(plugin: PluginUnderCheck, secrets: Payload | None) -> Payload:
    if secrets is None:
        return {}
    if len(plugin.identifiers) == 1:
        return {plugin.identifiers[0]: secrets}
    if secrets.keys() <= set(plugin.identifiers):
        return secrets
    raise Refused(
        f"{plugin.distribution} has several connectors: give an object of secrets for each under its identifier, of "
        f"{', '.join(plugin.identifiers)}."
    )


def _by_rule(exceptions: Mapping[str, str]) -> dict[str, str]:
    """The reasons by the ids of the rules."""
    if not exceptions:
        return {}
    from connectory.testing import RULES  # pytest comes with it
    from connectory.testing.rules.exceptions import ALWAYS

    ids = {name: rule.id for rule in RULES if rule.id != ALWAYS for name in (rule.id, rule.name)}
    if not exceptions.keys() <= ids.keys():
        raise Refused(
            "--exception names what is not a rule, or one that always holds; the report has the names of the rules, such as "
            f"'{RULES[0].name}'."
        )
    return {ids[name]: reason for name, reason in exceptions.items()}


def _answers(plugin: PluginUnderCheck, job: dict[str, Any]) -> Iterator[tuple[int, int, RuleReport] | list[Any]]:
    """Each rule with its number and how many there are, as it ends; or the problems of the secrets.

    Raises:
        Refused: the kit could not be run.
    """
    rules: dict[str, RuleReport] = {}
    ended: set[str] = set()
    with tempfile.TemporaryFile("w+") as noise, _process(plugin, noise) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(job))
            process.stdin.close()
            for line in process.stdout:
                match json.loads(line):
                    case {"problems": list(problems)}:
                        yield problems
                        return
                    case {"rules": list(found)}:
                        rules = {rule.pop("id"): RuleReport(**rule) for rule in found}
                    case {"id": str(place), "status": str(status), "said": said, "notes": notes} if place not in ended:
                        ended.add(place)
                        yield len(ended), len(rules), _ended(rules[place], status, said, tuple(notes))
        finally:
            process.kill()
        if not rules or ended != rules.keys():
            noise.seek(0)
            raise Refused(f"The conformance kit did not run to its end:\n{noise.read()[-3000:]}")


def _process(plugin: PluginUnderCheck, noise: IO[str]) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name not in _CLEARED}
    path = [*plugin.path, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-m", "connectory.authoring.conformance_run"],
        env=environment
        | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        | ({"PYTHONPATH": os.pathsep.join(path)} if path else {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=noise,
        text=True,
    )


def _ended(rule: RuleReport, status: str, said: str | None, notes: tuple[str, ...]) -> RuleReport:
    return replace(
        rule,
        status=status,
        problem=said if status == "failed" else None,
        reason=said if status == "not_run" else None,
        notes=notes,
    )


def _item(plugin: PluginUnderCheck, reports: list[RuleReport], counts: Counter[str]) -> dict[str, Any]:
    return {
        "distribution": plugin.distribution,
        "version": plugin.version,
        **{status: counts[status] for status in ("passed", "failed", "not_run")},
        "rules": [asdict(report) for report in reports],
    }


def _short(report: RuleReport) -> str:
    return f"{report.status.replace('_', ' '):8}  {report.connector}: {report.rule}"


def _whole(report: RuleReport) -> str:
    said = [
        ("Why", report.why),
        ("Not run", report.reason),
        ("Wrong", report.problem),
        ("To fix", report.fix if report.status == "failed" else None),
        *(("Note", note) for note in report.notes),
    ]
    lines = [textwrap.indent(f"{label}: {text}", _MARGIN) for label, text in said if text]
    return "\n".join([_short(report), *lines])
