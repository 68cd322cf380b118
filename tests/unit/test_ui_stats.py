"""What a session has used: the same as the view `model_usage` says of the same rows."""

from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatbot.messages import StoredMessage, Target
from chatbot.settings import Price
from chatbot.store.database import Database
from chatbot.ui.stats import Stats, Used, lines, of_messages

INSERT = """
    INSERT INTO messages (session_id, role, content, timestamp, request_id, backend, model, status,
                          finish_reason, input_tokens, output_tokens, first_token_ms, duration_ms,
                          cached, active)
    VALUES ('s', :role, :content, 0.0, :request_id, :backend, :model, :status, :finish_reason,
            :input_tokens, :output_tokens, :first_token_ms, :duration_ms, :cached, :active)
"""
VIEW = """
    SELECT answers, from_cache, failed, interrupted, tokens_unknown, coalesce(input_tokens, 0),
           coalesce(output_tokens, 0), output_tokens_per_s, cost
    FROM model_usage WHERE backend = :backend AND model = :model
"""
PRICES = {"sim:a": Price(3.0, 15.0)}
TOKENS = st.none() | st.integers(0, 5000)
MS = st.none() | st.integers(1, 5000).map(float)


@st.composite
def turns(draw: st.DrawFn) -> tuple[StoredMessage, ...]:
    said: list[StoredMessage] = []
    for number in range(draw(st.integers(1, 6))):
        request_id = f"r{number}"
        question = StoredMessage(
            *("user", "q", "complete", 0.0),
            model=draw(st.sampled_from("ab")),
            request_id=request_id,
            backend="sim",
            active=draw(st.booleans()),
        )
        status: Literal["complete", "interrupted", "failed"] = draw(
            st.sampled_from(("complete", "interrupted", "failed"))
        )
        answer = msgspec.structs.replace(
            question,
            role="assistant",
            content=draw(st.sampled_from(["", "a"])),
            status=status,
            model="what it calls itself",
            finish_reason=draw(st.sampled_from(["stop", "auth", "timeout"])),
            input_tokens=draw(TOKENS),
            output_tokens=draw(TOKENS),
            first_token_ms=draw(MS),
            duration_ms=draw(MS),
            cached=status == "complete" and draw(st.booleans()),
        )
        said += (question, answer)
    return tuple(said)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = Path(tmp_path_factory.mktemp("stats")) / "chatbot.db"
    with closing(Database.open(str(path))) as opened:
        opened.write("INSERT INTO sessions VALUES ('s', 'A talk', 1.0, 'sim', 'm')")
        opened.write("INSERT INTO prices VALUES ('sim', 'a', 3.0, 15.0, NULL)")
        yield opened


@settings(deadline=None, max_examples=40)
@given(turns())
def test_the_sums_are_those_of_the_database(
    database: Database, said: tuple[StoredMessage, ...]
) -> None:
    database.write("DELETE FROM messages")
    for message in said:
        row = msgspec.structs.asdict(message)
        names = INSERT.partition("VALUES")[2]
        database.write(INSERT, **{key: row[key] for key in row if f":{key}" in names})
    stats = of_messages("s", said, PRICES)
    assert len(stats.used) == len({each.model for each in said if each.role == "user"})
    for used in stats.used:
        target = {"backend": used.target.backend, "model": used.target.model}
        (sums,) = database.rows(VIEW, **target)
        counted = (used.answers, used.cached, used.failed, used.interrupted, used.unknown)
        assert counted == sums[:5]
        assert (used.input_tokens, used.output_tokens) == sums[5:7]
        speed = used.timed_tokens / used.seconds if used.seconds else None
        assert speed == (sums[7] if sums[7] is None else pytest.approx(sums[7]))
        assert used.cost == (sums[8] if sums[8] is None else pytest.approx(sums[8]))


def test_an_answer_without_its_question_is_left_out() -> None:
    answer = StoredMessage("assistant", "a", "complete", 0.0, request_id="r1", input_tokens=1)
    assert of_messages("s", (answer,), {}) == Stats("s")
    assert list(lines(Stats("s"))) == ["nothing was answered in this session yet"]


def test_what_was_refused_before_it_cost_anything_has_failed_and_is_no_answer() -> None:
    asked = StoredMessage("user", "q", "complete", 0.0, "a", request_id="r1", backend="sim")
    refused = msgspec.structs.replace(
        asked, role="assistant", content="", status="failed", finish_reason="auth"
    )
    (used,) = of_messages("s", (asked, refused), {}).used
    assert (used.refused, used.failed, used.unknown) == (1, 1, 0)
    row = list(lines(Stats("s", (used,))))[1]
    assert row.split()[2:6] == ["0", "0", "1", "0"]


def test_the_table_fits_80_columns_and_says_what_is_not_known() -> None:
    used = Used(
        *(Target("sim", "a-model-with-a-name-of-some-length"), 10, 2, 2, 3, 1, 1_234_567, 87_654),
        timed_tokens=900,
        seconds=20.0,
        first_token_ms=(100.0, 200.0, 3000.0),
        cost=12.5,
        refused=1,
    )
    other = Used(Target("ollama", "llama3"), answers=1, unknown=1)
    shown = list(lines(Stats("s", (used, other))))
    assert max(map(len, shown)) <= 80
    assert shown == [
        "model           answers cached failed stopped     in    out tok/s  first    cost",
        "sim a-model-wi…       9      2      2       3 ≥1.23M ≥87.7k  45.0 200 ms ≥$12.50",
        "ollama llama3         1      0      0       0      -      -     -      - unknown",
        "2 answers told no tokens: not in the sums, and of unknown cost",
        "cost: $12.50, and what is unknown",
    ]


@pytest.mark.parametrize("cost", [None, 0.5])
def test_a_sum_is_never_taken_for_all_where_a_part_is_unknown(cost: float | None) -> None:
    used = Used(
        Target("sim", "a"), answers=2, unknown=1, input_tokens=5, output_tokens=5, cost=cost
    )
    text = "\n".join(lines(Stats("s", (used,))))
    assert ("unknown" in text) if cost is None else ("≥$0.500" in text)
    assert "$0\n" not in text
    assert "1 answer told no tokens" in text
