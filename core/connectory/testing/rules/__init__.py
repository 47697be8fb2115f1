"""The rules of the conformance kit, by what they look at; each is a test of `ConnectorConformance`.

Only this package holds tests, whose asserts pytest rewrites. What finds out whether something is wrong is beside it.
"""
