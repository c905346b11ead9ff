"""The model as TensorFlow Lite runs it: token ids to candidates, in eight-bit integers, for servers on a CPU."""
