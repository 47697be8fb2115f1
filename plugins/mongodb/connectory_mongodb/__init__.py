"""The MongoDB connector for Connectory."""

from connectory_mongodb.connector import MongoDB
from connectory_mongodb.secrets import MongoDBSecrets

__all__ = ["MongoDB", "MongoDBSecrets"]
