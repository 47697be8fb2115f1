"""Health over time: schedules, the history of verdicts, and webhooks that are told of changes."""
