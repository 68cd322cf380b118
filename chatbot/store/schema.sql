-- The database of chatbot, version 2. Times are Unix seconds, durations milliseconds.
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

    active          INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1)),
                                            -- 0: undone, or replaced by a later turn

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
    created_at  REAL NOT NULL,
    size        INTEGER NOT NULL,           -- bytes of `completion`
    traceparent TEXT NOT NULL DEFAULT ''    -- the span of the call that generated it
);

CREATE INDEX IF NOT EXISTS cache_by_age ON cache (created_at, size);

-- What a million tokens cost, in any one currency. It is empty: fill in what you pay.
CREATE TABLE IF NOT EXISTS prices (
    backend     TEXT NOT NULL,
    model       TEXT NOT NULL,
    input       REAL NOT NULL,
    output      REAL NOT NULL,
    PRIMARY KEY (backend, model)
);

-- Full-text search. The index has no copy of the texts; triggers keep it up to date.
CREATE VIRTUAL TABLE IF NOT EXISTS messages_fts USING fts5 (
    content, content = 'messages', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2'
);

CREATE TRIGGER IF NOT EXISTS messages_fts_insert AFTER INSERT ON messages BEGIN
    INSERT INTO messages_fts (rowid, content) VALUES (new.id, new.content);
END;

CREATE TRIGGER IF NOT EXISTS messages_fts_delete AFTER DELETE ON messages BEGIN
    INSERT INTO messages_fts (messages_fts, rowid, content) VALUES ('delete', old.id, old.content);
END;

CREATE TRIGGER IF NOT EXISTS messages_fts_update AFTER UPDATE OF content ON messages BEGIN
    INSERT INTO messages_fts (messages_fts, rowid, content) VALUES ('delete', old.id, old.content);
    INSERT INTO messages_fts (rowid, content) VALUES (new.id, new.content);
END;

-- The conversations as they stand, to be read or browsed.
CREATE VIEW IF NOT EXISTS conversation AS
SELECT s.id AS session_id, s.title, m.id AS message_id,
       strftime('%Y-%m-%d %H:%M:%S', m.timestamp, 'unixepoch') AS time_utc,
       m.role, m.content, m.status, m.backend, m.model, m.cached, m.error, m.trace_id
FROM messages AS m JOIN sessions AS s ON s.id = m.session_id
WHERE m.active
ORDER BY m.id;

-- What each model did: latency and tokens of the answers that it generated itself. A cost is NULL
-- where the price, or the tokens of an answer, are not known.
CREATE VIEW IF NOT EXISTS model_usage AS
WITH answers AS (
    SELECT q.backend, q.model, a.status, a.cached, a.input_tokens, a.output_tokens,
           a.first_token_ms, a.duration_ms,
           row_number() OVER (PARTITION BY q.backend, q.model, a.cached, a.status
                              ORDER BY a.duration_ms) AS place,
           count(*) OVER (PARTITION BY q.backend, q.model, a.cached, a.status) AS places
    FROM messages AS a JOIN messages AS q ON q.request_id = a.request_id AND q.role = 'user'
    WHERE a.role = 'assistant'
)
SELECT answers.backend, answers.model,
       count(*) AS answers,
       total(status = 'failed') AS failed,
       total(status = 'interrupted') AS interrupted,
       total(cached) AS from_cache,
       avg(CASE WHEN NOT cached THEN first_token_ms END) AS first_token_ms_mean,
       avg(CASE WHEN NOT cached AND status = 'complete' THEN duration_ms END) AS duration_ms_mean,
       max(CASE WHEN NOT cached AND status = 'complete' AND place = (places + 1) / 2
           THEN duration_ms END) AS duration_ms_median,
       sum(input_tokens) AS input_tokens,
       sum(output_tokens) AS output_tokens,
       sum(output_tokens) * 1000.0 / nullif(sum(CASE WHEN output_tokens IS NOT NULL
           THEN duration_ms END), 0) AS output_tokens_per_s,
       (sum(input_tokens) * p.input + sum(output_tokens) * p.output) / 1e6 AS cost
FROM answers LEFT JOIN prices AS p ON p.backend = answers.backend AND p.model = answers.model
GROUP BY answers.backend, answers.model;

PRAGMA application_id = 1667785076;         -- 'chat' in ASCII: this file is ours
PRAGMA user_version = 2;
