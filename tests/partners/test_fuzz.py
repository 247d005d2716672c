from bench.fuzz_transformations import MAX_GROWTH_MB, MAX_SECONDS, run


def test_random_specifications_and_events_give_a_body_or_a_documented_error() -> None:
    """A short run; `python -m bench.fuzz_transformations --runs 1000000` is the long one."""
    result = run(seed=20_261_123, first=0, count=3_000)
    assert result.failures == []
    assert result.slowest[0] < MAX_SECONDS
    assert result.growth_mb < MAX_GROWTH_MB
    assert result.endings["transformation: body"] > 300
    assert result.endings["transformation: SpecError"] > 300
    assert result.endings["filter: found"] > 100
