"""Sends a request to an endpoint and returns its outcome: the only code that talks to endpoints.

There are two senders with one interface, and with the same outcome for every behaviour of an endpoint
(docs/adr/0020-sender.md): `requests_sender` is the reference, `curl_sender` the fast one. Both check the address that
they really connect to (partners.addresses), follow no redirects, use no proxy, keep to one total deadline, and limit
the size of the answer.
"""

from delivery.sending.request import OnBusy, Request, Sender, make_sender

__all__ = ["OnBusy", "Request", "Sender", "make_sender"]
