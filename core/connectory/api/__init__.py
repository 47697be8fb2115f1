"""The REST API: `app.create_app`, authentication, errors, and one module for each resource."""
