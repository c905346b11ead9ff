"""Of the export: what the exported model answers."""
