"""Removes what is older than its age, a few thousand rows at a time, without holding up anything else.

    tables   what is old in each table, by the indexes that are there anyway
    removal  short transactions with a pause after each, an archive hook, a limit of time
    places   where a run came to in each table, for the next one

Order: attempts, deliveries (finished ones, with their attempts), events (those without deliveries), then roll-ups, dead
letters and operational events. A pending delivery is never removed, whatever its age, and so neither is its event.
"""
