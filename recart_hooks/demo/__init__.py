"""`make demo` and `make smoke`: the whole system on this machine, with a shop that sells and two partners that listen.

shop ─► NATS ─► (the real processes) ─► receiver ─► scoreboard
"""
