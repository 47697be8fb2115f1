"""Who may call: tokens, scopes, clients, and the routes that ask for them."""
