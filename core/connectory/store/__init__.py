"""Everything that is stored: connections, datasets, clients, tokens and the audit trail, on SQLite or PostgreSQL.

Open with `engine.open_store`, bring up to date with `schema.upgrade`, then call the functions of the module named after
the resource with a connection from `store.read()` or `store.write()`. Nothing here renders, validates or decrypts for a
caller, and every time is a timezone-aware UTC `datetime`.
"""
