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
CREATE INDEX IF NOT EXISTS messages_taken_out ON messages (session_id) WHERE active = 0;
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

-- Full-text search. The index keeps no copy of the texts; triggers keep it in step with them. New
-- texts only wait in `_unindexed`: a trigger that wrote to the index would make it begin a new segment
-- for every row (measured: 42 µs a row, against 20), so database.py indexes them before each commit.
-- Another program's INSERT OR REPLACE fires no trigger for the row that it takes away, unless that
-- program has set PRAGMA recursive_triggers: the words of that row stay in the index until
-- INSERT INTO messages_fts (messages_fts) VALUES ('rebuild'). chatbot itself never replaces a row.
CREATE VIRTUAL TABLE IF NOT EXISTS messages_fts USING fts5 (
    content, content="messages", content_rowid="id", tokenize='unicode61 remove_diacritics 2'
);

CREATE TABLE IF NOT EXISTS _unindexed (id INTEGER PRIMARY KEY);

CREATE TRIGGER IF NOT EXISTS messages_fts_insert AFTER INSERT ON messages BEGIN
    INSERT INTO _unindexed (id) VALUES (new.id);
END;

CREATE TRIGGER IF NOT EXISTS messages_fts_delete AFTER DELETE ON messages BEGIN
    INSERT INTO messages_fts (messages_fts, rowid, content)
        SELECT 'delete', old.id, old.content WHERE old.id NOT IN (SELECT id FROM _unindexed);
    DELETE FROM _unindexed WHERE id = old.id;
END;

CREATE TRIGGER IF NOT EXISTS messages_fts_update AFTER UPDATE OF id, content ON messages BEGIN
    INSERT INTO messages_fts (messages_fts, rowid, content)
        SELECT 'delete', old.id, old.content WHERE old.id NOT IN (SELECT id FROM _unindexed);
    DELETE FROM _unindexed WHERE id = old.id;
    INSERT INTO _unindexed (id) VALUES (new.id);
END;

-- The conversations as they stand, to be read or browsed.
CREATE VIEW IF NOT EXISTS conversation AS
SELECT s.id AS session_id, s.title, m.id AS message_id,
       strftime('%Y-%m-%d %H:%M:%S', m.timestamp, 'unixepoch') AS time_utc,
       m.role, m.content, m.status, m.backend, m.model, m.cached, m.error, m.trace_id
FROM messages AS m JOIN sessions AS s ON s.id = m.session_id
WHERE m.active
ORDER BY m.id;

-- What each model did, undone answers included: latency and tokens of the answers that it generated
-- itself; from the cache they are free. `tokens_unknown` counts those that may have used tokens which
-- nobody reported (interrupted ones, and some that failed): the cost is that of the reported ones. It is
-- NULL without a price, and where no tokens were reported at all.
CREATE VIEW IF NOT EXISTS model_usage AS
WITH answers AS (
    SELECT q.backend, q.model, a.status, a.cached,
           NOT a.cached AND a.status = 'complete' AND a.duration_ms IS NOT NULL AS timed,
           CASE WHEN NOT a.cached THEN a.first_token_ms END AS first_token_ms,
           a.duration_ms,
           CASE WHEN NOT a.cached THEN a.input_tokens END AS input_tokens,
           CASE WHEN NOT a.cached THEN a.output_tokens END AS output_tokens,
           NOT a.cached AND (a.input_tokens IS NULL OR a.output_tokens IS NULL)
           AND NOT (a.status = 'failed' AND a.content = '' AND a.finish_reason IN (
               'auth', 'bad_request', 'busy', 'model_not_found', 'not_found', 'poison',
               'rate_limited', 'unreachable')) AS tokens_unknown
    FROM messages AS a JOIN messages AS q ON q.request_id = a.request_id AND q.role = 'user'
    WHERE a.role = 'assistant'
), placed AS (
    SELECT *, row_number() OVER (same ORDER BY duration_ms) AS place, count(*) OVER same AS places
    FROM answers
    WINDOW same AS (PARTITION BY backend, model, timed)
)
SELECT placed.backend, placed.model,
       count(*) AS answers,
       sum(status = 'failed') AS failed,
       sum(status = 'interrupted') AS interrupted,
       sum(cached) AS from_cache,
       avg(first_token_ms) AS first_token_ms_mean,
       avg(CASE WHEN timed THEN duration_ms END) AS duration_ms_mean,
       avg(CASE WHEN timed AND place IN ((places + 1) / 2, (places + 2) / 2)
           THEN duration_ms END) AS duration_ms_median,
       sum(input_tokens) AS input_tokens,
       sum(output_tokens) AS output_tokens,
       sum(tokens_unknown) AS tokens_unknown,
       sum(CASE WHEN timed THEN output_tokens END) * 1000.0
           / nullif(sum(CASE WHEN timed AND output_tokens IS NOT NULL THEN duration_ms END), 0)
           AS output_tokens_per_s,
       CASE WHEN NOT sum(tokens_unknown) OR count(input_tokens) OR count(output_tokens)
           THEN (total(input_tokens) * p.input + total(output_tokens) * p.output) / 1e6
       END AS cost
