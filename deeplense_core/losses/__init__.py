"""Losses for images: pixel by pixel, by re-observation, by features of VGG19, and against a discriminator."""
