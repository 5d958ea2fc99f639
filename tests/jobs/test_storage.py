from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from deeplense_core.storage import append_line


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
