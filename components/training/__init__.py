"""How a masked language model is trained: the loop, one step, and everything that watches them."""
