"""The key of a request, and the memory level of the cache."""

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.history import DIGEST_OF_NOTHING, extended
from chatbot.messages import Ask, ChatMessage, Completion, Options, Target
from chatbot.store import cache

TEXT = st.text("ab\n", max_size=4)  # few characters, so that parts can run into one another
VALUES = st.one_of(st.integers(0, 2), st.sampled_from([0.0, 1.0, 0.5]), st.booleans(), TEXT)
OPTIONS = st.dictionaries(st.sampled_from(["seed", "top_p", "a", "b"]), VALUES, max_size=3)
MESSAGES = st.builds(ChatMessage, st.sampled_from(["user", "assistant"]), TEXT)
TARGETS = st.builds(
    Target, st.sampled_from(["ollama", "sim"]), TEXT, st.one_of(st.none(), TEXT), OPTIONS
)
ASKS = st.builds(
    Ask,
    st.just("r"),
    st.just("s"),
    TEXT,
    TARGETS,
    st.lists(MESSAGES, max_size=3).map(tuple),
)


def meaning(ask: Ask) -> object:
    """Return what decides the answer, with the type of every option: 1, 1.0 and True differ."""
    options = sorted((k, type(v).__name__, str(v)) for k, v in ask.target.options.items())
    return (
        ask.target.backend,
        ask.target.model,
        ask.target.system,
        options,
        [(m.role, m.content) for m in ask.history],
        ask.content,
    )


@given(ASKS, ASKS)
def test_two_requests_share_a_key_exactly_when_they_mean_the_same(one: Ask, other: Ask) -> None:
    assert (cache.key_of(one) == cache.key_of(other)) == (meaning(one) == meaning(other))


@given(ASKS, st.randoms(use_true_random=False))
def test_the_order_of_options_does_not_change_the_key(ask: Ask, random: Random) -> None:
    names = list(ask.target.options)
    random.shuffle(names)
    options: Options = {name: ask.target.options[name] for name in names}
    target = msgspec.structs.replace(ask.target, options=options)
    shuffled = msgspec.structs.replace(ask, target=target)
    assert cache.key_of(shuffled) == cache.key_of(ask)


@given(ASKS)
def test_who_asks_and_when_does_not_change_the_key(ask: Ask) -> None:
    other = msgspec.structs.replace(
        ask, request_id="other", session_id="other", stream=False, traceparent="00-1"
    )
    assert cache.key_of(other) == cache.key_of(ask)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Target("sim", "m", None), Target("sim", "m", "")),
        (Target("sim", "m", None, {"seed": 1}), Target("sim", "m", None, {"seed": 1.0})),
        (Target("sim", "m", None, {"seed": 1}), Target("sim", "m", None, {"seed": True})),
        (Target("sim", "m", None, {"stop": "1"}), Target("sim", "m", None, {"stop": 1})),
    ],
)
def test_targets_that_only_look_alike_have_keys_of_their_own(one: Target, other: Target) -> None:
    assert cache.key_of(Ask("r", "s", "hi", one)) != cache.key_of(Ask("r", "s", "hi", other))


@given(ASKS, ASKS)
def test_a_history_and_its_digest_have_the_same_key(ask: Ask, other: Ask) -> None:
    digest = extended(DIGEST_OF_NOTHING, ask.history)
    named = msgspec.structs.replace(ask, history_digest=digest)
    assert cache.key_of(named) == cache.key_of(ask)
    # With a digest the history itself is not looked at: a turn costs what it adds.
    without = msgspec.structs.replace(named, history=other.history)
    assert cache.key_of(without) == cache.key_of(ask)


def test_the_same_words_split_differently_have_keys_of_their_own() -> None:
    target = Target("sim", "m")
    whole = Ask("r", "s", "b", target, (ChatMessage("user", "a"),))
    parts = Ask("r", "s", "", target, (ChatMessage("user", "a"), ChatMessage("user", "b")))
    assert cache.key_of(whole) != cache.key_of(parts)


