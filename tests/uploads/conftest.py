"""What the tests of uploads share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deeplense_core.images import BadImageError


@pytest.fixture
def refused() -> Callable:
    """Calls a function and gives the BadImageError that it must raise."""
    def call(function, *args, **options) -> BadImageError:
        with pytest.raises(BadImageError) as caught:
            function(*args, **options)
        return caught.value

    return call
