"""The report of a run: one HTML page that reads the artifacts and needs neither network nor JavaScript."""
