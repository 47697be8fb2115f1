"""bqemulator without the DuckDB extensions that it would download (for GEOGRAPHY and file formats): what
`servers.bigquery.server`
runs, in bqemulator's own environment. Takes bqemulator's arguments."""

import sys

from bqemulator.cli import main
from bqemulator.storage.engine import DuckDBEngine

for downloads in ("_load_spatial", "_load_format_extensions"):
    setattr(DuckDBEngine, downloads, lambda _: None)

sys.argv[0] = "bqemulator"
main()
