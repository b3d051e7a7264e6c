"""bcd keeps a breast-cancer patch classifier alive inside a hospital. Research use only."""

__version__ = "0.1.0"
