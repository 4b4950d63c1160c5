"""Many sessions and many clips: worker processes on this machine, and the same work on a Ray cluster."""
