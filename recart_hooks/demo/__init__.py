"""`make demo` and `make smoke`: the whole system on this machine, with a demo shop and two partners.

shop ─► NATS ─► (the real processes) ─► receiver ─► scoreboard
"""
