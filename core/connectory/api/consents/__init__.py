"""A person's consent, by OAuth 2.0: asked for here, given at a provider, exchanged for tokens."""
