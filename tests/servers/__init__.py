"""Real servers, fronts and misbehaving far ends that the tests and `make demo` start on loopback, without Docker.

Import them as `servers.<module>` (pytest puts `tests/` on the path; elsewhere set `PYTHONPATH=tests`). Nothing in this
package imports pytest. A server that cannot be had raises `processes.ServerFailed`; nothing here ever skips.

Engines, and what they stand for, are named in each module's docstring: a green test against a stand-in is not a green
test against the vendor's own service.
"""
