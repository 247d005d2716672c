"""What partners and staff are told about their deliveries: operational events.

    kinds     the catalogue: names, words, samples
    failing   nothing but failures for days: notices on the way, then the subscription is disabled
    trouble   disabled subscriptions, opened breakers, dead deliveries, queues that only grow
    notify    stores an operational event once, and delivers it to the partner's operational URL like any other event
    mail      the same by e-mail, several in one

All of it runs in maintenance tasks and reads roll-ups, so that it costs an attempt nothing. There is not one event per
delivery: every kind has its threshold, and is quiet for a while after it has spoken.
"""
