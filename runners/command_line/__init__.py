"""The command line around a run: its options, what it says at the end, and the commands that come next."""
