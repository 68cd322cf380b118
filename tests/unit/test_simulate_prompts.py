"""What simulated sessions say: the same with the same seed, different in every turn, as long as it should be."""

import pytest

from chatbot.distribution import constant, parse
from chatbot.simulate.draw import bits, uniform
from chatbot.simulate.prompts import Prompts, estimate_tokens
from chatbot.simulation import Simulation


def test_given_prompts_are_asked_in_turn() -> None:
    prompts = Prompts(Simulation(out="", prompts=("a", "b", "c")))
    asked = [[prompts.text(session, index) for index in range(4)] for session in range(2)]
    assert asked == [["a", "b", "c", "a"], ["b", "c", "a", "b"]]


@pytest.mark.parametrize("count", [1, 2, 10, 11, 16, 256, 4096, 10_000])
def test_made_up_prompts_have_as_many_words_as_asked_for(count: int) -> None:
    prompts = Prompts(Simulation(out="", prompt_tokens=constant(float(count))))
    for session in range(50):
        assert len(prompts.text(session, 3).split(" ")) == count
    assert Prompts(Simulation(out="", prompt_tokens=constant(0.0))).text(0, 0)


def test_every_turn_begins_otherwise_and_every_run_the_same() -> None:
    one, same, other = (Prompts(Simulation(out="", seed=seed)) for seed in (1, 1, 2))
    turns = [(session, index) for session in range(2000) for index in range(5)]
    asked = [one.text(*turn) for turn in turns]
    assert len({" ".join(text.split()[:10]) for text in asked}) == len(asked)
    assert asked == [same.text(*turn) for turn in turns]
    assert not {other.text(*turn) for turn in turns} & set(asked)


def test_lengths_vary_as_they_are_asked_to() -> None:
    prompts = Prompts(Simulation(out="", prompt_tokens=parse("256±64", unit="")))
    lengths = [len(prompts.text(session, 0).split()) for session in range(3000)]
    mean = sum(lengths) / len(lengths)
    deviation = (sum((length - mean) ** 2 for length in lengths) / len(lengths)) ** 0.5
    assert mean == pytest.approx(256, rel=0.02)
    assert deviation == pytest.approx(64, rel=0.06)


def test_numbers_that_are_drawn_are_spread_evenly() -> None:
    counts = [0] * 16
    for session in range(200):
        for index in range(80):
            counts[int(uniform(7, session, index) * 16)] += 1
    assert all(900 < count < 1100 for count in counts)
    near = {
        bits(seed, session, index)
        for seed in range(20)
        for session in range(20)
        for index in range(20)
    }
    assert len(near) == 8000


@pytest.mark.parametrize(
    ("simulation", "answer", "tokens"),
    [
        (Simulation(out="", sessions=2, turns=1), 32, (32, 64)),
        (Simulation(out="", sessions=1, turns=3), 10, (16 + 42 + 68, 30)),
        (Simulation(out="", requests=48, turns=3), 10, (16 * 126, 480)),
        (Simulation(out="", requests=5, turns=3), 10, (5 * 16, 50)),
        (Simulation(out="", requests=20, turns=3), 10, (16 * 16 + 4 * 42, 200)),
        (
            Simulation(out="", arrival="constant", rate=3.0, duration_s=10.0, turns=3),
            10,
            (1260, 300),
        ),
        (Simulation(out="", sessions=1, turns=1, prompts=("x" * 400,)), 1, (100, 1)),
    ],
)
def test_what_a_run_comes_to_in_tokens(
    simulation: Simulation, answer: int, tokens: tuple[int, int]
) -> None:
    assert estimate_tokens(simulation, answer) == tokens
    assert (
        estimate_tokens(Simulation(out="", prompt_tokens=parse("pareto:1,0.5", unit="")), 1)[0] > 0
    )
