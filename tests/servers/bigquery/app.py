"""bqemulator without the DuckDB extensions that it would download (for GEOGRAPHY and file formats), and with the names that
BigQuery takes, which are of letters, marks, numbers, spaces and dashes of any script: what `servers.bigquery.server`
runs, in bqemulator's own environment. Takes bqemulator's arguments."""

import re
import sys

from bqemulator.cli import main
from bqemulator.storage import sql_identifiers
from bqemulator.storage.engine import DuckDBEngine

for downloads in ("_load_spatial", "_load_format_extensions"):
    setattr(DuckDBEngine, downloads, lambda _: None)

sql_identifiers._SQL_SAFE_ID_RE = re.compile(r"[\w][\w -]{0,1023}")

sys.argv[0] = "bqemulator"
main()
