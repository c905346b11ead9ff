"""Asks an exported model, served by a process of its own, what the validate step compares."""
