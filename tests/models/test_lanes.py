"""Blocks side by side on the cores: in order, few at a time, and without a trace in other threads."""

import threading

import pytest
import torch

from deeplense_core.lanes import side_by_side

CPU = torch.device("cpu")


@pytest.fixture
def three_cores():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_cores")
def test_in_order_on_one_core_each_and_never_many_ahead():
    meeting, drawn = threading.Barrier(3), []

    def blocks():
        for block in range(12):
            drawn.append(block)
            yield block

    def work(block):
        meeting.wait(timeout=60)  # three are at work at once, or none gets on
        return block, torch.get_num_threads(), threading.get_ident()

    threads = set()
    for number, (block, cores, thread) in enumerate(side_by_side(work, blocks(), CPU)):
        assert (block, cores) == (number, 1)
        assert len(drawn) <= number + 5
        threads.add(thread)
    assert len(threads) == 3
    assert threading.get_ident() not in threads
    assert torch.get_num_threads() == 3
    other = []
    thread = threading.Thread(target=lambda: other.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert other == [3], "threads to come keep all cores"


@pytest.mark.usefixtures("three_cores")
@pytest.mark.parametrize(("blocks", "device"), [([7], CPU), ([7, 8], torch.device("meta")), ([], CPU)])
def test_one_block_alone_and_an_accelerator_are_asked_from_here(blocks, device):
    here = threading.get_ident()
    found = list(side_by_side(lambda block: (block, threading.get_ident(), torch.get_num_threads()), blocks, device))
    assert found == [(block, here, 3) for block in blocks]


@pytest.mark.usefixtures("three_cores")
def test_few_blocks_share_all_cores():
    torch.set_num_threads(6)
    assert list(side_by_side(lambda block: (block, torch.get_num_threads()), [7, 8], CPU)) == [(7, 3), (8, 3)]


@pytest.mark.usefixtures("three_cores")
def test_within_a_lane_nothing_is_split_again():
    inner = list(side_by_side(lambda n: list(side_by_side(lambda _: threading.get_ident(), range(4), CPU)) +
                              [threading.get_ident()], range(2), CPU))  # fmt: skip
    assert all(len(set(threads)) == 1 for threads in inner)


@pytest.mark.usefixtures("three_cores")
def test_an_error_comes_out_and_ends_it():
    done = []

    def work(block):
        if block == 2:
            raise ValueError("the third")
        done.append(block)
        return block

    with pytest.raises(ValueError, match="the third"):
        list(side_by_side(work, iter(range(1000)), CPU))
    assert len(done) < 10
