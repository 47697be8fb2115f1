"""For connectors that work only after a person has consented in a browser (OAuth 2.0, authorization code)."""

from connectory.contract.connector import ConsentingConnector
from connectory.contract.consent import Authorization

__all__ = ["Authorization", "ConsentingConnector"]
