"""The simulated model: which models there are, what one answers, and when each piece is due.

Pure. The same seed and conversation always give the same text and times, whatever the wire format, so
that a run can be repeated and an answer checked; `max_tokens` cuts it and changes nothing else. A token
is a word, of the answer or of the prompt: every count that is reported is true.

A request may ask for other times and lengths by the name of its model, such as
`sim?first_token=200ms&chunks=lognormal:40,0.5`.
"""

import hashlib
import struct
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Literal

import msgspec

from chatbot.distribution import Distribution, Unit, parse
from chatbot.errors import UsageError
from chatbot.messages import ChatMessage
from chatbot.settings import SimServerSettings
from chatbot.simserver.words import write
from chatbot.wire.format import ChatRequest, TokenCount

# How long each model's answers are, in multiples of the setting.
MODELS: dict[str, float] = {"sim": 1, "sim-small": 0.25, "sim-large": 4}

MOST_TOKENS = 1_000_000  # in one answer, whatever was drawn
_MOST_PROFILES = 256
_KEY_BYTES = 16


class Quantity(msgspec.Struct, frozen=True):
    """What a distribution of the settings may be. What is drawn beyond a bound counts as the bound."""

    unit: Unit
    least: float
    most: float

    @property
    def allowed(self) -> str:
        """What to give, for a person."""
        what = "a duration such as 50ms" if self.unit else "a number"
        unit = f" {self.unit}" if self.unit else ""
        return f"give {what} or a distribution, from {self.least:.0f} to {self.most:.0f}{unit}"


QUANTITIES: dict[str, Quantity] = {
    "first_token": Quantity("s", 0, 3600),
    "inter_chunk": Quantity("s", 0, 3600),
    "chunks": Quantity("", 1, 100_000),
    "tokens_per_chunk": Quantity("", 1, 1000),
    "reasoning": Quantity("", 0, 100_000),
}


class Profile(msgspec.Struct, frozen=True):
    """What a model's name stands for: the settings that hold for it, and how long its answers are.

    `steady`: nothing in it varies, so nothing has to be drawn. Then `texts` and `thoughts` are the
    tokens of each chunk.
    """

    settings: SimServerSettings
    scale: float
    steady: bool
    texts: Sequence[int] = ()
    thoughts: Sequence[int] = ()


class Answer(msgspec.Struct, frozen=True):
    """All there is to know about an answer before its first piece is sent.

    Its reasoning comes before its text, piece by piece in one sequence. `offsets_s` are the times of all
    pieces after the first one's; where they are even there are none, and `gap_s` is between any two.
    """

    pieces: tuple[str, ...]
    reason: Literal["stop", "length"]
    count: TokenCount
    first_s: float
    gap_s: float
    reasoning: tuple[str, ...] = ()
    offsets_s: tuple[float, ...] = ()

    @property
    def length_s(self) -> float:
        """When the answer is whole, counted like all times from when it was begun."""
        return self.due_s(len(self.reasoning) + len(self.pieces) - 1)

    @property
    def is_instant(self) -> bool:
        """Whether nothing has to be waited for."""
        return not self.first_s and not self.gap_s and not self.offsets_s

    def due_s(self, index: int) -> float:
        """Return when a piece is due. A product, not a sum: rounding must not add up."""
        if self.offsets_s:
            return self.first_s + self.offsets_s[min(max(index, 0), len(self.offsets_s) - 1)]
        return self.first_s + max(index, 0) * self.gap_s


class Models:
    """The models of a server by name, with those names that ask for something else."""

    def __init__(self, settings: SimServerSettings) -> None:
        self._settings = settings
        self._known: dict[str, Profile] = {}

    @property
    def names(self) -> list[str]:
        """The models there are, with those that were asked for by a name of their own."""
        return list(dict.fromkeys([*MODELS, *(name for name in self._known if "?" in name)]))

    def find(self, name: str) -> Profile | None:
        """Return what a name (perhaps with Ollama's tag) stands for; None if there is no such model.

        Raises UsageError where it asks for what there is not.
        """
        profile = self._known.get(name)
        if profile is None:
            model, _, wishes = name.removesuffix(":latest").partition("?")
            scale = MODELS.get(model.removesuffix(":latest"))
            if scale is None:
                return None
            profile = _profile(_overlay(self._settings, wishes), scale)
            if len(self._known) >= _MOST_PROFILES:
                self._known.clear()
            self._known[name] = profile
        return profile


def read_quantity(key: str, text: str, read: Callable[[str], str] | None = None) -> Distribution:
    """Read one of `QUANTITIES`; `read` returns the text of a file. Raises UsageError."""
    quantity = QUANTITIES[key]
    try:
        found = parse(text, unit=quantity.unit, read=read)
    except UsageError as error:
        raise UsageError(f"{error}; {quantity.allowed}") from error
    within = found.values or ((found.a, found.b) if found.kind == "uniform" else (found.a,))
    if not all(quantity.least <= value <= quantity.most for value in within):
        raise UsageError(f"{text!r} is out of bounds, {quantity.allowed}")
    return found


