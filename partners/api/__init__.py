"""The REST API of partners: keys, profile, subscriptions, secrets, event types, audit log.

What every resource shares is here too (authentication, scopes, problems, JSON, pages, entity tags), and `delivery.api`
builds on it. A view finds its rows through the caller's partner: another partner's are not there at all, 404.
"""
