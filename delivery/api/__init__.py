"""The REST API of what is sent: publishing, the delivery log, replays, stats. Built like partners.api, on its parts."""
