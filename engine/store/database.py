"""DuckDB's compiled module by itself.

The Python package around it adds relations and user-defined functions, which only ``Store.arrow`` needs, and
takes three times as long to import as the module: longer than the first rows of an index take to come.
"""

from _duckdb import DuckDBPyConnection, Error, InterruptException, OutOfMemoryException, connect

__all__ = ["DuckDBPyConnection", "Error", "InterruptException", "OutOfMemoryException", "connect"]
