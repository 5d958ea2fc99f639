"""An image of the reader's own on a map: dropped, read, and embedded by the network of the map."""

from __future__ import annotations

import numpy as np
import streamlit as st

from deeplense_core.embeddings.ask import network_of
from deeplense_core.embeddings.embed import embed_images
from deeplense_core.embeddings.store import Embedding, list_embeddings, open_embedding
from deeplense_core.errors import UserError
from deeplense_core.reading.uploads import Upload, read
from pages.ui.analyse_input import ENDINGS
from pages.ui.answer_view import Asked as Answering
from pages.ui.answers import Answered, Reading, shown_image, take_in
from pages.ui.embedding_views import Asked, neighbours_view
from pages.ui.messages import guard, show_error


def asked_image(embedding: Embedding) -> Asked | None:
    """The image that the reader dropped, if there is one that can be used."""
    with st.popover("Your own image", icon=":material/image_search:", key="embeddings_own"):
        dropped = st.file_uploader("Shown on the map, with the images most like it", ENDINGS, key="embeddings_upload")
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


def similar_lenses(one: Answered, ask: Answering) -> None:
    """For the analyse page: the images most like one, where an embedding by the same network is there."""
    found = {embedding.name: embedding for embedding in list_embeddings() if embedding.about["model"] == ask.model}
    if not found or not st.toggle("Similar images", key="analyse_similar", persist_state="session"):
        return
    name = next(iter(found)) if len(found) == 1 else st.selectbox("Among", found, key="analyse_similar_among")
    with guard():
        chosen = found[name]
        vector = vector_as_answered(one.upload, ask.reading, str(chosen.path), chosen.about["digest"])
        neighbours_view(chosen, Asked(one.name, vector, None))


@st.cache_data(max_entries=256, show_spinner="Embedding …")
def vector_as_answered(upload: Upload, reading: Reading, path: str, digest: str) -> np.ndarray:
    """The vector of an upload, read as the reader of the analyse page wants it."""
    network = network_of(open_embedding(path))
    return embed_images(network, [shown_image(upload, reading, network)])[0][0]
