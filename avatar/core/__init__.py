"""Types, names and time. Imports nothing else of the project."""
