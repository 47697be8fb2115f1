"""The web console of Connectory: pages for people, made from what the REST API answers."""
