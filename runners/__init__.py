"""Where the steps run: the only code that knows."""
