"""What an evaluation is made of: questions, intervals, slices, contamination, baselines and the gate."""
