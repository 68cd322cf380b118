-- From version 2 to version 3; schema.sql, which runs next, creates all that is merely new.

ALTER TABLE messages ADD COLUMN
    fan             TEXT;

-- A database that was of version 1 a moment ago has no such table yet.
CREATE TABLE IF NOT EXISTS prices (
    backend     TEXT NOT NULL,
    model       TEXT NOT NULL,
    input       REAL NOT NULL,
    output      REAL NOT NULL,
    PRIMARY KEY (backend, model)
);

ALTER TABLE prices ADD COLUMN
    cached_input    REAL;

-- It counts the input that a server had in a cache of its own by another price now.
DROP VIEW IF EXISTS model_usage;
