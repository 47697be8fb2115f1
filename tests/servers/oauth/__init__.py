"""An OAuth 2.0 and OpenID Connect provider, with people who consent."""
