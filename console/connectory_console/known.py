"""Connectors that there are: what to install where a search of the catalogue finds nothing that is."""

from __future__ import annotations

KNOWN = {
    "connectory-bigquery": {"bigquery": "BigQuery"},
    "connectory-mariadb": {"mariadb": "MariaDB"},
    "connectory-mongodb": {"mongodb": "MongoDB"},
    "connectory-mssql": {"mssql": "Microsoft SQL Server"},
    "connectory-mysql": {"mysql": "MySQL"},
    "connectory-postgres": {"postgres": "PostgreSQL"},
    "connectory-redshift": {"redshift": "Amazon Redshift"},
    "connectory-saas": {
        "adobe_campaign": "Adobe Campaign",
        "auth0": "Auth0",
        "datadog": "Datadog",
        "hubspot": "HubSpot",
        "mailchimp": "Mailchimp",
        "outreach": "Outreach",
        "salesforce": "Salesforce",
        "segment": "Segment",
        "sendgrid": "SendGrid",
        "sentry": "Sentry",
        "stripe": "Stripe",
        "zendesk": "Zendesk",
    },
    "connectory-snowflake": {"snowflake": "Snowflake"},
}
"""Of each distribution its connectors: what people call each, by identifier."""


def to_install(search: str) -> str:
    """The command that installs what `search` finds in `KNOWN`, for a shell; empty where it finds nothing."""
    wanted = search.casefold().strip()
    found = [
        distribution
        for distribution, connectors in KNOWN.items()
        if wanted and any(wanted in name.casefold() for pair in connectors.items() for name in pair)
    ]
    return f"pip install {' '.join(found)}" if found else ""
