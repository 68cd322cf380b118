"""The blocks of code in an answer, as they are copied."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatbot.ui.markdown.code import CodeBlock, blocks


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no code", []),
        ("```python\nx = 1\n\ny\n```\nand\n~~~\nz\n~~~", [("python", "x = 1\n\ny"), ("", "z")]),
        ("- a\n  ```sh\n  ls\n    -l\n  ```\n", [("sh", "ls\n  -l")]),
        ("1. a\n   - b\n\n     ```c\n     int\n     ```", [("c", "int")]),
        ("> ```\n> x\n", [("", "x")]),
        ("```py title=x\n1", [("py", "1")]),
        ("```{.Rust}\n1\n```", [("rust", "1")]),
        ("````md\n```\nx\n```\n````", [("md", "```\nx\n```")]),
        ("```\r\na\r\nb\r\n```\r\n", [("", "a\nb")]),
        ("```make\nall:\n\techo\n```", [("make", "all:\n\techo")]),
        ("- ```\n\tx\n\t\ty\n  ```", [("", "  x\n  \ty")]),
        ("```\n```", [("", "")]),
        ("    only indented\n", []),
    ],
)
def test_a_text_has_these_blocks(text: str, expected: list[tuple[str, str]]) -> None:
    assert blocks(text) == [CodeBlock(*each) for each in expected]


code = st.lists(
    st.text(
        st.characters(exclude_categories=["C", "Zl", "Zp"], exclude_characters="`"), max_size=60
    )
).map("\n".join)


@given(code)
def test_code_is_what_was_written(text: str) -> None:
    assert blocks(f"```\n{text}\n```") == [CodeBlock("", text)]


def test_long_code_and_long_lines_are_whole() -> None:
    text = "\n".join(["def f():", "    return 1", "", "x " * 9000, "y" * 9000] * 60)
    assert blocks(f"Look:\n```\n{text}\n```\n") == [CodeBlock("", text)]


def test_no_code_can_drive_the_terminal_it_is_pasted_into() -> None:
    assert blocks("```\nls\x1b[201~\r\n```") == [CodeBlock("", "ls␛[201~")]