FROM placed LEFT JOIN prices AS p ON p.backend = placed.backend AND p.model = placed.model
GROUP BY placed.backend, placed.model;

PRAGMA application_id = 1667785076;         -- 'chat' in ASCII: this file is ours
PRAGMA user_version = 2;

INSERT INTO sessions VALUES ('session_1761000000_p2q4', 'How do tides work?', 1761000000.5, 'anthropic', 'claude-sonnet-4-20250514');
INSERT INTO sessions VALUES ('session_1761000100_m7w1', 'Name a prime', 1761000100.0, 'sim', 'sim');

INSERT INTO messages (id, session_id, role, content, timestamp, request_id, backend, model, status, system, options, cache_key, finish_reason, reasoning, response_id, input_tokens, output_tokens, usage, first_token_ms, duration_ms, cached, http_status, error, trace_id, active) VALUES
 (1, 'session_1761000000_p2q4', 'user', 'How do tides work?', 1761000000.5, 'r-2-1', 'anthropic', 'claude-sonnet-4-20250514', 'complete', 'be brief', '{"max_tokens":200}', 'k1', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, '0af7651916cd43dd8448eb211c80319c', 1),
 (2, 'session_1761000000_p2q4', 'assistant', 'The moon pulls the near side more than the far side.', 1761000002.0, 'r-2-1', 'anthropic', 'claude-sonnet-4-20250514', 'complete', NULL, NULL, NULL, 'end_turn', 'gravity', 'msg_1', 14, 12, '{"cache_read_input_tokens":10,"input_tokens":4,"output_tokens":12}', 250.0, 1500.0, 0, NULL, NULL, '0af7651916cd43dd8448eb211c80319c', 1),
 (3, 'session_1761000000_p2q4', 'user', 'And the sun?', 1761000010.0, 'r-2-2', 'anthropic', 'claude-sonnet-4-20250514', 'complete', 'be brief', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, 0),
 (4, 'session_1761000000_p2q4', 'assistant', 'Half as much: spring tides', 1761000011.0, 'r-2-2', 'anthropic', 'claude-sonnet-4-20250514', 'interrupted', NULL, NULL, NULL, 'cancelled', NULL, NULL, NULL, NULL, NULL, 200.0, 700.0, 0, NULL, NULL, NULL, 0),
 (5, 'session_1761000100_m7w1', 'user', 'Name a prime', 1761000100.0, 'r-2-3', 'sim', 'sim', 'complete', NULL, NULL, 'k2', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, 1),
 (6, 'session_1761000100_m7w1', 'assistant', '', 1761000101.0, 'r-2-3', 'sim', 'sim', 'failed', NULL, NULL, NULL, 'timeout', NULL, NULL, NULL, NULL, NULL, NULL, 1000.0, 0, 504, 'too slow', NULL, 1);

INSERT INTO messages_fts (rowid, content) SELECT id, content FROM _unindexed CROSS JOIN messages USING (id);
DELETE FROM _unindexed;

INSERT INTO cache VALUES ('k1', '["The moon pulls the near side more than the far side.","claude-sonnet-4-20250514","end_turn","gravity","msg_1",{},14,12]', 'anthropic', 'claude-sonnet-4-20250514', 1761000002.0, 120, '');

INSERT INTO prices VALUES ('anthropic', 'claude-sonnet-4-20250514', 3.0, 15.0);
