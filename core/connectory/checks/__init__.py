"""Run one connection test and always come back: parent runner, template, child worker, egress rules."""
