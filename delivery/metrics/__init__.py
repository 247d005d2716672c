"""What Prometheus reads, at each process' own port (`server`) and at the web's `/metrics` (`shared`).

    attempts   counts and latencies by partner, added up while attempts are recorded (worker)
    labels     which partners have a label of their own
    process    batches, errors, maintenance: what any process may count
    intake     the bridge's counts and the source's lag
    shared     queues, breakers, subscriptions: the state that all processes share, asked for when read

Names: `recart_hooks_…`, base units (seconds), counters end in `_total`. No label comes from outside without a bound.
"""
