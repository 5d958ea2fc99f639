"""An image of the reader's own on a map: dropped, read, and embedded by the network of the map."""

from __future__ import annotations

import numpy as np
import streamlit as st

from deeplense_core.embeddings.ask import network_of
from deeplense_core.embeddings.embed import embed_images
from deeplense_core.embeddings.store import Embedding, open_embedding
from deeplense_core.errors import UserError
from deeplense_core.reading.uploads import Upload, read
from pages.ui.analyse_input import ENDINGS
from pages.ui.answers import take_in
from pages.ui.embedding_views import Asked
from pages.ui.messages import show_error


def asked_image(embedding: Embedding) -> Asked | None:
    """The image that the reader dropped, if there is one that can be used."""
    dropped = st.file_uploader("Find images like one of yours", ENDINGS, key="embeddings_upload",
                               label_visibility="collapsed")  # fmt: skip
    if dropped is None:
        return None
    uploads, refused = take_in([(dropped.file_id, dropped.name, dropped)])
    if refused:
        show_error(UserError(refused[0][1]))
        return None
    try:
        return Asked(uploads[0].name, vector_of(uploads[0], str(embedding.path), embedding.about["digest"]), None)
    except UserError as err:
        show_error(err)
        return None


@st.cache_data(max_entries=256, show_spinner="Embedding …")
def vector_of(upload: Upload, path: str, digest: str) -> np.ndarray:
    """The vector of an upload by the network of an embedding."""
    return embed_images(network_of(open_embedding(path)), [read(upload)])[0][0]
