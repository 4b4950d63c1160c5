"""How things are run: stages, channels between them, and the one asynchronous part."""
