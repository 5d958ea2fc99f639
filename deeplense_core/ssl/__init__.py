"""Self-supervised learning: views that keep the physics of a lens, the methods, collapse, and probes of features."""
