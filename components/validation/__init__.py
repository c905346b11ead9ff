"""What the validate step needs: a server in a process of its own, a client of its signatures, and a comparison."""
