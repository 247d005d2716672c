"""The README's examples for publishing, with the NATS client and curl, work; only addresses and names are replaced."""

import asyncio
import json
import re
import subprocess
import sys
import uuid

import nats as client
import pytest

from partners.catalogue import parse_catalogue
from partners.event_schemas import compile_schema
from recart_hooks.demo.seed import CATALOGUE
from recart_hooks.runner import PROJECT

README = (PROJECT / "README.md").read_text()


def assert_fits_the_catalogue(event_type: str, data: bytes) -> None:
    schemas = {one.name: one.schema for one in parse_catalogue(CATALOGUE.read_bytes(), CATALOGUE.name)}
    compile_schema(schemas[event_type]).check(data)


@pytest.mark.servers
def test_the_snippet_publishes_an_event_that_fits_the_catalogue(nats: str) -> None:
    name = f"README{uuid.uuid4().hex[:8]}"
    snippet = re.findall(r"```python\n(import asyncio.*?)```", README, re.DOTALL)[0]
    for theirs, ours in {"nats://localhost:4222": nats, '"events.': f'"{name}.'}.items():
        assert snippet.count(theirs) == 1
        snippet = snippet.replace(theirs, ours)

    async def test() -> None:
        connection = await client.connect(nats)
        jetstream = connection.jetstream()
        await jetstream.add_stream(name=name, subjects=[f"{name}.>"])
        await asyncio.to_thread(subprocess.run, [sys.executable, "-c", snippet], check=True, timeout=60)
        message = await jetstream.get_msg(name, 1)
        await connection.close()
        assert message.headers is not None
        assert message.subject is not None
        assert message.data is not None
        assert message.headers["Nats-Msg-Id"] == "order-5678901234567-fulfilled"
        assert_fits_the_catalogue(message.subject.removeprefix(f"{name}."), message.data)

    asyncio.run(test())


def test_what_curl_posts_fits_the_catalogue() -> None:
    event = json.loads(re.findall(r"-d '(\{.*?\})'\n", README, re.DOTALL)[0])

    assert_fits_the_catalogue(event["type"], json.dumps(event["data"]).encode())
