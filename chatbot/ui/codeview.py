"""The code of an answer alone, for `--extract`: the answer is waited for, and its first block printed."""

from typing import TextIO

from chatbot.messages import Answered, Target, Terminal
from chatbot.ui.streams import Output
from chatbot.ui.textview import TextView
from chatbot.ui.view import Notices, describe


class CodeView(TextView):
    """Shows nothing of an answer while it comes; where it has no code, all of it when it is over, and says so."""

    def __init__(self, stdout: TextIO, notices: Notices) -> None:
        super().__init__(stdout, notices)
        self._stdout = Output(stdout)
        self._lines = notices

    def begin(self, request_id: str, session_id: str, target: Target) -> None:
        """A turn begins."""

    def delta(self, request_id: str, text: str, *, reasoning: bool) -> None:
        """What comes is taken from the end."""

    def end(self, terminal: Terminal, streamed: str) -> None:
        """Print the first block of code. What broke off may have half of it: that is not printed."""
        del streamed
        if isinstance(terminal, Answered):
            from chatbot.ui.markdown import code

            text = terminal.completion.text
            found = code.blocks(text)
            wanted = found[0].text if found else text
            if not found:
                self._lines.say("no code block in the answer: this is all of it")
            self._stdout.write(wanted if wanted.endswith("\n") else f"{wanted}\n")
        if line := describe(terminal):
            self._lines.say(line)
