"""Predictions for any number of images, in bounded memory: files, sets in one array, parts of them, their tables."""
