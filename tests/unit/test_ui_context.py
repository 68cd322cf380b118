"""Whether a server has cut what it was sent: never a false alarm, and no cut that could be seen left out."""

import random
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.ui.context import Measure, Verdict, characters, judge

TEMPLATE = 9  # tokens around each message


@dataclass
class Server:
    """Counts as Ollama does. `ratio` is characters to a token; `cuts`: it has this context, and no more."""

    ratio: float
    context: int
    counts_cached: bool = True

    def tokens(self, messages: list[int]) -> int:
        return sum(int(each / self.ratio) + TEMPLATE for each in messages)

    def ask(self, messages: list[int], new: int) -> int:
        """Return `prompt_eval_count` of messages of so many characters, `new` of them not cached."""
        kept = list(messages)
        while len(kept) > 1 and self.tokens(kept) > self.context:
            del kept[0]
        tokens = self.tokens(kept)
        if tokens > self.context:
            return 4 + (self.context - 4) // 2
        if not self.counts_cached and len(messages) > 1:
            return int(new / self.ratio) + TEMPLATE
        return tokens


def talk(
    server: Server, turns: list[tuple[int, int]], *, tells: bool
) -> list[tuple[Verdict, bool]]:
    """Let a person ask and the model answer in so many characters; return each verdict with whether it was cut."""
    history: list[int] = []
    before: list[Measure] = []
    verdicts: list[tuple[Verdict, bool]] = []
    for question, answer in turns:
        sent = [*history, question]
        new = question + (history[-1] if history else 0)
        context = server.context if tells else None
        now = Measure(sum(sent), new, server.ask(sent, new), int(answer / server.ratio), context)
        verdicts.append((judge(before, now), server.tokens(sent) > server.context))
        history = [*sent, answer]
        before.append(now)
    return verdicts


def is_cut(verdict: Verdict) -> bool:
    return "has cut it" in verdict.warning


TURNS = st.lists(st.tuples(st.integers(1, 30_000), st.integers(0, 30_000)), min_size=1, max_size=8)
RATIOS = st.floats(1.0, 5.8)


@given(RATIOS, TURNS, st.booleans(), st.booleans())
def test_it_never_warns_where_nothing_was_cut(
    ratio: float, turns: list[tuple[int, int]], tells: bool, counts_cached: bool
) -> None:
    ratio = ratio if counts_cached else max(ratio, 2.1)
    server = Server(ratio, 1_000_000, counts_cached)
    assert not any(verdict.warning for verdict, _ in talk(server, turns, tells=tells))


@given(RATIOS, TURNS, st.sampled_from([2048, 4096, 8192]), st.booleans())
def test_it_says_cut_only_where_something_was(
    ratio: float, turns: list[tuple[int, int]], context: int, tells: bool
) -> None:
    for verdict, was_cut in talk(Server(ratio, context), turns, tells=tells):
        assert was_cut or not is_cut(verdict)


@given(st.floats(2.5, 5.5), st.integers(1, 4), st.sampled_from([2048, 4096, 32768]))
def test_a_first_prompt_that_was_halved_is_seen(ratio: float, times: int, context: int) -> None:
    question = int(context * ratio * (1 + times / 2))
    verdict, was_cut = talk(Server(ratio, context), [(question, 9)], tells=True)[0]
    assert was_cut
    assert is_cut(verdict)


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("ratio", [1.2, 2.0, 3.0, 4.0, 5.5])
def test_a_conversation_that_loses_its_beginning_is_seen_at_once_or_soon(
    ratio: float, tells: bool
) -> None:
    lengths = random.Random(1)
    turns = [(lengths.randint(50, 600), lengths.randint(1000, 4000)) for _ in range(30)]
    verdicts = talk(Server(ratio, 4096), turns, tells=tells)
    first = next(place for place, (_, was_cut) in enumerate(verdicts) if was_cut)
    assert not any(is_cut(verdict) for verdict, _ in verdicts[:first])
    assert any(is_cut(verdict) for verdict, _ in verdicts[first : first + 2])
    assert all(is_cut(verdict) for verdict, _ in verdicts[first + 3 :])


def test_the_warning_is_one_line_with_a_context_that_would_do() -> None:
    verdict = judge((), Measure(40_000, 40_000, 2052, 100, 4096))
    assert verdict == Verdict(2152, 4096, verdict.warning)
    assert verdict.warning == (
        "the model did not get all of this conversation: its context of 4,096 tokens is too short,"
        " and its server has cut it; /set num_ctx 16384, or /new-session"
    )


def test_outside_of_a_chat_the_remedy_is_an_option() -> None:
    verdict = judge((), Measure(40_000, 40_000, 2052, 100, 4096), in_chat=False)
    assert verdict.warning.endswith("has cut it; -o num_ctx 16384")


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ([Measure(100, 100, 50, 50, 4096)], Measure(60_100, 60_000, 3000, 50, 4096)),
        ([Measure(100, 100, 50, 50)], Measure(60_100, 60_000, 3000, 50)),
        ([], Measure(9000, 9000, 200, 50, 256)),
    ],
)
def test_what_is_new_is_in_no_cache(before: list[Measure], now: Measure) -> None:
    assert is_cut(judge(before, now))


@pytest.mark.parametrize(
    ("before", "now"),
    [
        # The answer before was long, and its server has it in the cache; the question was not.
        ([Measure(9000, 9000, 2000, 2500, 8192)], Measure(42_000, 33_000, 4200, 50, 8192)),
        ([Measure(9000, 9000, 2000, None, 8192)], Measure(42_000, 33_000, 4200, 50, 8192)),
        # The document was asked about in another session.
        ([], Measure(40_000, 40_000, 20, 50, 16_384)),
        ([Measure(100, 100, 50, 50)], Measure(20_100, 20_000, 500, 50)),
        ([Measure(9000, 9000, 50, 9)], Measure(60_000, 51_000, 3000, 50, sent_before=True)),
    ],
)
def test_what_may_have_been_cached_is_not_a_cut(before: list[Measure], now: Measure) -> None:
    assert not is_cut(judge(before, now))


@pytest.mark.parametrize(("output", "full"), [(95, False), (96, True), (500, True)])
def test_a_full_context_is_told_though_nothing_was_cut(output: int, full: bool) -> None:
    verdict = judge((), Measure(16_000, 16_000, 4000, output, 4096))
    assert ("is full" in verdict.warning) is full
    assert not is_cut(verdict)


def test_a_count_that_is_missing_is_a_cut_only_where_no_tokenizer_could_make_it_fit() -> None:
    assert is_cut(judge((), Measure(25_000, 25_000, None, 9, 4096)))
    assert not judge((), Measure(24_000, 24_000, None, 9, 4096)).warning
    assert judge((), Measure(10**6, 10**6)) == Verdict()


def test_more_tokens_than_the_context_has_mean_that_it_has_more() -> None:
    assert judge((), Measure(50_000, 50_000, 9000, 9, 4096)) == Verdict(9009, None, "")


def test_a_turn_with_another_system_prompt_is_no_measure() -> None:
    first = Measure(20_000, 20_000, 9000, system="long ago")
    now = Measure(20_001, 9, 5000, system="")
    assert not judge((first,), now).warning
    assert is_cut(judge((first,), msgspec.structs.replace(now, system="long ago")))


def test_a_run_of_one_character_is_not_taken_for_text() -> None:
    assert characters(["-" * 1000, "a   b", "aaaa", "\n" * 9]) == 4 + 5 + 4 + 4
