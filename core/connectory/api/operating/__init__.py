"""For whoever runs the service: health, keys, plugins, the audit trail, egress, the documentation, the console."""
