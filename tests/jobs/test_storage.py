from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from deeplense_core.errors import UserError
from deeplense_core.storage import append_line, replacing


def test_writers_at_once_leave_whole_lines_only(tmp_path):
    log = tmp_path / "log.jsonl"

    def write(name: bytes) -> None:
        for _ in range(300):
            append_line(log, name * 5000)  # more than a page of memory: another writer could see half of it

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, (b"a", b"b")))
    assert Counter(log.read_bytes().splitlines()) == {b"a" * 5000: 300, b"b" * 5000: 300}


def test_a_torn_line_becomes_a_line_of_its_own(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"whole\nto")
    append_line(log, b"next")
    assert log.read_bytes() == b"whole\nto\nnext\n"


@pytest.mark.parametrize(("error", "shown"), [
    (ValueError("x"), ValueError), (OSError(28, "No space left"), UserError), (OSError(13, "Denied"), UserError)])
def test_what_is_written_in_place_of_a_file_is_whole_or_nothing(tmp_path, error, shown):
    path = tmp_path / "table"
    path.write_text("old")
    with pytest.raises(shown), replacing(path) as temporary:  # noqa: PT012
        temporary.write_text("ha")
        raise error
    assert (path.read_text(), [one.name for one in tmp_path.iterdir()]) == ("old", ["table"])
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert (path.read_text(), [one.name for one in tmp_path.iterdir()]) == ("new", ["table"])
