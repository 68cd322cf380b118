"""A long answer that comes fast: what stands in the terminal's scrollback is what one rendering of all of it is."""

import itertools
import random
import sys
from collections.abc import Callable

import pytest

from tests.system.llm import Llm

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

from chatbot.ui.console.answer import LEAD
from chatbot.ui.lines import plain
from chatbot.ui.markdown.stream import rendered
from tests.system.screen import ChatScreen

LINES = 1_200
LAST = "This is the last line of it."
SEED = 20_261_122
_WORDS = (
    *("quiet river", "**bold lantern**", "`code`", "*garden*", "日本語の文章", "[letter](http://x.org)", "—"),
    *("café", "snake_case", "3 * 4", "$x_1$", "patient", "window", "~~market~~", "ünïcödé", "half **open"),
)  # fmt: skip


def long_text(chance: random.Random) -> str:
    """Return about so many lines of Markdown of every kind: each is another width, some are several rows."""
    lines: list[str] = []

    def some(most: int) -> str:
        return " ".join(chance.choices(_WORDS, k=chance.randint(1, most)))

    kinds: tuple[Callable[[], list[str]], ...] = (
        lambda: [f"{'#' * chance.randint(1, 4)} {some(4)}"],
        lambda: [some(30) for _ in range(chance.randint(1, 6))],
        lambda: [f"{' ' * 2 * n}- {some(20)}" for n in range(3)],
        lambda: [f"{n}. {some(12)}" for n in range(8, 12)],
        lambda: ["```python", *(f"{'    ' * (n % 3)}x{n} = '{some(5)}'" for n in range(9)), "", "```"],
        lambda: ["| a | b | c |", "|---|:-:|--:|", *(f"| {some(3)} | {n} | {some(9)} |" for n in range(5))],
        lambda: [f"> {some(15)}", f"> - {some(5)}", ">", f"> {some(15)}"],
        lambda: ["---"],
        lambda: ["x" * chance.randint(80, 400)],
        lambda: ["$$", "x_1 = \\frac{a}{b}", "$$"],
    )  # fmt: skip
    while len(lines) < LINES:
        lines += [*chance.choice(kinds)(), ""]
    return "\n".join([*lines, LAST])


def cut(text: str, chance: random.Random) -> list[str]:
    """Return the text in pieces, cut anywhere."""
    places = [0, *sorted(chance.sample(range(1, len(text)), len(text) // 12)), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(places)]


@pytest.mark.parametrize("columns", [60, 100])
def test_the_scrollback_is_what_a_rendering_of_the_whole_is(
    columns: int, open_chat: Callable[..., ChatScreen], llm: Llm
) -> None:
    print(f"seed {SEED}")  # noqa: T201 - shown with a failure
    chance = random.Random(SEED)
    text = long_text(chance)
    llm.will(*cut(text, chance))
    arguments = ("--backend", "openai", "--model", "m-1", "--no-cache")
    chat = open_chat(*arguments, columns=columns, rows=30, **llm.environment)
    chat.at_prompt()
    chat.enter("all of it")
    chat.until_true(lambda: LAST in chat.lines)
    chat.at_prompt("m-1 · ")
    chat.press("ctrl-d")
    assert chat.ends() == 0
    shown = chat.everything
    begin = shown.index("You: all of it") + 1
    wanted = [plain(line).rstrip() for line in rendered(text, columns, LEAD)]
    assert shown[begin : begin + len(wanted)] == wanted
    below = shown[begin + len(wanted) :]
    assert below[0].startswith("m-1 · ")
    assert below[-1] == "Goodbye!"
