"""The command line: `llamaswap -c FILE` serves, `check`, `schema` and `demo-model` do one thing and leave.

Flags are accepted in Go's form as well (`-config FILE`, `-watch-config=true`), because existing service files are
written that way. Modules are imported by the command that needs them: a demo model must not pay for the server.
"""
from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from typing import Dict, List, Optional, Sequence

from llamaswap import __version__

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2
_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")


def main(argv: Optional[Sequence[str]] = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = _COMMANDS.get(arguments[0]) if arguments else None
    if command is None:
        return _serve(arguments)
    try:
        return command(arguments[1:])
    except BrokenPipeError:
        # Whoever read our output has left, as `| head` does; at exit the interpreter must not try once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED


# --- arguments -------------------------------------------------------------------------------------------------

def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="llamaswap", allow_abbrev=False,
        description="One address and one YAML file in front of your model servers.",
        epilog="Further commands: llamaswap check (validate the configuration), llamaswap schema (JSON Schema for "
               "editors), llamaswap demo-model (a fake model server). Each has --help.")
    _add_sources(parser)
    parser.add_argument("--listen", metavar="ADDRESS", help="address to serve on (default :8080, or :8443 with TLS)")
    parser.add_argument("--admin-listen", metavar="ADDRESS",
                        help="second address for management and the web UI, which then leave the main one")
    parser.add_argument("--tls-cert-file", metavar="FILE", help="certificate chain; enables HTTPS")
    parser.add_argument("--tls-key-file", metavar="FILE", help="private key of the certificate")
    parser.add_argument("--watch-config", action="store_true", help="reload when the configuration changes")
    parser.add_argument("--log-format", choices=("text", "json"), default="text", help="form of our own log lines")
    parser.add_argument("--demo", action="store_true", help="serve three demo models on 127.0.0.1; needs no file")
    parser.add_argument("--version", action="version", version=f"llamaswap {__version__}")
    return parser


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--config", metavar="FILE", help="configuration file")
    parser.add_argument("--config-dir", metavar="DIR", help="directory of *.yaml and *.yml files, merged after FILE")


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    return parser.parse_args(_from_go(parser, arguments))


def _from_go(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> List[str]:
    """Go's `-flag`, `-flag=value` and `-switch=true` in argparse's spelling."""
    flags = {name: action for action in parser._actions for name in action.option_strings if name.startswith("--")}
    spelled = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        long = "-" + name if name.startswith("-") and not name.startswith("--") and len(name) > 2 else name
        if long not in flags:
            spelled.append(argument)
        elif flags[long].nargs == 0 and equals:
            if value not in _TRUE + _FALSE:
                parser.error(f"invalid boolean value {value!r} for {name}")
            spelled.extend([long] if value in _TRUE else [])
        else:
            spelled.append(long + equals + value)
    return spelled


# --- serve -----------------------------------------------------------------------------------------------------

def _serve(arguments: Sequence[str]) -> int:
    from llamaswap import program

    options = parse(build_parser(), arguments)
    if not (options.config or options.config_dir or options.demo):
        return _fail("at least one of --config or --config-dir must be provided; try --demo for a first look")
    if options.demo and (options.config or options.config_dir):
        return _fail("--demo brings its own configuration; leave out --config and --config-dir")
    if bool(options.tls_cert_file) != bool(options.tls_key_file):
        return _fail("both --tls-cert-file and --tls-key-file must be provided for TLS")
    return program.run(options, builtins=builtins())


def _fail(message: str) -> int:
    print(f"llamaswap: {message}", file=sys.stderr)
    return EXIT_FAILED


def builtins() -> Dict[str, str]:
    """Macros every configuration may use: ${llamaswap} is the command that runs this program."""
    return {"llamaswap": " ".join(shlex.quote(part) for part in program_command())}


def program_command() -> List[str]:
    """How to run this very program again, from whichever form it was started in."""
    main_module = sys.modules["__main__"]
    spec = getattr(main_module, "__spec__", None)
    if spec is not None and spec.name == "llamaswap.__main__":
        return [sys.executable, "-m", "llamaswap"]
    script = os.path.realpath(getattr(main_module, "__file__", None) or sys.argv[0])
    # llamaswap.py is known by what it holds: as the one file on a server it may have been given any name.
    if hasattr(main_module, "PAYLOAD"):
        return [sys.executable, *(["-I"] if sys.flags.isolated else []), script]
    return [script] if os.access(script, os.X_OK) and os.path.basename(script) == "llamaswap" \
        else [sys.executable, "-m", "llamaswap"]


# --- check -----------------------------------------------------------------------------------------------------

def _check_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="llamaswap check", allow_abbrev=False,
                                     description="Validate the configuration without starting anything.")
    _add_sources(parser)
    parser.add_argument("--json", action="store_true", help="print the effective configuration as one JSON object")
    parser.add_argument("--strict", action="store_true", help="fail on warnings, unknown keys among them, too")
    return parser


def _check(arguments: Sequence[str]) -> int:
    from llamaswap.core.effective import effective
    from llamaswap.core.tree import Problem, to_plain
    from llamaswap.runtime.files import load_config
    from llamaswap.runtime.preflight import machine_problems, store_problems

    options = parse(_check_parser(), arguments)
    if not (options.config or options.config_dir):
        return _fail("at least one of --config or --config-dir must be provided")
    built = load_config(options.config, options.config_dir, os.environ, builtins=builtins())
    config = built.config
    if config is not None:
        found = [*store_problems(config), *machine_problems(config, os.environ)]
        if not (config.models or config.peers):
            # llamaswap starts with an empty file, as llama-swap does, and --json shows what it would run with; but
            # somebody who asks whether an empty file is right has named the wrong one.
            is_error = not options.json and not (built.root and to_plain(built.root))
            found.append(Problem((), "there are no models and no peers: nothing can be served",
                                 "error" if is_error else "warning"))
        built = built.with_problems(found)
    for problem in built.problems:
        print(problem, file=sys.stderr)
    if built.errors or (options.strict and built.warnings) or config is None:
        _report(f"{_count(built.errors, 'error')}, {_count(built.warnings, 'warning')}")
        return EXIT_FAILED
    if options.json:
        _print_json(effective(config))
    else:
        _print_text(f"{options.config or options.config_dir}: ok, {_count(config.models, 'model')}, "
                    f"{_count(built.warnings, 'warning')}")
    return EXIT_OK


def _print_json(value: object) -> None:
    # ASCII, because neither a terminal of another encoding nor a name from the environment may break the output.
    print(json.dumps(value, indent=2), flush=True)


def _print_text(text: str) -> None:
    """What the terminal cannot show is escaped, as stderr does by itself."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)


def _report(message: str) -> None:
    print(f"llamaswap check: {message}", file=sys.stderr)


def _count(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


# --- the others ------------------------------------------------------------------------------------------------

def _schema(arguments: Sequence[str]) -> int:
    from llamaswap.core.schema import json_schema

    parser = argparse.ArgumentParser(prog="llamaswap schema", allow_abbrev=False,
                                     description="Print a JSON Schema of the configuration file, for editors.")
    parser.parse_args(arguments)
    _print_json(json_schema())
    return EXIT_OK


def _demo_model(arguments: Sequence[str]) -> int:
    from llamaswap import demo

    return demo.main(list(arguments))


_COMMANDS = {"check": _check, "schema": _schema, "demo-model": _demo_model}
