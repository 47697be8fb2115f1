"""Stand-ins for the vendors of the SaaS connectors, on loopback: they enforce the documented authorization, path and query.

Engine: ours. Proven: what a connector sends, and what it makes of each answer that the vendor documents. Not proven: that a
vendor answers so today; for Stripe, SendGrid and Mailchimp `servers.saas.openapi` holds the stand-in against the vendor's own
OpenAPI document.
"""

from servers.saas.api_keys import Datadog, Mailchimp, Segment, Zendesk
from servers.saas.bearer_tokens import HubSpot, SendGrid, Sentry, Stripe
from servers.saas.oauth_tokens import AdobeCampaign, Auth0, ConsentVendor, Outreach, Salesforce, TokenVendor
from servers.saas.vendor import Vendor

VENDORS: tuple[type[Vendor], ...] = (
    AdobeCampaign,
    Auth0,
    Datadog,
    HubSpot,
    Mailchimp,
    Outreach,
    Salesforce,
    Segment,
    SendGrid,
    Sentry,
    Stripe,
    Zendesk,
)
"""All twelve."""

__all__ = [
    "VENDORS",
    "AdobeCampaign",
    "Auth0",
    "ConsentVendor",
    "Datadog",
    "HubSpot",
    "Mailchimp",
    "Outreach",
    "Salesforce",
    "Segment",
    "SendGrid",
    "Sentry",
    "Stripe",
    "TokenVendor",
    "Vendor",
    "Zendesk",
]
