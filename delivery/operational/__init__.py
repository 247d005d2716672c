"""Operational events: notices to partners and staff about trouble with deliveries.

    kinds     the catalogue: names, titles, samples
    failing   finds subscriptions whose attempts all fail for days: sends notices, then disables them
    trouble   finds disabled subscriptions, opened breakers, dead deliveries, backlogs behind a rate limit
    notify    stores an operational event once, and delivers it to the partner's operational URL like any other event
    mail      sends operational events by e-mail, several in one message

All of this runs in maintenance tasks and costs attempts nothing. There is not one event for each failure: every kind
has a threshold, and a quiet time in which it is not repeated.
"""
