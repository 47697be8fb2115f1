"""Run one connection test and always come back: the service's runner, its fork servers, the process of a test, egress rules."""
