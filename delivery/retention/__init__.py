"""Removes old rows, a few thousand at a time, without blocking other work.

    tables   the statements that find and remove old rows of each table
    removal  removes them: short transactions with a pause after each, an archive hook, a limit of time
    places   stores where a run ended in each table, for the next run
    rules    the ages from the settings, and checks of them

Order: attempts, deliveries (finished ones, with their attempts), events (those without deliveries), then roll-ups, dead
letters and operational events. A pending delivery and its event are never removed, whatever their age.
"""
