"""Search: any text that a person types, over a real database."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatbot.messages import Answered, Ask, Completion, Search, SearchHit, Target
from chatbot.store import queries, search, snippet
from chatbot.store.database import Database

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=60)
OPERATORS = [
    "AND",
    "OR",
    "NOT",
    "NEAR",
    "NEAR(",
    '"',
    "*",
    "^",
    "-",
    ":",
    "(",
    ")",
    "content:",
    "+",
]
SIGNS = ["%", "{a b}", "\\", "_", "'", ";", "\0", "\ud800", "C++", "=>", "中", "é", "word"]
QUERIES = st.one_of(
    ANY_TEXT, st.lists(st.sampled_from(OPERATORS + SIGNS), max_size=8).map(" ".join)
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    path = tmp_path_factory.mktemp("search") / "chatbot.db"
    with closing(Database.open(str(path))) as opened:
        yield opened


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with closing(Database.open(str(tmp_path / "chatbot.db"))) as opened:
        yield opened


def say(database: Database, *contents: str) -> None:
    """Save messages, each as a turn of its own, in one session."""
    found = database.one("SELECT count(*) FROM messages")
    first = found[0] if found else 0
    for number, content in enumerate(contents, first):
        ask = Ask(f"r{number}", "s1", content, Target("sim", "sim"))
        queries.begin_session(database, ask, 1.0)
        queries.accept(database, ask, "", float(number))


def hits(database: Database, text: str, limit: int = 20) -> tuple[SearchHit, ...]:
    return search.search(database, Search("q", text, limit))


def found(database: Database, text: str, limit: int = 20) -> list[str]:
    return [hit.snippet for hit in hits(database, text, limit)]


def marked(hit: SearchHit) -> list[str]:
    return [hit.snippet[start:end] for start, end in hit.matches]


# --- what is found ------------------------------------------------------------------------------


def test_all_words_must_be_there_in_any_order_and_case(database: Database) -> None:
    say(database, "The quick brown fox", "a brown dog", "quick!")
    assert found(database, "QUICK brown") == ["The quick brown fox"]
    assert found(database, "Brown quick") == ["The quick brown fox"]
    assert found(database, "brown cat") == []
    assert found(database, "") == found(database, " \n ") == []


def test_diacritics_do_not_matter(database: Database) -> None:
    say(database, "un café crème", "Ein Gruß aus Zürich")
    assert found(database, "CAFE creme") == ["un café crème"]
    assert marked(hits(database, "zurich")[0]) == ["Zürich"]


def test_the_last_word_may_go_on_and_those_where_it_does_not_come_first(
    database: Database,
) -> None:
    say(database, "a cat", "concatenate", "category theory", "a cat")
    assert found(database, "cat") == ["a cat", "a cat", "category theory"]
    assert found(database, "categ") == ["category theory"]


def test_the_message_that_is_most_about_it_comes_first_and_the_newest_of_equals(
    database: Database,
) -> None:
    long = "rain and much else that has nothing to do with it at all, in a long text about the sea"
    say(database, long, "rain rain", "sun", "rain again", "rain again")
    ids = [hit.message_id for hit in hits(database, "rain")]
    assert ids == [2, 5, 4, 1]


def test_where_the_signs_are_there_too_comes_before_where_only_the_words_are(
    database: Database,
) -> None:
    say(database, "so: foo.bar and baz", "foo bar", "foo! bar! foo! bar!")
    assert hits(database, "foo.bar")[0].message_id == 1
    assert len(hits(database, "foo.bar")) == 3


def test_a_hit_tells_where_it_was_found(database: Database) -> None:
    say(database, "why is the sky blue?")
    question = queries.question_of(database, "r0")
    assert question is not None
    queries.finish(database, question, Answered("r0", 1, Completion("Rayleigh")), 5.0)
    (hit,) = hits(database, "rayleigh")
    assert hit == SearchHit(
        "s1", "why is the sky blue?", 2, "assistant", 5.0, "Rayleigh", ((0, 8),)
    )


def test_what_was_taken_out_of_its_conversation_is_not_found(database: Database) -> None:
    say(database, "one apple", "two apples => pie")
    queries.take_out(database, "s1", "r1")
    assert found(database, "apple") == ["one apple"]
    assert found(database, "=>") == []


def test_a_text_that_was_replaced_is_not_found_any_more(database: Database) -> None:
    say(database, "before")
    database.write("UPDATE messages SET content = 'after'")
    assert found(database, "before") == []
    assert found(database, "after") == ["after"]


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("=>", "x => x + 1"),
        ("C++", "I learn C++ today"),
        ("c++", "I learn C++ today"),
        ("learn c++", "I learn C++ today"),
        ("a[i]", "let a[i] be 3"),
        ("100%", "it is 100% sure"),
        ("snake_case", "call snake_case() now"),
        ("ake_ca", "call snake_case() now"),
        ("\\n", r"a newline is \n here"),
        ("天気", "今日の天気はいいですね"),
        ("気", "今日の天気はいいですね"),
        ("อากาศ", "วันนี้อากาศดี"),
        ('"exact words"', "these are the exact words of it"),
        ("e-mail", "send an e-mail to me"),
        ("foo.bar(x)", "use foo.bar(x) here"),
        ("concat", "unconcatenated"),
        ("don't", "I don't know"),
        ("AND", "salt AND pepper"),
        ("content:", "the content: none"),
    ],
)
def test_what_the_index_does_not_keep_is_found_in_the_texts(
    database: Database, text: str, content: str
) -> None:
    say(database, "something else", content, "and the cat, a hat; I")
    assert content in found(database, text)


@pytest.mark.parametrize("text", ["1%x", "a_c", "=_", "%", "\\%"])
def test_signs_that_stand_for_others_stand_for_themselves(database: Database, text: str) -> None:
    say(database, "100 percent", "abc", "=>", "c:\\x", "nothing")
    assert found(database, text) == []


def test_a_search_brings_at_most_what_was_asked_for(database: Database) -> None:
    say(database, *(f"rain => {number}" for number in range(30)))
    for text in ("rain", "=>"):
        assert [hit.message_id for hit in hits(database, text, 3)] == [30, 29, 28]
        assert hits(database, text, 0) == hits(database, text, -1) == ()


def test_only_the_newest_of_very_many_matches_are_ranked(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "RANKED", 2)
    say(database, "rain rain rain", "rain in a long text", "rain today")
    assert [hit.message_id for hit in hits(database, "rain")] == [3, 2]


def test_reading_through_the_texts_ends_when_its_time_is_over(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_READ_AT_ONCE", 1)
    say(database, "=> old", "none", "=> new")
    assert found(database, "=>") == ["=> new", "=> old"]
    monkeypatch.setattr(search, "READ_FOR_S", -1.0)
    assert found(database, "=>") == ["=> new"]


# --- any text -----------------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(QUERIES, st.integers(-2, 1000))
def test_no_text_is_an_error(shared: Database, text: str, limit: int) -> None:
    if not hits(shared, "word"):
        say(shared, "a word", "NEAR(a, b) => 'c'", "中文 C++ %_\\", "\0\ud800")
    hits(shared, text, limit)


@pytest.mark.parametrize("text", ["x " * 10_000, "x" * 100_000, "(" * 5000, '"' * 5001, "% " * 999])
def test_a_very_long_text_is_not_an_error(database: Database, text: str) -> None:
    say(database, "x ( %")
    hits(database, text)


@settings(deadline=None, max_examples=200)
@given(
    st.lists(ANY_TEXT.filter(lambda text: text.split() != []), min_size=1, max_size=4), st.data()
)
def test_a_word_of_a_message_finds_it(
    shared: Database, contents: list[str], data: st.DataObject
) -> None:
    shared.write("DELETE FROM sessions")
    say(shared, *contents)
    number = data.draw(st.integers(0, len(contents) - 1))
    word = data.draw(st.sampled_from(contents[number].split()))
    newest = shared.one("SELECT max(id) FROM messages")
    assert newest is not None
    wanted = newest[0] - len(contents) + 1 + number
    assert wanted in [hit.message_id for hit in hits(shared, word)]


# --- the line around it -------------------------------------------------------------------------


def test_a_line_is_cut_out_around_the_words() -> None:
    content = "far " * 100 + "the\n\n  needle   in\tthe haystack" + " away" * 100
    line, matches = snippet.cut_out(content, ["needle", "hay"])
    assert line.startswith("…")
    assert line.endswith("…")
    assert "the needle in the haystack away" in line
    assert [line[start:end] for start, end in matches] == ["needle", "haystack"]


def test_a_line_shows_where_most_of_the_words_are_together() -> None:
    content = "salt. " + "x " * 300 + "salt and pepper" + " y" * 300 + " pepper"
    line, matches = snippet.cut_out(content, ["salt", "pepper"])
    assert "salt and pepper" in line
    assert len(matches) == 2


def test_whole_words_are_shown_before_parts_of_others() -> None:
    line, matches = snippet.cut_out("unsalted, salted, salt", ["salt"])
    assert [line[start:end] for start, end in matches] == ["salt"]
    line, matches = snippet.cut_out("unsalted", ["salt"])
    assert [line[start:end] for start, end in matches] == ["salt"]


@given(ANY_TEXT, st.lists(ANY_TEXT.filter(bool), max_size=3))
def test_a_line_is_one_printable_line_and_its_matches_are_in_it(
    content: str, parts: list[str]
) -> None:
    line, matches = snippet.cut_out(content * 5, parts)
    assert line.isprintable()
    assert len(line) <= snippet.WIDTH + 2
    end = 0
    for first, last in matches:
        assert end <= first < last <= len(line)
        end = last
