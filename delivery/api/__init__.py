"""The REST API of events and deliveries: publishing, the delivery log, replays, statistics. Built on partners.api."""
