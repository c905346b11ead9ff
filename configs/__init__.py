"""A configuration a YAML file, which `--config` takes by name; a package, so that they are installed with the code."""
