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

-- What it held: two conversations, an answer from the cache, one that failed and one cut off.

INSERT INTO sessions (id, title, start_time, backend, model) VALUES
    ('session_1751360000_k3x9', 'How do lighthouses work?', 1751360000.25, 'ollama', 'llama3:latest'),
    ('session_1751446400_p07q', 'Überschrift: naïve café', 1751446400.5, 'openai', 'gpt-4o-mini');

INSERT INTO messages (id, session_id, role, content, timestamp, request_id, backend, model, status,
                      system, options, cache_key, finish_reason, reasoning, response_id, input_tokens,
                      output_tokens, usage, first_token_ms, duration_ms, cached, http_status, error,
                      trace_id) VALUES
    (1, 'session_1751360000_k3x9', 'user', 'How do lighthouses work?', 1751360000.25, 'r-1', 'ollama',
     'llama3:latest', 'complete', 'be brief', '{"temperature":0.2}',
     '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08', NULL, NULL, NULL, NULL, NULL,
     NULL, NULL, NULL, 0, NULL, NULL, '0af7651916cd43dd8448eb211c80319c'),
    (2, 'session_1751360000_k3x9', 'assistant', 'A lamp, and a Fresnel lens around it.', 1751360003.5,
     'r-1', 'ollama', 'llama3:latest', 'complete', NULL, NULL, NULL, 'stop', 'They want it short.',
     'chatcmpl-1', 21, 12, '{"completion_tokens":12,"prompt_tokens":21}', 180.5, 2950.25, 0, NULL, NULL,
     '0af7651916cd43dd8448eb211c80319c'),
    (3, 'session_1751446400_p07q', 'user', 'How do lighthouses work?', 1751446400.5, 'r-2', 'openai',
     'gpt-4o-mini', 'complete', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0,
     NULL, NULL, NULL),
    (4, 'session_1751446400_p07q', 'assistant', '', 1751446401.0, 'r-2', 'openai', 'gpt-4o-mini',
     'failed', NULL, NULL, NULL, 'auth', NULL, NULL, NULL, NULL, NULL, NULL, 210.0, 0, 401,
     'OpenAI refused the key', NULL),
    -- 5 was deleted by hand
    (6, 'session_1751360000_k3x9', 'user', 'Und auf Deutsch? Naïve Grüße', 1751360100.0, 'r-3', 'ollama',
     'llama3:latest', 'complete', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0,
     NULL, NULL, NULL),
    (7, 'session_1751360000_k3x9', 'assistant', 'Eine Lampe in einer', 1751360101.0, 'r-3', 'ollama',
     'llama3:latest', 'interrupted', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
     0, NULL, NULL, NULL);

INSERT INTO cache (key, completion, backend, model, created_at) VALUES
    ('9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
     '["A lamp, and a Fresnel lens around it.","llama3:latest","stop"]', 'ollama', 'llama3:latest',
     1751360003.5);
