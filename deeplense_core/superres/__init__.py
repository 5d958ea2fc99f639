"""Observing a sky twice, registering real pairs, sharpening files, and what the data confirm."""
