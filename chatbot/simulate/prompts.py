"""What the simulated sessions say, and how much that comes to in tokens. Pure.

Made-up prompts begin with words that are chosen one by one, for every turn anew: no two of them begin alike, so that
no server's prefix cache makes one faster than it would be for a person.
"""

from chatbot.simulate.draw import bits
from chatbot.simulation import Simulation

_MOST_WORDS = 100_000
_CHARACTERS_PER_TOKEN = 4  # what tokenizers come to in English; only for estimates

_ANSWER_S = 1.0

# 64 of them, short enough to be a token each in most vocabularies.
_LINES = (
    "apple boat candle door engine field glass house iron jacket kitchen lamp mirror needle ocean paper",
    "queen road silver table under valley water yellow after below cloud dinner early forest garden hill",
    "island journey kettle ladder music north orange pencil quick rain salt tower uncle violin winter young",
    "above bread copper dance east flower green horse inside jump king letter moon night open planet",
)
_WORDS = tuple(" ".join(_LINES).split())
_BITS = 6  # that choose a word
_CHOSEN = 60 // _BITS  # words that are chosen one by one
# Behind these comes a slice of the words over and over, which costs the same for any length up to a block.
_BLOCK = 4096
_TEXT = " ".join(_WORDS * (_BLOCK // len(_WORDS) + 1))


def _offsets() -> list[int]:
    offsets = [0]
    for word in _TEXT.split(" "):
        offsets.append(offsets[-1] + len(word) + 1)
    return offsets


_OFFSETS = _offsets()  # where each word of the text begins


class Prompts:
    """The prompts of a run: the given ones in turn, else made-up words."""

    def __init__(self, simulation: Simulation) -> None:
        self._given = simulation.prompts
        self._tokens = simulation.prompt_tokens
        self._seed = simulation.seed

    def text(self, session: int, index: int) -> str:
        """Return what a session says in one of its turns: always the same."""
        if self._given:
            return self._given[(session + index) % len(self._given)]
        number = bits(self._seed, session, index)
        wanted = self._tokens.at((number >> 11) * 2.0**-53)
        return _made_up(number, min(max(round(wanted), 1), _MOST_WORDS))


def _made_up(number: int, count: int) -> str:
    last = len(_WORDS) - 1
    chosen = min(count, _CHOSEN)
    words = [_WORDS[number >> shift & last] for shift in range(0, chosen * _BITS, _BITS)]
    count -= chosen
    while count > 0:
        first, taken = number & last, min(count, _BLOCK)
        words.append(_TEXT[_OFFSETS[first] : _OFFSETS[first + taken] - 1])
        count -= taken
    return " ".join(words)


def estimate_tokens(
    simulation: Simulation, answer_tokens: float, system: str = ""
) -> tuple[int, int]:
    """Return the tokens of a whole run: what goes in, with the history that grows, and what comes out.

    An estimate from the means: a token is taken for four characters of a given prompt. The sessions of a closed load are
    taken to be in step; those of an open one that are cut off by the end as whole, so that it is rather too much.
    """
    turns = turns_of(simulation)
    if simulation.prompts:
        characters = sum(map(len, simulation.prompts)) / len(simulation.prompts)
        prompt = max(characters / _CHARACTERS_PER_TOKEN, 1)
    else:
        prompt = min(max(simulation.prompt_tokens.mean, 1), _MOST_WORDS)
    # The turn with index i is asked behind i questions and i answers.
    before = _mean_index(simulation, turns)
    each = len(system) / _CHARACTERS_PER_TOKEN + prompt + before * (prompt + answer_tokens)
    return round(turns * each), round(turns * answer_tokens)


def _mean_index(simulation: Simulation, turns: int) -> float:
    """Return the mean index of so many turns in their sessions."""
    sessions, each = simulation.sessions, simulation.turns
    if simulation.is_open or turns <= 0:
        return (each - 1) / 2
    whole, rest = divmod(turns, sessions * each)
    rounds, more = divmod(rest, sessions)  # of the sessions that are not over at the end
    indices = whole * sessions * each * (each - 1) // 2 + sessions * rounds * (rounds - 1) // 2
    return (indices + more * rounds) / turns


def turns_of(simulation: Simulation) -> int:
    """Return how many turns a run will ask; of a closed load with a duration, if an answer takes a second."""
    load_s = (
        simulation.ramp_s / 2 + simulation.warmup_s
    )  # at the full rate, but for the measured part
    if simulation.is_open:
        rate = simulation.rate
    elif simulation.requests or simulation.duration_s:
        rate = simulation.sessions / (_ANSWER_S + simulation.think.mean)
    else:
        return simulation.sessions * simulation.turns
    return round(rate * load_s) + (simulation.requests or round(rate * simulation.duration_s))
