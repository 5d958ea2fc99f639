"""One name for each class, whatever a published set calls it."""

CLASS_ALIASES = {
    "no": "no", "no_sub": "no", "no_substructure": "no", "nosub": "no",
    "sphere": "sphere", "cdm": "sphere", "subhalo": "sphere",
    "vort": "vort", "axion": "vort", "vortex": "vort",
    "lens": "lens", "lenses": "lens",
    "nonlens": "nonlens", "nonlenses": "nonlens", "non_lens": "nonlens", "non_lenses": "nonlens",
    "unlabelled": "unlabelled",
}  # fmt: skip
"""Names met in the field -> the name used here."""

LENS_CLASSES = ("lens", "nonlens")
"""Of every set for lens finding; their features are measured when they are made."""


def canonical_class(name: str) -> str:
    """The project's name of a class: ``cdm`` and ``subhalo`` are ``sphere``; an unknown name stays as it is."""
    return CLASS_ALIASES.get(name.strip().lower().replace("-", "_").replace(" ", "_"), name)
