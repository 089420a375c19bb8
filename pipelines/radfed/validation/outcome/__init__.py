"""How good the answers of a model with one answer a case are: classes, findings, or the order of events."""
