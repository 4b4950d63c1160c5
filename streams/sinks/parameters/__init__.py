"""Face states as parameters for other programs and machines. What is shared is in ``base``; docs/outputs.md says what
each receiver has to be set to."""