def answer(profile: Profile, request: ChatRequest, others: int = 0) -> Answer:
    """Return the whole answer to a request, begun while so many `others` are under way."""
    settings = profile.settings
    said = _conversation(request)
    state = hashlib.shake_128(msgspec.json.encode((settings.seed, said)))
    seed = b"" if profile.steady else state.digest(_KEY_BYTES)
    input_tokens = sum([len(message.content.split()) for message in said])

    texts, thoughts = profile.texts, profile.thoughts
    if not profile.steady:
        texts, thoughts = _sizes(profile, seed)
    wanted = sum(texts)
    limit = MOST_TOKENS if request.max_tokens is None else request.max_tokens
    pondered = sum(thoughts)
    thought = min(pondered, limit)
    served = min(wanted, limit - thought)
    pieces = _cut(write(state.digest(wanted))[:served], texts)
    reasoning: tuple[str, ...] = ()
    if thoughts:
        words = write(hashlib.shake_128(state.digest(_KEY_BYTES) + b"reasoning").digest(pondered))
        reasoning = _cut(words[:thought], thoughts)

    slower = 1 + settings.slowdown * others
    first_s = _bounded("first_token", settings.first_token.at(_draw(seed, b"first", 1)[0]))
    offsets_s: tuple[float, ...] = ()
    if settings.inter_chunk.kind != "constant":
        draws = _draw(seed, b"gaps", max(len(reasoning) + len(pieces) - 1, 0))
        gaps = [slower * _bounded("inter_chunk", settings.inter_chunk.at(u)) for u in draws]
        offsets_s = tuple(accumulate(gaps, initial=0.0))
    return Answer(
        pieces,
        "length" if served < wanted or thought < pondered else "stop",
        TokenCount(input_tokens, thought + served, reasoning_tokens=thought),
        slower * (first_s + settings.prefill_s * input_tokens),
        0.0 if offsets_s else slower * settings.inter_chunk.a,
        reasoning,
        offsets_s,
    )


def conversation_key(seed: int, request: ChatRequest) -> bytes:
    """Return what stands for a seed and a conversation, as short bytes."""
    data = msgspec.json.encode((seed, _conversation(request)))
    return hashlib.shake_128(data).digest(_KEY_BYTES)


def draw(key: bytes, what: bytes, count: int) -> list[float]:
    """Return numbers between 0 and 1, evenly distributed, that depend on the key and what they are for."""
    data = hashlib.shake_128(key + what).digest(4 * count)
    return [(n + 0.5) / 2**32 for n in struct.unpack(f"<{count}I", data)]


def _conversation(request: ChatRequest) -> tuple[ChatMessage, ...]:
    if request.system:  # the same conversation, whichever way a format puts it
        return (ChatMessage("system", request.system), *request.messages)
    return request.messages


def _draw(seed: bytes, what: bytes, count: int) -> list[float]:
    return draw(seed, what, count) if seed else [0.5] * count


def _bounded(key: str, value: float) -> float:
    return min(value, QUANTITIES[key].most)


def _sizes(profile: Profile, seed: bytes) -> tuple[Sequence[int], Sequence[int]]:
    """Return how many tokens each chunk of the text and of the reasoning has."""
    return (
        _tokens(profile, profile.settings.chunks, seed, b"text"),
        _tokens(profile, profile.settings.reasoning, seed, b"reasoning"),
    )


def _tokens(profile: Profile, chunks: Distribution, seed: bytes, what: bytes) -> Sequence[int]:
    if chunks.is_zero:
        return ()
    drawn = chunks.at(_draw(seed, what, 1)[0])
    number = max(1, round(min(drawn * profile.scale, QUANTITIES["chunks"].most)))
    each = profile.settings.tokens_per_chunk
    if each.kind == "constant":
        size = max(1, round(each.a))
        return [size] * min(number, MOST_TOKENS // size)
    most = QUANTITIES["tokens_per_chunk"].most
    sizes = [max(1, round(min(each.at(u), most))) for u in _draw(seed, what + b" sizes", number)]
    return sizes[: bisect_right(list(accumulate(sizes)), MOST_TOKENS)]


def _cut(words: list[str], sizes: Sequence[int]) -> tuple[str, ...]:
    """Return the words as pieces of these sizes, as far as there are words."""
    if sizes and max(sizes) == 1:
        return tuple(words)
    pieces, at = [], 0
    for size in sizes:
        if at >= len(words):
            break
        pieces.append("".join(words[at : at + size]))
        at += size
    return tuple(pieces)


def _profile(settings: SimServerSettings, scale: float) -> Profile:
    drawn = [getattr(settings, key) for key in QUANTITIES]
    profile = Profile(settings, scale, steady=all(d.kind == "constant" for d in drawn))
    if not profile.steady:
        return profile
    texts, thoughts = _sizes(profile, b"")
    return msgspec.structs.replace(profile, texts=texts, thoughts=thoughts)


def _overlay(settings: SimServerSettings, wishes: str) -> SimServerSettings:
    changes: dict[str, Distribution] = {}
    for wish in wishes.split("&") if wishes else ():
        key, _, value = wish.partition("=")
        if key not in QUANTITIES:
            known = ", ".join(QUANTITIES)
            raise UsageError(
                f"model: there is nothing called {key!r} to be set, there are: {known}"
            )
        try:
            changes[key] = read_quantity(key, value)
        except UsageError as error:
            raise UsageError(f"model: {key}: {error}") from error
    return msgspec.structs.replace(settings, **changes)
