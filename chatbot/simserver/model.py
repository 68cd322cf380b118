"""The simulated model: which models there are, what one answers, and when each piece is due.

Pure. The same seed and conversation always give the same text, whatever the wire format, so that a
run can be repeated and an answer checked; `max_tokens` cuts it and changes nothing else. A token is
a piece of the answer, or a word of the prompt: every count that is reported is true.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal

import msgspec

from chatbot.settings import SimServerSettings
from chatbot.wire.format import ChatRequest, TokenCount

# How long each model's answers are, in multiples of the setting.
MODELS: dict[str, float] = {"sim": 1, "sim-small": 0.25, "sim-large": 4}

# A sentence, one line per word: "The quiet river carries a small lantern beyond the old garden."
_DETERMINERS = "the a this that every one some our their another its each my your no any"
_ADJECTIVES = (
    "quiet small bright early distant patient golden narrow gentle hidden careful silver modern "
    "simple hollow steady"
)
_NOUNS = (
    "river garden harbour letter window market signal bridge lantern answer village engine "
    "forest question mountain story"
)
_SENTENCE = (
    _DETERMINERS,
    _ADJECTIVES,
    _NOUNS,
    "carries follows finds keeps crosses remembers builds opens changes measures leaves watches "
    "draws repairs becomes meets",
    _DETERMINERS,
    _ADJECTIVES,
    _NOUNS,
    "across beside under near behind beyond without through before after along above against "
    "toward inside around",
    _DETERMINERS,
    _NOUNS,
)


class Answer(msgspec.Struct, frozen=True):
    """All there is to know about an answer before its first piece is sent.

    `length_s` is when the last piece is due, counted like all times from the request's arrival.
    """

    pieces: tuple[str, ...]
    reason: Literal["stop", "length"]
    count: TokenCount
    first_s: float
    gap_s: float

    @property
    def length_s(self) -> float:
        """When the answer is whole."""
        return self.due_s(len(self.pieces) - 1)

    def due_s(self, index: int) -> float:
        """Return when a piece is due. A product, not a sum: rounding must not add up."""
        return self.first_s + max(index, 0) * self.gap_s


def find_model(name: str) -> str | None:
    """Return the model that a name (perhaps with Ollama's tag) stands for; None if there is none."""
    model = name.removesuffix(":latest")
    return model if model in MODELS else None


def answer(settings: SimServerSettings, model: str, request: ChatRequest) -> Answer:
    """Return the whole answer to a request for one of `MODELS`."""
    conversation = [(m.role, m.content) for m in request.messages]
    if request.system:  # the same conversation, whichever way a format puts it
        conversation.insert(0, ("system", request.system))
    chunks = settings.chunks.at(0.5)
    wanted = max(1, round(chunks * MODELS[model])) if chunks > 0 else 0
    served = wanted if request.max_tokens is None else min(wanted, request.max_tokens)
    pieces = _write(settings.seed, conversation, wanted)
    first_s, gap_s = settings.first_token.at(0.5), settings.inter_chunk.at(0.5)
    count = TokenCount(
        input_tokens=sum(len(content.split()) for _, content in conversation),
        output_tokens=served,
        load_ns=1,  # a client may divide by any of these
        prompt_ns=max(int(first_s * 1e9), 1),
        generate_ns=max(int(max(served - 1, 0) * gap_s * 1e9), 1),
    )
    return Answer(pieces[:served], "length" if served < wanted else "stop", count, first_s, gap_s)


def _write(seed: int, conversation: Sequence[tuple[str, str]], length: int) -> tuple[str, ...]:
    """Return `length` words as pieces: each but the first begins with its space."""
    digest = hashlib.shake_128(msgspec.json.encode((seed, conversation))).digest(length)
    pieces = [_WORDS[i % len(_WORDS)][byte] for i, byte in enumerate(digest)]
    if pieces:
        pieces[0] = pieces[0][1:]
        pieces[-1] = pieces[-1].removesuffix(".") + "."
    return tuple(pieces)


def _all_pieces(words: list[str], position: int) -> tuple[str, ...]:
    """Return the pieces at a position of the sentence, one for every value of a byte."""
    shown = [word.capitalize() if position == 0 else word for word in words]
    end = "." if position == len(_SENTENCE) - 1 else ""
    return tuple(f" {shown[byte % len(shown)]}{end}" for byte in range(256))


_WORDS = tuple(_all_pieces(words.split(), position) for position, words in enumerate(_SENTENCE))
