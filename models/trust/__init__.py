"""Judges of the labels: what the watermark survives, and what knows our pictures without it."""
