"""Connection types, connections and their secrets, and secrets that are tried before they are stored."""
