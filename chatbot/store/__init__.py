"""The store's room: the only process that opens the database.

    schema.sql    the tables, with what every column means
    text.py*      what SQLite must not see, and the title of a session
    cache.py*     the key of a request, and the cache's memory level
    database.py   the connection's life: open or refuse, transactions
    files.py      the files themselves: whose they are, and whether they are still there
    migrations.py the tables: created, or brought up to date from an older version
    faults.py     every foreign error as one line with its remedy
    checker.py    the check in the background of a database that was not closed in order
    recovery.py   a damaged database is put aside, and a new one begun
    salvage.py    what can be read from it
    queries.py    the SQL of a turn, a function per step
    cached.py     the cache's SQLite level, bounded by age and size
    turns.py      a turn as it is written: what is open, what is a hit
    patience.py   transactions that wait for their turn, and beat
    prices.py     the prices of the settings file
    sessions.py   the SQL about sessions
    snippet.py*   the line around what was searched for
    search.py     any text a person types, in words or in signs
    deletion.py   deleting for good
    replies.py    a query's way to its reply
    process.py    the inbox: group commit, replies after the commit, drain

`*` = pure. Read in this order, or start at `process.py` to follow a message.
"""
