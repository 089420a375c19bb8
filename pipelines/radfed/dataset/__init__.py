"""The prepared dataset: sources, checks, quarantine, splits, pseudonyms and layout on disk."""
