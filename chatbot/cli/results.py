"""`chatbot simulate compare A B` and `chatbot simulate report DIR`: what is done with the files of past runs.

No process is started for it. The exit code is 1 when a gate failed or a file could not be written.
"""

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from chatbot.cli.common import Parser, refuse, text

if TYPE_CHECKING:
    from chatbot.simulate.result import Result

_MOST_BYTES = 1 << 28
_GATES = """\
GATE names a figure, and how far it may change for the worse: ttft.p95:+5%, throughput:-5%, failures:+1%.
It fails when the change is beyond that, and cannot be chance; or the figure is not known, or B answered nothing.

exit status: 0 fine, 1 a gate failed, 2 usage
"""


def compare_parser() -> argparse.ArgumentParser:
    """Return the parser of `compare`."""
    parser = Parser(
        prog="chatbot simulate compare",
        description="Say what changed from one run to another, and how sure that is.",
        epilog=_GATES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for name in ("A", "B"):
        parser.add_argument(name.lower(), metavar=name, help="a run's directory or result.json")
    parser.add_argument(
        "--fail-on",
        action="append",
        default=[],
        metavar="GATE",
        help="more than once, or several with commas",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    return parser


def run_compare(argv: list[str]) -> int:
    """Compare two results."""
    options = compare_parser().parse_args(argv)
    import msgspec

    from chatbot.errors import UsageError
    from chatbot.simulate import compare, gate

    try:
        gates = [each for given in options.fail_on for each in gate.parse_gates(text(given))]
        a, b = read_result(text(options.a)), read_result(text(options.b))
    except UsageError as error:
        return refuse(str(error))
    rows, notes = compare.compare(a, b), compare.warnings(a, b)
    gated = gate.judge_gates(rows, gates)
    if options.json:
        shown = {"rows": rows, "warnings": notes, "gates": gated}
        code = write([msgspec.json.encode(shown).decode()])
    else:
        verdicts = ["", *gate.lines(gated)] if gated else []
        code = write([*compare.lines(rows, notes), *verdicts])
    return 1 if gate.is_failed(gated) else code


def read_result(path: str) -> "Result":
    """Return the result in a file, or in a run's directory. Raises UsageError."""
    from chatbot.errors import UsageError
    from chatbot.simulate.past import RESULT
    from chatbot.simulate.result import decode

    file = os.path.join(path, RESULT) if os.path.isdir(path) else path
    try:
        with open(file, "rb") as opened:
            return decode(opened.read(_MOST_BYTES), file)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror or error}") from error


def report_parser() -> argparse.ArgumentParser:
    """Return the parser of `report`."""
    parser = Parser(
        prog="chatbot simulate report",
        description="Make the report of a run again from its files; also of one that was killed.",
        allow_abbrev=False,
    )
    parser.add_argument("directory", metavar="DIR", help="what the run was given as --out")
    parser.add_argument("--json", action="store_true", help="result.json's content on stdout")
    return parser


def run_report(argv: list[str]) -> int:
    """Make a report again."""
    options = report_parser().parse_args(argv)
    from chatbot.errors import ChatbotError
    from chatbot.simulate.again import report

    try:
        shown = report(Path(text(options.directory)), as_json=options.json)
    except ChatbotError as error:
        return refuse(str(error))
    except OSError as error:
        refuse(f"{error.filename or options.directory}: {error.strerror or error}")
        return 1
    return write(shown)


def write(lines: Iterable[str]) -> int:
    """Write lines to stdout, and return the exit code. What its encoding does not have is written as an escape."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        for line in lines:
            sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end
        if not isinstance(error, BrokenPipeError):  # then whoever read it has seen enough
            refuse(f"stdout: {error.strerror or error}")
            return 1
    return 0
