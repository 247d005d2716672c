"""The only door to the network: sends one request to one endpoint, and says what came of it.

Two senders behind one interface, with the same outcome for every behaviour of an endpoint (docs/adr/0020-sender.md):
`requests_sender` is the reference, `curl_sender` the fast one. Both decide on the address that they really connect to
(partners.addresses), follow no redirects, know no proxy, keep to the total deadline, and read a bounded answer.
"""

from delivery.sending.request import Request, Sender, make_sender

__all__ = ["Request", "Sender", "make_sender"]
