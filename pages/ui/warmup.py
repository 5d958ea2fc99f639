"""Loads the heavy libraries behind the reader's back, once a server."""

import importlib
import threading

import streamlit as st


@st.cache_resource(show_spinner=False)
def warm_up() -> None:
    """Starts importing torch and the simulator in the background, after the first page has been drawn."""
    threading.Thread(target=importlib.import_module, args=("deeplense_core.sim",), daemon=True).start()
