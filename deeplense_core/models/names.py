"""The registry itself, apart so that model files can import it without a circle."""

from deeplense_core.registry import Registry

MODELS = Registry("model")
