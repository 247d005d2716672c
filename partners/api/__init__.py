"""The REST API of partners: keys, profile, subscriptions, secrets, event types, audit log.

What all resources share is here too (authentication, scopes, problems, JSON, pages, entity tags), and `delivery.api`
builds on it. A view queries only the rows of the caller's partner, so those of other partners are answered with 404.
"""
