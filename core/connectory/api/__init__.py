"""The REST API: `app.create_app` and a room for each part of it. Which room may import which is in pyproject.toml."""
