"""What a page gave to the viewer, read back from the message to the browser."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np


def unpacked(data: bytes) -> dict[str, Any]:
    """The header of a message, each array in it with its ``values``."""
    (length,) = struct.unpack_from("<I", data)
    header = json.loads(data[4 : 4 + length])
    assert length % 4 == 0
    values = np.frombuffer(data[4 + length :], "<f4")

    def array(described: dict[str, Any]) -> np.ndarray:
        start = described["place"]
        return values[start : start + int(np.prod(described["shape"]))].reshape(described["shape"])

    for panel in header["panels"]:
        panel["values"] = array(panel["pixels"])
        if panel["overlay"]:
            panel["overlay"]["values"] = array(panel["overlay"])
    return header


def panels_of(app, number: int = 0) -> list[dict[str, Any]]:
    """The panels of the ``number``-th viewer on a page under Streamlit's test harness."""
    return unpacked(app.get("bidi_component")[number].proto.bytes)["panels"]
