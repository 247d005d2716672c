from collections.abc import Callable

import pytest

from partners.compiled import CompiledCache


def noting(seen: list[str]) -> Callable[[str], str]:
    def compile_(text: str) -> str:
        seen.append(text)
        return text.upper()

    return compile_


def test_a_text_is_compiled_once() -> None:
    seen: list[str] = []
    cache = CompiledCache(noting(seen))
    assert [cache.get("abc"), cache.get("abc"), cache.get("de")] == ["ABC", "ABC", "DE"]
    assert seen == ["abc", "de"]


def test_the_texts_that_were_used_longest_ago_make_room() -> None:
    seen: list[str] = []
    cache = CompiledCache(noting(seen), max_chars=10)
    for text in ("aaaa", "bbbb", "aaaa", "cccc"):
        cache.get(text)
    assert len(cache) == 2
    cache.get("aaaa")
    cache.get("bbbb")
    assert seen == ["aaaa", "bbbb", "cccc", "bbbb"]


def test_a_text_that_does_not_compile_is_not_remembered() -> None:
    cache: CompiledCache[int] = CompiledCache(int)
    for _ in range(2):
        with pytest.raises(ValueError, match="invalid literal"):
            cache.get("x")
    assert len(cache) == 0


def test_two_threads_that_compile_the_same_text_count_it_once() -> None:
    busy: list[bool] = []

    def compile_while_another_did(text: str) -> str:
        if not busy:
            busy.append(True)
            cache.get(text)  # the other thread came first
        return text

    cache: CompiledCache[str] = CompiledCache(compile_while_another_did, max_chars=8)
    cache.get("aaaa")
    cache.get("bbbb")
    assert len(cache) == 2
