"""Judges of what comes in: dialogue acts of a text, a camera's face, a face enacted again, micro-expressions."""
