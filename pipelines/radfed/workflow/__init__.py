"""Whole runs: what the commands ``demo`` and ``job simulate`` do, step after step."""
