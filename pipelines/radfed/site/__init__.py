"""A site: its settings and its secret."""
