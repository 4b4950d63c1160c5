"""`avatar bench`: speed and sync on this machine. Milliseconds are this machine's; quote ratios and medians."""