def test_a_key_is_64_hex_digits() -> None:
    key = cache.key_of(Ask("r", "s", "hi", Target("sim", "m")))
    assert len(key) == 64
    assert set(key) <= set("0123456789abcdef")


# --- entries and hits --------------------------------------------------------------------------


def test_a_hit_is_the_whole_completion_with_its_age() -> None:
    completion = Completion("text", "m", "stop", "why", "id", {"usage.total": 7}, 3, 4)
    entry = cache.entry_of(completion, 100.0)
    assert entry is not None
    hit = cache.hit_of(entry, 160.5)
    assert hit is not None
    assert (hit.completion, hit.age_s, hit.call_traceparent) == (completion, 60.5, "")


def test_a_hit_names_the_span_of_the_call_that_generated_it() -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    entry = cache.entry_of(Completion("text"), 100.0, traceparent)
    assert entry is not None
    hit = cache.hit_of(entry, 100.0)
    assert hit is not None
    assert hit.call_traceparent == traceparent


def test_an_age_is_never_negative_when_the_clock_was_set_back() -> None:
    entry = cache.entry_of(Completion("text"), 100.0)
    assert entry is not None
    hit = cache.hit_of(entry, 99.0)
    assert hit is not None
    assert hit.age_s == 0


@pytest.mark.parametrize("completion", [Completion(""), Completion("x" * cache.MAX_ENTRY_BYTES)])
def test_an_answer_without_text_or_too_large_for_a_frame_is_not_kept(
    completion: Completion,
) -> None:
    assert cache.entry_of(completion, 0.0) is None


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff", b'["text"'])
def test_an_entry_that_cannot_be_read_is_a_miss(data: bytes) -> None:
    assert cache.hit_of(cache.Entry(data, 0.0), 0.0) is None


# --- the memory level --------------------------------------------------------------------------


def entry(size: int) -> cache.Entry:
    return cache.Entry(b"x" * (size - cache.ENTRY_OVERHEAD_BYTES), 0.0)


def test_the_entry_used_longest_ago_makes_room() -> None:
    memory = cache.Memory(3000)
    for key in ("a", "b", "c"):
        memory.put(key, entry(1000))
    assert memory.get("a") is not None  # used just now: b is the oldest
    memory.put("d", entry(1000))
    assert [key for key in "abcd" if memory.get(key)] == ["a", "c", "d"]


def test_a_dropped_entry_leaves_its_place() -> None:
    memory = cache.Memory(3000)
    memory.put("a", entry(1000))
    memory.put("b", entry(1000))
    memory.drop("a")
    memory.drop("nothing")
    assert memory.get("a") is None
    assert memory.get("b") is not None
    assert memory.size_bytes == 1000


def test_an_entry_larger_than_the_level_is_left_out_and_costs_nobody_a_place() -> None:
    memory = cache.Memory(3000)
    memory.put("a", entry(1000))
    memory.put("b", entry(3001))
    assert memory.get("b") is None
    assert memory.get("a") is not None


def test_an_older_entry_does_not_survive_a_larger_one_under_its_key() -> None:
    memory = cache.Memory(3000)
    memory.put("a", entry(1000))
    memory.put("a", entry(3001))
    assert memory.get("a") is None
    assert memory.size_bytes == 0


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(cache.ENTRY_OVERHEAD_BYTES, 1500)))
)
def test_the_level_never_grows_over_its_limit_and_counts_what_it_holds(
    puts: list[tuple[str, int]],
) -> None:
    memory = cache.Memory(3000)
    sizes: dict[str, int] = {}
    for key, size in puts:
        memory.put(key, entry(size))
        sizes[key] = size
        assert memory.get(key) is not None
        assert memory.size_bytes <= 3000
    assert memory.size_bytes == sum(size for key, size in sizes.items() if memory.get(key))
    memory.clear()
    assert memory.size_bytes == 0
    assert not any(memory.get(key) for key in sizes)
