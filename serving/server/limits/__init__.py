"""What one client may cost the others: sizes of requests and answers, the time of a call, and how many there are."""
