-- From version 1 to version 2; schema.sql, which runs next, creates all that is merely new.

ALTER TABLE messages ADD COLUMN
    active          INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1));

-- What the key is the hash of has changed: nothing in the cache could ever be found again.
DROP TABLE IF EXISTS cache;

-- Somebody's own search index, as tools make it: what is left of it would stand in the way of ours.
DROP TABLE IF EXISTS messages_fts;

CREATE VIRTUAL TABLE messages_fts USING fts5 (
    content, content="messages", content_rowid="id", tokenize='unicode61 remove_diacritics 2'
);

INSERT INTO messages_fts (messages_fts) VALUES ('rebuild');
