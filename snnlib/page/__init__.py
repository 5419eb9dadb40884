"""What a page of the book needs: figures in light and dark, tables of computed numbers."""

from snnlib.page import figures, live, tables

__all__ = ["figures", "live", "tables"]
