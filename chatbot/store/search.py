"""Search over all messages: whatever a person types, without an error.

The full-text index finds words, wherever they stand in a text: all of them must be there, the last one
may be the beginning of a word. It cannot find what it does not keep: punctuation (`=>`, `C++`),
and parts of what is written without spaces (Chinese, Japanese, Thai). For these, and where it
finds nothing, the texts themselves are read, the newest first.

Both have a bound on their work; for the second it is half a second. The rank (bm25) of a word that is everywhere would have to be computed
for every message: of 100,000 matches that took 65 ms, of the 1,000 newest 2.4 ms. So the best of
the newest 1,000 are found; who looks for an older one gives one word more.
"""

import re
import time
from collections.abc import Iterator

import msgspec

from chatbot.messages import Search, SearchHit
from chatbot.store import snippet
from chatbot.store.database import Database, Value
from chatbot.store.rows import converted

RANKED = 1000  # matches, the newest ones
READ_FOR_S = 0.5  # 100,000 messages of 700 characters take 0.03 s

_HITS = 500
_PARTS = 32
_PART_CHARACTERS = 200
_PREFIX_CHARACTERS = 3  # a shorter beginning fits too many words: `w` alone took 350 ms
_READ_AT_ONCE = 1000
_WILD = re.compile(r"[%_\\]")  # what LIKE takes for more than itself
# Han, kana, Hangul, Thai, Lao, Khmer, Burmese: scripts in which a run is not a word
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ud7af\uf900-\ufaff]")


class _Query(msgspec.Struct, frozen=True):
    """What was typed: its parts between spaces, and whether the index can know them."""

    parts: tuple[str, ...]

    @property
    def is_for_index(self) -> bool:
        """Whether it is made of words."""
        for part in self.parts:
            words = snippet.words_of(part)
            is_bare = len(words) == 1 and words[0] == part.lower()
            if not words or _UNSPACED.search(part):
                return False
            if not is_bare and max(map(len, words)) < 2:  # C++, a[i]
                return False
        return True

    def expression(self, *, goes_on: bool) -> str:
        """Return the query in the language of FTS5: quoted, so that nothing in it is an operator."""
        quoted = ['"' + part.replace('"', '""') + '"' for part in self.parts]
        return " ".join(quoted) + (" *" if goes_on else "")

    @property
    def can_go_on(self) -> bool:
        """Whether the last word is long enough to be the beginning of others."""
        words = snippet.words_of(self.parts[-1])
        return bool(words) and len(words[-1]) >= _PREFIX_CHARACTERS

    @property
    def has_signs(self) -> bool:
        """Whether there is more in it than words."""
        return not all(part.isalnum() for part in self.parts)

    @property
    def patterns(self) -> tuple[dict[str, Value], str]:
        """Return a pattern of LIKE for each part, and the condition that all of them fit."""
        patterns: dict[str, Value] = {
            f"p{number}": "%" + _WILD.sub(r"\\\g<0>", part) + "%"
            for number, part in enumerate(self.parts)
        }
        return patterns, " AND ".join(f"content LIKE :{name} ESCAPE '\\'" for name in patterns)


def search(database: Database, query: Search) -> tuple[SearchHit, ...]:
    """Return the messages that have all the words, the best first; none for an empty text."""
    limit = max(0, min(query.limit, _HITS))
    parts = tuple(part[:_PART_CHARACTERS] for part in query.text.split()[:_PARTS])
    if not parts or not limit:
        return ()
    typed = _Query(parts)
    ways = [_indexed, _read_through] if typed.is_for_index else [_read_through, _indexed]
    for way in ways:
        found = way(database, typed, limit)
        if found:
            return tuple(_hits(database, found, parts))
    return ()


def _indexed(database: Database, query: _Query, limit: int) -> list[int]:
    """Return the ids of messages with these words; those where the last one goes on come after."""
    found = dict.fromkeys(_ranked(database, query, query.expression(goes_on=False), limit))
    if len(found) < limit and query.can_go_on:
        longer = _ranked(database, query, query.expression(goes_on=True), limit)
        found |= dict.fromkeys(longer)
    return list(found)[:limit]


def _ranked(database: Database, query: _Query, expression: str, limit: int) -> list[int]:
    """Return the best of the newest matches; where there are signs in it, those that have them first."""
    patterns, conditions = query.patterns if query.has_signs else ({}, "1 = 0")
    rows = database.rows(
        f"""
        SELECT found.id FROM (
            SELECT rowid AS id, bm25(messages_fts) AS score FROM messages_fts
            WHERE messages_fts MATCH :expression ORDER BY rowid DESC LIMIT :ranked
        ) AS found JOIN messages ON messages.id = found.id
        WHERE messages.active = 1
        ORDER BY ({conditions}) DESC, found.score, found.id DESC LIMIT :limit
        """,  # noqa: S608 - names made above
        expression=expression,
        ranked=RANKED,
        limit=limit,
        **patterns,
    )
    return [message_id for (message_id,) in rows]


def _read_through(database: Database, query: _Query, limit: int) -> list[int]:
    """Return the ids of the newest messages with these parts, as far back as the time goes."""
    patterns, conditions = query.patterns
    newest = database.one("SELECT coalesce(max(id), 0) FROM messages")
    top = int(newest[0]) if newest else 0
    deadline = time.monotonic() + READ_FOR_S
    found: list[int] = []
    for end in range(top, 0, -_READ_AT_ONCE):
        rows = database.rows(
            "SELECT id FROM messages WHERE id <= :end AND id > :start AND active = 1"  # noqa: S608 - names made above
            f" AND {conditions} ORDER BY id DESC LIMIT :limit",
            end=end,
            start=end - _READ_AT_ONCE,
            limit=limit - len(found),
            **patterns,
        )
        found += [message_id for (message_id,) in rows]
        if len(found) >= limit or time.monotonic() > deadline:
            break
    return found


def _hits(database: Database, ids: list[int], parts: tuple[str, ...]) -> Iterator[SearchHit]:
    for message_id in ids:
        row = database.one(
            "SELECT m.session_id, s.title, m.id, m.role, m.timestamp, m.content"
            " FROM messages AS m JOIN sessions AS s ON s.id = m.session_id WHERE m.id = :id",
            id=message_id,
        )
        if row is not None:
            hit = converted(row, SearchHit)
            line, matches = snippet.cut_out(hit.snippet, parts)
            yield msgspec.structs.replace(hit, snippet=line, matches=matches)
