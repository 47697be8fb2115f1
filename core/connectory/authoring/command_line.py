"""The arguments of the commands for authors, and what runs them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from connectory.authoring import COMMANDS
from connectory.authoring.refusal import Refused
from connectory.scaffold import KINDS, CannotScaffold, NewPlugin, write


def run(arguments: Sequence[str]) -> int:
    """Run the command that `arguments` begin with, and return its exit code."""
    options, unknown = _parser().parse_known_args(arguments)
    try:
        if unknown:  # not repeated: a secret that should not stand here may be among them
            raise Refused(
                f"There are arguments that it does not take; `connectory {options.command} --help` lists those it does."
            )
        work: Callable[[argparse.Namespace], int] = options.run
        code = work(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever reads it, such as head, has enough; what is left has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "connectory":
            raise
        print(f'This command needs {error.name}; run: pip install "connectory[testing]"', file=sys.stderr)
    except (Refused, CannotScaffold) as refusal:
        print(refusal, file=sys.stderr)
    return 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # The message of argparse, without the value that it repeats: it may be a secret.
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {message.partition(': invalid ')[0].partition(': ignored ')[0]}: see --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="connectory", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_new_plugin(_command(commands, "new-plugin", _new_plugin))
    _add_check(_command(commands, "check", _check))
    _add_type(_command(commands, "schema", _schema))
    _add_check_plugin(_command(commands, "check-plugin", _check_plugin))
    return parser


def _command(
    commands: argparse._SubParsersAction[_Parser], name: str, work: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=COMMANDS[name], description=COMMANDS[name], allow_abbrev=False)
    parser.set_defaults(run=work)
    return parser


def _add_new_plugin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the connector's identifier, like redis")
    parser.add_argument("--type", choices=KINDS, required=True, help="the kind of system behind it")
    parser.add_argument("--directory", type=Path, help="where to write it; must not exist [default: connectory-NAME]")


def _new_plugin(options: argparse.Namespace) -> int:
    plugin = NewPlugin(options.name, options.type)
    folder: Path = options.directory or Path(plugin.distribution)
    write(plugin, folder.absolute())
    print(
        f"{folder} holds a connector that passes its tests, against a fake server. Next:\n\n"
        f'  cd {folder}\n  python -m pip install -e ".[test]"\n  python -m pytest\n\n'
        f"Then have {plugin.module} speak to the real one."
    )
    return 0


def _add_type(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("type", metavar="TYPE", help="the connector's identifier; `connectory plugins` lists them")


def _schema(options: argparse.Namespace) -> int:
    from connectory.authoring.connection_check import print_schema

    return print_schema(options.type)


def _add_secrets(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--secrets", metavar="FILE", help=f"JSON file with {what}; - reads standard input")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def _add_check(parser: argparse.ArgumentParser) -> None:
    _add_type(parser)
    _add_secrets(parser, "the secrets, as they are sent to the API")
    parser.add_argument("--debug", action="store_true", help="show the traceback of what the connector raised")


def _check(options: argparse.Namespace) -> int:
    from connectory.authoring.connection_check import check
    from connectory.authoring.secrets_file import read_secrets

    return check(options.type, read_secrets(options.secrets), debug=options.debug, as_json=options.json)


def _add_check_plugin(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "plugin", metavar="DISTRIBUTION|FOLDER", help="the name of an installed distribution, or a project's folder"
    )
    _add_secrets(parser, "secrets that work; of several connectors, by identifier")
    parser.add_argument(
        "--setting",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a deployer's setting that leads the connectors to the kit's own far ends, where secrets alone do not: {origin}, "
        "{host} and {port} in VALUE stand for one; may be repeated",
    )
    parser.add_argument(
        "--exception",
        metavar="RULE=REASON",
        action="append",
        default=[],
        help="a rule that cannot hold for the connectors, and why; the report repeats both; may be repeated",
    )


def _check_plugin(options: argparse.Namespace) -> int:
    from connectory.authoring.plugin_check import check_plugin
    from connectory.authoring.secrets_file import read_secrets

    secrets = read_secrets(options.secrets) if options.secrets else None
    settings = _pairs(options.setting, "--setting takes NAME=VALUE, the name of an environment variable and its value.")
    exceptions = _pairs(
        options.exception,
        "--exception takes RULE=REASON, the name of a rule as the report has it, and why it cannot hold.",
    )
    if not all(reason.strip() for reason in exceptions.values()):
        raise Refused("--exception needs a reason after the rule: RULE=REASON. The report repeats it.")
    return check_plugin(options.plugin, secrets, settings, exceptions, as_json=options.json)


def _pairs(given: Sequence[str], wrong: str) -> dict[str, str]:
    pairs = [one.partition("=") for one in given]
    if not all(name and equals for name, equals, _ in pairs):
        raise Refused(wrong)
    return {name: value for name, _, value in pairs}
