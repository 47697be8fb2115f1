"""A provider of OAuth 2.0 with a consent page."""
