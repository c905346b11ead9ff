"""What every other package may import. It imports none of them."""
