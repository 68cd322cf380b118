-- The database of chatbot, version 1. Times are Unix seconds, durations milliseconds.
-- Every statement may run again: two instances can create the same database at once.

CREATE TABLE IF NOT EXISTS sessions (
    id          TEXT PRIMARY KEY,           -- session_<unix seconds>_<suffix>
    title       TEXT NOT NULL,              -- from the first message, one line
    start_time  REAL NOT NULL,
    backend     TEXT NOT NULL,              -- what it was last asked with
    model       TEXT NOT NULL
);

-- A turn is two rows with one request_id: the user's message, then the assistant's.
CREATE TABLE IF NOT EXISTS messages (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order of a conversation
    session_id      TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    role            TEXT NOT NULL CHECK (role IN ('user', 'assistant', 'system')),
    content         TEXT NOT NULL,
    timestamp       REAL NOT NULL,          -- user: accepted; assistant: first seen, then finished
    request_id      TEXT NOT NULL,
    backend         TEXT NOT NULL,
    model           TEXT NOT NULL,          -- user: as asked for; assistant: as the server named it
    status          TEXT NOT NULL CHECK (status IN ('complete', 'interrupted', 'failed')),

    -- of a user's message: the rest of what was asked
    system          TEXT,
    options         TEXT,                   -- JSON object
    cache_key       TEXT,                   -- where its answer is cached; NULL with --no-cache

    -- of an answer
    finish_reason   TEXT,                   -- NULL while it may still go on; the server's word,
                                            -- the kind of failure, 'cancelled' or 'interrupted'
    reasoning       TEXT,
    response_id     TEXT,                   -- the server's own
    input_tokens    INTEGER,                -- NULL: not reported, or nothing used (cached)
    output_tokens   INTEGER,
    usage           TEXT,                   -- JSON object, every integer by its dotted path
    first_token_ms  REAL,
    duration_ms     REAL,
    cached          INTEGER NOT NULL DEFAULT 0 CHECK (cached IN (0, 1)),
    http_status     INTEGER,
    error           TEXT,                   -- one line

    trace_id        TEXT,                   -- 32 hex digits; the whole turn has one

    UNIQUE (request_id, role)               -- accepting and finishing twice changes nothing
);

CREATE INDEX IF NOT EXISTS messages_by_session ON messages (session_id, id);
CREATE INDEX IF NOT EXISTS messages_by_trace ON messages (trace_id) WHERE trace_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS sessions_by_time ON sessions (start_time);

CREATE TABLE IF NOT EXISTS cache (
    key         TEXT PRIMARY KEY,           -- hex SHA-256 of the whole request
    completion  TEXT NOT NULL,              -- JSON array: the fields of Completion, the text first
    backend     TEXT NOT NULL,
    model       TEXT NOT NULL,
    created_at  REAL NOT NULL
);

PRAGMA application_id = 1667785076;         -- 'chat' in ASCII: this file is ours
PRAGMA user_version = 1;
