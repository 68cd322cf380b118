"""Markdown as models write it, and worse, for the tests of what draws it."""

from hypothesis import strategies as st

LINES = (
    "",
    "",
    " ",
    "Some words of prose, and more of them.",
    "**bold** and *italic* and `code` and ~~gone~~ [link](http://example.org/a_b)",
    "half **open",
    "half `open",
    "日本語のとても長い文章です。改行される場所はどこでもよい。",
    "emoji 👩‍👩‍👧‍👦 ❤️ ⚠️ 🇩🇪 👍🏽 e\u0301 ✅",
    "# Heading",
    "### Third *one* ###",
    "Title",
    "===",
    "---",
    "***",
    "- item",
    "* item",
    "-",
    "  - nested",
    "    - nested by four",
    "      - nested by six",
    "1. one",
    "1) one",
    "7. seven",
    "   - in a number",
    "  more of the item",
    "    four spaces",
    "\tfrom a tab",
    "```python",
    "```",
    "````",
    "~~~~ text",
    "~~~~",
    "   ```sh",
    "   ```",
    "def f(x):  # comment",
    "    return 'x' * 3",
    '"""',
    "| a | b |",
    "|---|:-:|",
    "| 1 | `x\\|y` | 3 |",
    "a | b",
    "> quote",
    "> - list in a quote",
    "> ```",
    ">",
    "> > twice",
    "\\[",
    "x_1 = \\frac{a}{b}",
    "\\]",
    "$$ e = m c^2 $$",
    "Cost $5 and $x_1$ and \\(y_2\\) 100%",
    "<details>",
    "a<br>b &lt;tag&gt; &#x202E; &#x2028; \\* <b>x</b>",
    "[ref]: http://example.org",
    "[ref]",
    "x" * 50,
    "word " * 30,
    "\x1b[31mred\x07\x9b",
    "- [ ] task",
    "![image](http://example.org/i.png)",
    "end\\",
)

line = st.one_of(st.sampled_from(LINES), st.text(max_size=30))
texts = st.builds(
    lambda lines, ends, last: (
        "".join(each + end for each, end in zip(lines, ends * len(lines), strict=False)) + last
    ),
    st.lists(line, max_size=40),
    st.sampled_from([["\n"], ["\r\n"], ["\n", "\r\n", "\n"]]),
    line,
)


@st.composite
def cut(draw: st.DrawFn, of: st.SearchStrategy[str] = texts) -> tuple[str, list[str]]:
    """Return a text, and the same in parts."""
    text = draw(of)
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=20)))
    return text, [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


# Long enough for every place where a piece is cut
LONG = (
    "word " * 3000 + "\n",
    "x" * 9000 + "\n\n",
    "語" * 5000 + "\n",
    "line of a paragraph\n" * 400 + "\n",
    "```python\n" + "def f():\n    return 1\n\n" * 120 + "```\n",
    "```\n" + "    indented\n" * 400 + "```\n",
    "```\n" + "y " * 9000 + "\nnext\n```\n",
    "| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 100 + "\n",
    "| a | b |\n|---|---|\n| " + "z " * 5000 + "|\n| 1 | 2 |\n\n",
    "- item\n" * 300 + "\n",
    "    " + "code " * 2000 + "\n    more\n\n",
    "\\[\n" + "x\n" * 300 + "\\]\n",
)
long_texts = st.lists(st.one_of(st.sampled_from(LONG), texts), max_size=6).map("".join)
