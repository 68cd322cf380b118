"""The map of the room of simulations is true: every file is on it, and what it calls pure is held to that."""

import re
import tomllib
from pathlib import Path

from chatbot import simulate

ROOT = Path(__file__).resolve().parents[2]
LINES = re.findall(r"^    (\w+)\.py +(.+)$", simulate.__doc__ or "", re.MULTILINE)


def pure_modules() -> set[str]:
    """Return the modules of the room that may import nothing that has an effect."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    [contract] = [
        each for each in config["tool"]["importlinter"]["contracts"] if "Pure" in each["name"]
    ]
    names = (name.rpartition(".") for name in contract["source_modules"])
    return {module for package, _, module in names if package == "chatbot.simulate"}


def test_every_file_has_one_line_on_the_map() -> None:
    files = {path.stem for path in Path(simulate.__file__).parent.glob("*.py")} - {"__init__"}
    assert sorted(name for name, _ in LINES) == sorted(files)


def test_what_is_called_pure_is_what_is_held_to_it() -> None:
    assert {name for name, line in LINES if line.endswith("(pure)")} == pure_modules()


def test_architecture_names_all_that_is_not_pure() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    [sentence] = re.findall(r"\*What is pure\.\* All of the room but ([^:]+):", text)
    named = set(re.findall(r"`(\w+)`", sentence))
    assert named == {name for name, _ in LINES} - pure_modules()
