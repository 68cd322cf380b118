"""`chatbot trace …`: past traces, listed, drawn, exported and sent. No other process is started for it.

What is shown goes to stdout, all else to stderr. The exit code is 1 for what was not found or went wrong, 2 for a
directory or a trace that is not there.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

from chatbot.cli import actions
from chatbot.cli.actions import Action
from chatbot.cli.common import read_config, refuse, text

if TYPE_CHECKING:
    from chatbot.telemetry.send import Sent
    from chatbot.traces.files import Files
    from chatbot.traces.lines import Selection
    from chatbot.traces.style import Style
    from chatbot.traces.turn import Turn

_ABOUT = (
    "Past traces. ID is the whole id of a trace, or four digits or more of its beginning or end."
)


_EXAMPLES = (
    "trace list --limit 50",
    "trace show",
    "trace show c69978b2",
    "trace export -o all.jsonl",
    "trace export c69978b2 | jq .",
    "trace send http://localhost:4318",
)

TRACING: dict[str, Action] = {
    "list": Action(
        "", 0, 0, "the latest turns: how long they took, and how they ended", ("limit",)
    ),
    "show": Action("[ID]", 0, 1, "one of them across the processes (default: the last)"),
    "export": Action("[ID ...]", 0, None, "OTLP-JSON lines, which Jaeger's UI loads"),
    "send": Action("URL [ID ...]", 1, None, "post them to an OTLP/HTTP endpoint"),
}


def trace_parser(action: str) -> argparse.ArgumentParser:
    """Return the parser for one action of `trace`."""
    parser = actions.parser_of(trace_program(), action)
    if action == "export":
        parser.add_argument(
            "-o", "--output", default="", metavar="FILE", help="a new file, .jsonl or .json"
        )
    return parser


def trace_program() -> actions.Program:
    """Return `trace`."""
    return actions.Program("trace", _ABOUT, TRACING, _add_common, _EXAMPLES)


def _add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--json", action="store_true", help="one JSON object per line on stdout")
    add("--plain", action="store_true", help="no colour")
    add("--log-dir", metavar="DIR", help="where the traces are (default: logs)")
    add("--config", metavar="FILE", help="the configuration file (also CHATBOT_CONFIG)")


def run_trace(argv: list[str]) -> int:
    """Do one action."""
    chosen = actions.choose(trace_program(), argv)
    if isinstance(chosen, int):
        return chosen
    options, words = actions.read(trace_parser(chosen.name), chosen)
    return _guarded(chosen.name, [text(word) for word in words], options)


def _guarded(action: str, words: list[str], options: argparse.Namespace) -> int:
    """Do it, and turn what goes wrong into a line and an exit code."""
    from chatbot.errors import ChatbotError, UsageError
    from chatbot.traces.archive import Ambiguous

    try:
        program = _Program(options)
        return program.do(action, words)
    except Ambiguous as error:
        refuse(str(error))
        _write(sys.stderr, program.rows(error.choices))
        return 2
    except BrokenPipeError:  # whoever read it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end
        return 0
    except UsageError as error:
        return refuse(str(error))
    except ChatbotError as error:
        refuse(str(error))
        return 1
    except OSError as error:
        about = f"{error.filename}: " if error.filename else ""
        refuse(f"{about}{error.strerror or error}")
        return 1


class _Program:
    """The actions. Raises ChatbotError, and OSError where stdout cannot be written."""

    def __init__(self, options: argparse.Namespace) -> None:
        from chatbot.settings import Arguments, for_reading
        from chatbot.traces.archive import must_be_there
        from chatbot.traces.damage import Damage

        self._options = options
        self._json = options.json
        given = Arguments(
            mode="manage",
            log_dir=options.log_dir,
            plain=options.plain,
            home=os.path.expanduser("~"),
        )
        config = read_config(options.config)
        settings = for_reading(given, config.text, config.path)
        self._directory = must_be_there(settings.log_dir)
        self._style = _style(plain=settings.plain)
        self._known: list[Turn] = []
        self._damage = Damage()

    def do(self, action: str, words: list[str]) -> int:
        """Do one of them, and tell what could not be read for it."""
        try:
            return self._do(action, words)
        finally:
            if damage := str(self._damage):
                _say(damage)

    def _do(self, action: str, words: list[str]) -> int:
        if action == "list":
            return self._list(self._options.limit)
        if action == "show":
            return self._show(words[0] if words else "last")
        if action == "export":
            return self._export(words, self._options.output)
        return self._send(words[0], words[1:])

    def rows(self, turns: "list[Turn]") -> Iterator[str]:
        """Return the lines of a list."""
        from chatbot.traces import listing

        return listing.rows(turns, self._style, self._known)

    def _list(self, limit: int) -> int:
        turns = self._turns()[:limit]
        if self._json:
            _write(sys.stdout, (_as_json("trace", **turn.as_event()) for turn in turns))
        else:
            _write(sys.stdout, self.rows(turns))
        return 0 if turns else self._nothing()

    def _show(self, wanted: str) -> int:
        from chatbot.traces import archive
        from chatbot.traces.event import as_event
        from chatbot.traces.waterfall import waterfall

        if not self._turns():
            return self._nothing()
        found = archive.read(self._directory, archive.find(self._known, wanted).trace_id)
        if found is None:  # rotated away since it was listed
            return self._nothing()
        trace, turn = found
        if self._json:
            _write(sys.stdout, [_as_json("trace", **as_event(trace, turn))])
        else:
            _write(sys.stdout, waterfall(trace, turn, self._style))
        return 0

    def _export(self, wanted: list[str], output: str) -> int:
        from chatbot.errors import UsageError
        from chatbot.ui.newfile import write_new

        out = "" if output == "-" else text(output)
        if out and not out.lower().endswith((".json", ".jsonl")):
            raise UsageError(f"{out}: Jaeger's UI loads only names that end in .jsonl or .json")
        with self._files() as files:
            selection = self._selection(wanted)
            pieces = (line.decode("utf-8", "replace") for line in _chosen(files, selection))
            first = next(pieces, "")
            if not first:
                return self._nothing()
            if not out:
                _write(sys.stdout, (piece.rstrip("\n") for piece in (first, *pieces)))
                return 0
            write_new(out, _chained(first, pieces))
        done = {"file": out, "traces": len(selection.traces), "spans": selection.spans}
        if self._json:
            _write(sys.stdout, [_as_json("exported", **done)])
        else:
            _say(f"{_counts(selection)} written to {out}")
        return 0

    def _send(self, url: str, wanted: list[str]) -> int:
        # Only this action may take the time that loading protobuf takes.
        from chatbot.telemetry.send import endpoint, headers_of, send

        to = endpoint(url)
        with self._files() as files:
            selection = self._selection(wanted)
            progress = _Progress()
            requests = send(_chosen(files, selection), to, headers_of(os.environ), progress.waiting)
            spans, rejected, why = self._follow(requests, progress)
        if not spans:
            return self._nothing()
        if self._json:
            done = {"url": to.shown, "traces": len(selection.traces), "spans": spans}
            _write(sys.stdout, [_as_json("sent", **done, rejected=rejected, message=why)])
        else:
            _say(f"{_counts(selection)} sent to {to.shown}")
        if rejected or why:
            reason = f": {why}" if why else ""
            _say(f"{rejected} of them were rejected{reason}" if rejected else f"it says{reason}")
        return 1 if rejected else 0

    def _follow(self, requests: "Iterable[Sent]", progress: "_Progress") -> tuple[int, int, str]:
        """Send, and show a person how far it is. Raises ChatbotError with what has arrived till then."""
        from chatbot.errors import ChatbotError

        spans = rejected = 0
        why = ""
        try:
            for sent in requests:
                spans += sent.spans
                rejected += sent.rejected
                why = sent.message or why
                progress.sent(spans)
        except ChatbotError as error:
            if spans:
                raise ChatbotError(f"{error}; {spans} spans were sent before") from error
            raise
        finally:
            progress.end()
        return spans, rejected, why

    def _turns(self) -> "list[Turn]":
        from chatbot.traces import archive

        self._known = archive.turns(self._directory, self._damage)
        return self._known

    def _files(self) -> "Files":
        from chatbot.traces.files import Files

        return Files(self._directory, self._damage)

    def _selection(self, wanted: list[str]) -> "Selection":
        from chatbot.traces import archive
        from chatbot.traces.lines import Selection

        if not wanted:
            return Selection()
        known = self._turns()
        return Selection({archive.find(known, each).trace_id for each in wanted})

    def _nothing(self) -> int:
        _say(f"there are no traces in {self._directory}")
        return 1


class _Progress:
    """How far it is, on one line of a terminal that is written over; elsewhere only why it waits."""

    def __init__(self) -> None:
        self._shows = sys.stderr.isatty()
        self._is_dirty = False
        self._said = ""

    def sent(self, spans: int) -> None:
        """So many spans have arrived."""
        self._said = ""
        self._show(f"{spans} spans sent")

    def waiting(self, why: str) -> None:
        """The receiver is busy: said anew only after it has taken something, or for another reason."""
        if self._shows:
            self._show(f"waiting: {why}")
        elif why != self._said:
            _say(f"waiting: {why}")
            sys.stderr.flush()
        self._said = why

    def end(self) -> None:
        """Leave the line empty."""
        if self._is_dirty:
            sys.stderr.write("\r\x1b[K")

    def _show(self, line: str) -> None:
        if self._shows:
            self._is_dirty = True
            sys.stderr.write(f"\r\x1b[K{line}")
            sys.stderr.flush()


def _chosen(files: "Files", selection: "Selection") -> Iterator[bytes]:
    for line in files.lines():
        chosen = selection.of(line)
        if chosen is None:
            files.spoilt()
        elif chosen:
            yield chosen


def _chained(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _counts(selection: "Selection") -> str:
    from chatbot.traces.style import counted

    return f"{counted(len(selection.traces), 'trace')} with {counted(selection.spans, 'span')}"


def _style(*, plain: bool) -> "Style":
    from chatbot.settings import wants_colour
    from chatbot.traces.style import Style, characters_for

    stdout = sys.stdout
    colour = stdout.isatty() and wants_colour(os.environ, plain=plain)
    return Style(shutil.get_terminal_size().columns, colour, characters_for(stdout.encoding))


def _as_json(event: str, **fields: Any) -> str:
    import msgspec

    return msgspec.json.encode({"event": event, **fields}).decode()


def _write(stream: TextIO, lines: Iterable[str]) -> None:
    """Write lines. What the stream's encoding does not have is written as an escape."""
    encoding = stream.encoding or "ascii"
    for line in lines:
        safe = line.encode(encoding, "backslashreplace").decode(encoding)
        stream.write(safe + "\n")
    stream.flush()


def _say(line: str) -> None:
    from chatbot.sanitize import one_line

    sys.stderr.write(f"chatbot: {one_line(line)}\n")
