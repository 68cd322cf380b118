"""How full a model's context is, and whether its server has silently cut what it was sent. Pure.

Ollama answers a prompt that is too long as if nothing were missing. It leaves out the oldest messages until the
rest fits; what is too long even so is cut to about half of the context; and only `prompt_eval_count`, which
counts what was left, tells of it (https://github.com/ollama/ollama/issues/8099, /17427). So what was sent is
compared with what was counted. Both are only roughly known, and an alarm that is false is worse than none:

- Nothing is said where even a mean tokenizer would have fit all of it into a context whose length is known.
- Fewer tokens than any tokenizer makes of the text is a cut, and so are fewer than an earlier, shorter
  prompt of the same conversation had, where none of it was taken back.
- Old servers count only what was not in their prompt cache, or nothing (/ollama/issues/3427): a count no
  larger than what is new in this prompt may be that, and says nothing by itself.
"""

import re
from collections.abc import Iterable

import msgspec

# A run of one character is one token of many; other text has 2 to 5 characters to a token, and 1 at worst.
_RUN = re.compile(r"(.)\1{3,}", re.DOTALL)
_MOST_CHARACTERS = 6.0
_FEWEST_CHARACTERS = 1.0
_SLACK = 32  # tokens that a template may have in one turn and not in the next
_SLACK_SHARE = 0.1
_HALF_MORE = (
    8  # tokens above one half of the context that Ollama keeps at the beginning, when it halves
)
_SMALLEST_CONTEXT = (
    512  # tokens; where the length is not known, a cut to less than this is not believed in
)


class Measure(msgspec.Struct, frozen=True):
    """What was sent in one turn, in characters (`characters` of all of it, `new` of what was not in the turn
    before), and what the server counted, in tokens. None: not told. `context` is the length of the loaded context.

    `system` is the system prompt that was a part of it.
    """

    characters: int
    new: int
    input_tokens: int | None = None
    output_tokens: int | None = None
    context: int | None = None
    system: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """How many tokens of the context are used after this turn, of how many; None: not known. `warning` is one
    line with the remedy; empty: nothing is wrong that one could see."""

    used: int | None = None
    length: int | None = None
    warning: str = ""


def characters(texts: Iterable[str]) -> int:
    """Return how many characters these texts have, where runs of one character count no more than four."""
    return sum(len(_RUN.sub(r"\1\1\1\1", text)) for text in texts)


def judge(before: Iterable[Measure], now: Measure) -> Verdict:
    """Return what is to be said after a turn. `before` are the turns of the same conversation and model that are
    a part of what was sent: not those that were undone or replaced, nor those of another model."""
    used = None
    if now.input_tokens is not None:
        used = now.input_tokens + (now.output_tokens or 0)
    return Verdict(used, now.context, _warning(list(before), now, used))


def _warning(before: list[Measure], now: Measure, used: int | None) -> str:
    least = _least(before, now)
    if _is_cut(before, now, least):
        length = f" of {now.context:,} tokens" if now.context else ""
        return (
            f"the model did not get all of this conversation: its context{length} is too short,"
            f" and the server has cut it; -o num_ctx {_enough(least, now)}, or /new-session"
        )
    if now.context and used is not None and used >= now.context:
        return (
            f"the context of {now.context:,} tokens is full: the model forgets the beginning;"
            f" -o num_ctx {_enough(used, now)}, or /new-session"
        )
    return ""


def _is_cut(before: list[Measure], now: Measure, least: int) -> bool:
    """Whether the server must have left something out."""
    tokens, context = now.input_tokens, now.context
    if context is not None:
        if _most(before, now) <= context:
            return False
        if least > context:
            return True
    if tokens is None or tokens >= _less(least):
        # What was halved is told by its number, where it is not so few that nothing else could have been.
        return tokens is not None and _is_halved(tokens, before, now)
    if context is None and tokens < _SMALLEST_CONTEXT:
        return False
    return not before or tokens > now.new / _FEWEST_CHARACTERS + _SLACK


def _is_halved(tokens: int, before: list[Measure], now: Measure) -> bool:
    """Whether this is the number of tokens that is left of a prompt longer than the context."""
    if now.context is None or not 0 <= tokens - now.context // 2 <= _HALF_MORE:
        return False
    return _likely(before, now) > tokens * (1 + 2 * _SLACK_SHARE) + _SLACK


def _least(before: list[Measure], now: Measure) -> int:
    """Return how many tokens what was sent has at least."""
    least = now.characters / _MOST_CHARACTERS
    for earlier in _parts_of(before, now):
        more = (now.characters - earlier.characters) / _MOST_CHARACTERS
        least = max(least, (earlier.input_tokens or 0) + more)
    return int(least)


def _most(before: list[Measure], now: Measure) -> float:
    """Return how many tokens what was sent has at most."""
    del before  # a count from before may have been cut, and is no bound
    return now.characters / _FEWEST_CHARACTERS + _SLACK


def _likely(before: list[Measure], now: Measure) -> float:
    """Return how many tokens it has if its text is like that of the turns before; of the first, the least."""
    ratios = [
        earlier.input_tokens / earlier.characters
        for earlier in _parts_of(before, now)
        if earlier.input_tokens and earlier.characters
    ]
    return max([now.characters / _MOST_CHARACTERS, *(ratio * now.characters for ratio in ratios)])


def _parts_of(before: list[Measure], now: Measure) -> list[Measure]:
    """Return the turns whose prompts are a part of this one."""
    return [
        each for each in before if each.system == now.system and each.characters <= now.characters
    ]


def _less(tokens: int) -> float:
    """Return a number that is clearly below so many tokens, whatever a template adds or leaves out."""
    return tokens * (1 - _SLACK_SHARE) - _SLACK


def _enough(tokens: int, now: Measure) -> int:
    """Return a context with room for so many tokens and an answer: a power of two, and more than there was."""
    wanted = max(2 * tokens, (now.context or 0) + 1, 4096)
    return 1 << (wanted - 1).bit_length()
