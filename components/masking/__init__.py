"""Which tokens are masked, in training and in the evaluation."""
