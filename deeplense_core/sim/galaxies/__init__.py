"""Galaxies as surveys see them in several bands: lenses, what is mistaken for one, and the camera before them.

``scene`` says what is in front of the camera, ``population`` draws it, ``light`` makes the sky of it, ``camera`` the
stored image, and ``render`` goes from the one to the other.
"""
