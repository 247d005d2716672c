import pytest
from django.test import Client

from tests.admin_pages import viewer

pytestmark = [pytest.mark.servers, pytest.mark.django_db]


def test_the_first_address_that_people_try_leads_on() -> None:
    for client, wanted in ((Client(), "/api/docs/"), (viewer(), "/admin/")):
        answer = client.get("/")

        assert (answer.status_code, answer["Location"]) == (302, wanted)
        assert client.get(wanted).status_code == 200
