"""bilearn: certified bilevel learning for imaging inverse problems."""

__version__ = "0.1.0"
