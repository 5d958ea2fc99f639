"""The registry itself, apart so that model files can import it without a circle."""

from deeplense_core.registry import Entry, Registry

MODELS = Registry("model")


def learns(entry: Entry) -> bool:
    """Whether there is anything to train; an interpolation has nothing."""
    return entry.about.get("learns", True)
