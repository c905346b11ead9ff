"""What a pipeline root holds: lists it, removes what is no longer needed, and checks that all is as it was written."""
