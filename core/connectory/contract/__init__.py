"""What a connector is: hooks, secrets, the connection check, and the grammar of hosts and urls."""
