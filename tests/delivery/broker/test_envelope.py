import base64
import json

import pytest
from celery import Celery
from celery.app.task import Context

from delivery.broker import FairMessage, FairQueues, InvalidMessage
from delivery.broker.envelope import encode

MESSAGE = FairMessage("partner.a", "dlv_1:2", "shop.deliver", ("dlv_1", 2), {"fast": True}, argsrepr="dlv_1 attempt 2")


def test_a_message_is_a_celery_task_of_protocol_2() -> None:
    envelope = json.loads(encode(MESSAGE))
    celery = Celery("other").amqp.as_task_v2("dlv_1:2", "shop.deliver", ("dlv_1", 2), {"fast": True})
    args, kwargs, embed = json.loads(base64.b64decode(envelope["body"]))
    assert (args, kwargs) == (["dlv_1", 2], {"fast": True})
    assert embed == celery.body[2]
    assert envelope["headers"].items() >= {"task": "shop.deliver", "id": "dlv_1:2", "root_id": "dlv_1:2"}.items()
    assert envelope["headers"]["argsrepr"] == "dlv_1 attempt 2"
    assert set(envelope["headers"]) <= {*celery.headers, "headers"}, "no header that Celery does not know"
    assert envelope["properties"]["delivery_tag"] == "dlv_1:2"
    assert envelope["properties"]["delivery_info"] == {"exchange": "", "routing_key": "partner.a"}


def test_a_message_keeps_its_own_headers() -> None:
    message = FairMessage("partner.a", "1", "task", headers={"expires": "2030-01-01T00:00:00Z"})
    headers = json.loads(encode(message))["headers"]
    assert headers["expires"] == "2030-01-01T00:00:00Z"
    assert Context(headers).headers == {"expires": "2030-01-01T00:00:00Z"}, "what a task sees as its message's headers"


@pytest.mark.parametrize("id_", ["", 'with"quote', "with\\backslash", "with space", "schön", "x" * 501])
def test_an_id_that_json_would_escape_is_refused(id_: str) -> None:
    with pytest.raises(InvalidMessage):
        encode(FairMessage("partner.a", id_, "task"))


@pytest.mark.servers
def test_only_fair_queues_are_published_to(queues: FairQueues) -> None:
    with pytest.raises(InvalidMessage, match="must begin with"):
        queues.publish([FairMessage("celery", "1", "task")])
