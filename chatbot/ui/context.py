"""How full a model's context is, and whether its server has silently cut what it was sent. Pure.

Ollama answers a prompt that is too long as if nothing were missing. It leaves out the oldest messages until the
rest fits; what is too long even so is cut to about half of the context; and only `prompt_eval_count`, which
counts what was left, tells of it (https://github.com/ollama/ollama/issues/8099, /17427). So what was sent is
compared with what was counted. Both are only roughly known, and an alarm that is false is worse than none:

- Nothing is said where a context of known length has room for whatever a tokenizer makes of the text.
- Fewer tokens than any tokenizer makes of the text is a cut, and so are fewer than an earlier, shorter
  prompt of the same conversation had, where none of it was taken back.
- Old servers count only what was not in their prompt cache, or nothing (/ollama/issues/3427): until a server
  was seen to count more, a count no larger than what is new in this prompt says nothing; unless it is as much as
  a cut leaves, and still too little for what is new alone, which is in no cache.
"""

import re
from collections.abc import Iterable, Sequence

import msgspec

# A run of one character may be one token; in other text a token has between a third of a character and 6.
_RUN = re.compile(r"(.)\1{3,}", re.DOTALL)
_CHARACTERS_OF_A_TOKEN = 6
_TOKENS_OF_A_CHARACTER = 3
_NEW_CHARACTERS_OF_A_TOKEN = 2
_SLACK = 32  # tokens that a template may have in one turn and not in the next
_SLACK_SHARE = 0.1
_HALF_MORE = (
    8  # tokens above one half of the context that Ollama keeps at the beginning, when it halves
)
_FEWEST_LEFT = (
    512  # tokens: where nothing else is known, a cut to less than this is not believed in
)


class Measure(msgspec.Struct, frozen=True):
    """What was sent in one turn, in characters (`characters` of all of it, `new` of what was not in the turn
    before), and what the server counted, in tokens. None: not told. `context` is the length of the loaded context.

    `system` is the system prompt that was a part of it. `sent_before`: so was all of it, and may be cached.
    """

    characters: int
    new: int
    input_tokens: int | None = None
    output_tokens: int | None = None
    context: int | None = None
    system: str = ""
    sent_before: bool = False


class Verdict(msgspec.Struct, frozen=True):
    """How many tokens of the context are used after this turn, of how many; None: not known. `warning` is one
    line with the remedy; empty: nothing is wrong that one could see."""

    used: int | None = None
    length: int | None = None
    warning: str = ""


def characters(texts: Iterable[str]) -> int:
    """Return how many characters these texts have, where runs of one character count no more than four."""
    return sum(len(_RUN.sub(r"\1\1\1\1", text)) for text in texts)


def judge(before: Sequence[Measure], now: Measure, *, in_chat: bool = True) -> Verdict:
    """Return what is to be said after a turn. `before` are the turns of the same conversation and model that are
    a part of what was sent: not those that were undone or replaced, nor those of another model. `in_chat`: the
    remedy is a command of the chat."""
    tokens = now.input_tokens
    used = None if tokens is None else tokens + (now.output_tokens or 0)
    if now.context is not None and tokens is not None and tokens > now.context:
        now = msgspec.structs.replace(now, context=None)  # it was loaded anew since that was read
    return Verdict(used, now.context, _warning(before, now, used, in_chat=in_chat))


def _warning(before: Sequence[Measure], now: Measure, used: int | None, *, in_chat: bool) -> str:
    least = _least(before, now)
    if _is_cut(before, now, least):
        length = f" of {now.context:,} tokens" if now.context else ""
        return (
            f"the model did not get all of this conversation: its context{length} is too short,"
            f" and its server has cut it; {_remedy(least, now, in_chat=in_chat)}"
        )
    if now.context and used is not None and used >= now.context:
        return (
            f"the context of {now.context:,} tokens is full: the model forgets what came first;"
            f" {_remedy(used, now, in_chat=in_chat)}"
        )
    return ""


def _is_cut(before: Sequence[Measure], now: Measure, least: int) -> bool:
    """Whether the server must have left something out."""
    tokens, context = now.input_tokens, now.context
    if context is not None and now.characters * _TOKENS_OF_A_CHARACTER + _SLACK <= context:
        return False
    if tokens is None:
        return context is not None and least > context
    if (
        context is not None and 0 <= tokens - context // 2 <= _HALF_MORE
    ):  # what is left of a halved one
        return least > tokens
    return tokens < least * (1 - _SLACK_SHARE) - _SLACK and not _may_be_cached(before, now, tokens)


def _may_be_cached(before: Sequence[Measure], now: Measure, tokens: int) -> bool:
    """Whether the count may leave out what the server had in its prompt cache."""
    fewest_left = now.context // 2 if now.context else _FEWEST_LEFT
    if fewest_left <= tokens < _fresh(before, now) * (1 - _SLACK_SHARE) - _SLACK:
        return False
    if not before:
        return tokens < _FEWEST_LEFT
    return not any(
        each.input_tokens is not None and each.input_tokens > _of_new(each) for each in before[1:]
    ) and tokens <= _of_new(now)


def _fresh(before: Sequence[Measure], now: Measure) -> float:
    """Return how many tokens were in no cache, at least: the answer before, which is new in the prompt, was made
    where the cache is."""
    answer = before[-1].output_tokens if before else 0
    if answer is None or now.sent_before:
        return 0
    return now.new / _CHARACTERS_OF_A_TOKEN - answer


def _of_new(measure: Measure) -> float:
    return measure.new / _NEW_CHARACTERS_OF_A_TOKEN + _SLACK


def _least(before: Sequence[Measure], now: Measure) -> int:
    """Return how many tokens what was sent has at least."""
    least = now.characters / _CHARACTERS_OF_A_TOKEN
    for earlier in before:
        if earlier.system == now.system and earlier.characters <= now.characters:
            more = (now.characters - earlier.characters) / _CHARACTERS_OF_A_TOKEN
            least = max(least, (earlier.input_tokens or 0) + more)
    return int(least)


def _remedy(tokens: int, now: Measure, *, in_chat: bool) -> str:
    enough = _enough(tokens, now)
    return f"/set num_ctx {enough}, or /new-session" if in_chat else f"-o num_ctx {enough}"


def _enough(tokens: int, now: Measure) -> int:
    """Return a context with room for so many tokens and an answer: a power of two, and more than there was."""
    wanted = max(2 * tokens, (now.context or 0) + 1, 4096)
    return 1 << (wanted - 1).bit_length()
