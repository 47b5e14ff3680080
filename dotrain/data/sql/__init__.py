"""Tables from SQL databases: one SELECT, read as Arrow, its rows in one order, the connection told to nobody."""

from dotrain.data.sql.source import SqlSource

__all__ = ["SqlSource"]
