"""Metrics for Prometheus, served by each process at its own port (`server`) and by the web at `/metrics` (`shared`).

    attempts   counts and latencies by partner, updated when attempts are recorded (worker)
    labels     decides which partners have a label of their own
    process    batches, errors, maintenance: metrics of any process
    intake     the bridge's counts and the source's lag
    shared     queues, breakers, subscriptions: the state that all processes share, read at each scrape

Names start with `recart_hooks_`, units are base units (seconds), counters end in `_total`. The number of different
label values is bounded.
"""
