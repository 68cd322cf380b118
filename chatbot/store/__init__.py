"""The store's room: the only process that opens the database.

    schema.sql    the tables, with what every column means
    text.py*      what SQLite must not see, and the title of a session
    cache.py*     the key of a request, and the cache's memory level
    database.py   the connection's life: open or refuse, transactions
    faults.py     every foreign error as one line with its remedy
    queries.py    the SQL, a function per question
    process.py    the inbox: group commit, replies after the commit, drain

`*` = pure. Read in this order, or start at `process.py` to follow a message.
"""
