"""What the store can do, beside a bare SQLite loop of the same run, taken in turns with it.

    __main__.py   the options, and the parts in order
    accept.py     messages accepted, and turns saved, per second; how long accepting takes
    cost.py       processor time per message
    cache.py      an answer from the cache
    search.py     a search over many messages
    start.py      the start with a large database
    memory.py     the memory of the store over very many rows

    peer.py       a real store process, and the other ends of its pipes
    load.py       sessions that keep it busy
    bare.py       SQLite without anything around it: the baseline
    words.py      texts whose words are distributed as in a language
    figures.py    taking turns, and printing

It is a package for the sake of its figures: `spawn` imports the module that was started into every
child, unless it is the `__main__` of a package, and a store must not pay for what it does not use.
"""
