"""The program under kills: a load in the terminal's seat, a killer outside, a judge over what is left.

    scenario.py      what a run is to be: its load, its points, its mutation; the one file that all read
    journal.py       the one record of a run, which every process appends to and no kill can take away
    run.py           the real supervisor, with the plan and the dispatcher watched from outside
    driver.py        in the UI's seat: asks, and writes down what it asked and what it was told
    arms.py          a SIGKILL at a named point, once
    armed_store.py   the store with points in it, and with its rules taken out one at a time
    armed_worker.py  the worker, likewise
    armed_server.py  the simulated server, which writes down what it got before it answers
    stage.py         the test's side: starts, kills, starts again, and gathers the evidence
    judge.py         evidence → violations: pure

Nothing of this is known to the product: the rooms are replaced in the plan, and functions are
patched in the processes of a run.
"""
