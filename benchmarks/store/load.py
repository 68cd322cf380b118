"""Sessions that keep a store busy, and what they say."""

import time
from collections.abc import Callable

from benchmarks.store.peer import TARGET, StoreProcess
from chatbot.history import DIGEST_OF_NOTHING, extended
from chatbot.ids import new_request_id
from chatbot.messages import (
    Accepted,
    Answered,
    Ask,
    CachePolicy,
    ChatMessage,
    Completion,
    Message,
    Saved,
)

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Script:
    """What the sessions say: questions that were never asked before, and answers to them."""

    def __init__(
        self,
        texts: list[str],
        history: int = 0,
        *,
        traced: bool = False,
        cache: CachePolicy = "use",
    ) -> None:
        self._texts = texts
        said = [
            ChatMessage("user" if at % 2 == 0 else "assistant", texts[at % len(texts)])
            for at in range(history)
        ]
        self._history = tuple(said)
        self._digest = extended(DIGEST_OF_NOTHING, said)  # the UI has it from the turns before
        self._traceparent = TRACEPARENT if traced else ""
        self._cache = cache
        self._asked = 0
        self._answered = 0

    def ask(self, session: int) -> Ask:
        """Return the next question of a session."""
        self._asked += 1
        return Ask(
            new_request_id(),
            f"session_{session}",
            f"{self._asked} {self._texts[self._asked % len(self._texts)]}",
            TARGET,
            self._history,
            self._cache,
            traceparent=self._traceparent,
            turn_traceparent=self._traceparent,
            history_digest=self._digest,
        )

    def answered(self, request_id: str) -> Answered:
        """Return the answer to a question, with everything that a server reports."""
        self._answered += 1
        text = self._texts[(self._answered * 7) % len(self._texts)]
        usage = {"prompt_tokens": 70, "completion_tokens": 60, "total_tokens": 130}
        completion = Completion(text, "sim", "stop", "", f"id-{request_id}", usage, 70, 60)
        return Answered(
            request_id, 1, completion, 210.5, 1830.25, None, self._traceparent, self._traceparent
        )


class Load:
    """Sessions in a closed loop: each has one message under way, and goes on when it is acknowledged.

    `say` makes the next message of a session. With `answer`, each question is answered at once, and the
    next one is asked when that is saved. Runs until `seconds` have passed or `count` messages were said,
    then waits for what is under way.
    """

    def __init__(
        self,
        process: StoreProcess,
        say: Callable[[int], Ask | Answered],
        sessions: int,
        *,
        seconds: float = float("inf"),
        count: float = float("inf"),
        answer: Callable[[str], Answered] | None = None,
    ) -> None:
        self.done: list[str] = []
        self.accept_s: list[float] = []
        self._process = process
        self._say = say
        self._answer = answer
        self._left = count
        self._under_way = 0
        self._sent: dict[str, tuple[int, float]] = {}
        started = time.perf_counter()
        cpu = process.cpu_s
        self._deadline = started + seconds
        process.sink = self._hear
        for session in range(int(min(sessions, count))):
            self._next(session)
        process.finish()
        self.rate = len(self.done) / (time.perf_counter() - started)
        self.cpu_s = (process.cpu_s - cpu) / len(self.done)

    def _next(self, session: int) -> None:
        if self._left <= 0:
            return
        self._left -= 1
        self._under_way += 1
        message = self._say(session)
        self._sent[message.request_id] = (session, time.perf_counter())
        self._process.outbox.post(message)

    def _hear(self, message: Message) -> None:
        now = time.perf_counter()
        if not isinstance(message, Accepted | Saved):
            raise TypeError(f"neither a question nor an answer was acknowledged: {message!r}")
        session, sent = self._sent[message.request_id]
        if isinstance(message, Accepted):
            self.accept_s.append(now - sent)
            if self._answer is not None:
                self._process.outbox.post(self._answer(message.request_id))
                return
        del self._sent[message.request_id]
        self.done.append(message.request_id)
        self._under_way -= 1
        if now < self._deadline:
            self._next(session)
        if self._under_way == 0:
            self._process.done()
