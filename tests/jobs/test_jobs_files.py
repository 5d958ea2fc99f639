"""The folder of a run: what is written is whole, what is damaged is recognised."""

import errno
import json
import math
import os
import time

import numpy as np
import pytest
from waiting import spec

from deeplense_core import checkpoints, jobs, records, runs, storage
from deeplense_core.errors import UserError
from deeplense_core.runs import Run, list_runs, open_run
from deeplense_core.spec import RunSpec


@pytest.fixture
def run():
    return Run.create(spec(name="A lens"))


def test_a_run_is_found_by_its_id(run):
    assert open_run(run.id) == run
    assert run.spec == spec(name="A lens")
    assert run.id.endswith(run.id[-4:])
    assert run.id[15:].startswith("-a-lens-")
    with pytest.raises(UserError, match=f"Did you mean '{run.id}'"):
        open_run(run.id[:-1])
    for wrong in ("", ".", "..", ".trash", "../runs", f"../runs/{run.id}", "a\0b", "x" * 5000, "<img src=x>"):
        with pytest.raises(UserError, match="There is no run"):
            open_run(wrong)


def test_names_of_any_kind_make_folders(workspace):
    for name in ("../../etc", "ñandú 星", "a" * 300, "-", "\0", "<b>"):
        made = Run.create(spec(name=name))
        assert made.path.parent == workspace / "runs"
        assert made.spec.name == name
    assert len(list_runs()) == 6


def test_status_changes_one_field_at_a_time(run):
    run.set_status(progress=0.5, best=np.float32(0.25), best_name="auc_macro")
    run.set_status(note="epoch 3")
    assert (run.status.progress, run.status.best, run.status.note) == (0.5, 0.25, "epoch 3")
    assert not run.set_status_if(("running",), state="done")
    assert run.set_status_if(("queued",), state="running")
    with pytest.raises(ValueError, match="finished"):
        run.set_status(state="finished")
    run.set_status(best=float("nan"))
    assert run.status.best is None


NOT_A_STATUS = [b"", b"{", b"null", b"[1]", b'{"state": "asleep"}', b'{"created": "now"}', b'{"what": 1}',
                b"\xff\xfe", b"\0" * 300]  # fmt: skip
NOT_AN_INDEX = [b"", b"{", b"[]", b'{"a": 1}', b'{"a": [1, {"id": 2}]}', b"\xff", b"null"]


@pytest.mark.parametrize("payload", NOT_A_STATUS)
def test_a_corrupt_status_reads_as_failed(run, payload):
    whole = Run.create(spec())
    whole.set_status(state="done")
    (run.path / "status.json").write_bytes(payload)
    assert (run.status.state, run.status.cause) == ("failed", "status unreadable")
    assert abs(run.status.created - time.time()) < 5
    rows = {row.id: row for row in list_runs()}
    assert (rows[run.id].state, rows[run.id].cause) == ("failed", "status unreadable")
    assert rows[whole.id].state == "done"
    assert jobs.refresh(run).state == "failed"
    run.set_status(state="done")
    assert run.status.state == "done"


def test_a_run_without_settings_is_still_listed(run):
    (run.path / "spec.json").write_text("{")
    assert [row.name for row in list_runs()] == ["settings unreadable"]
    with pytest.raises(UserError, match="not a run specification"):
        _ = run.spec


# metrics.jsonl and log.txt --------------------------------------------------------------------------


def test_metrics_are_lines_of_strict_json(run):
    run.log("train", 1, loss=np.float32(0.5), lr=float("inf"), counts=np.arange(2), name="a\nb")
    run.log("val", 1, auc_macro=0.75)
    (line,) = run.metrics("train")
    assert line | {"time": 0} == {
        "kind": "train", "step": 1, "time": 0, "loss": 0.5, "lr": None, "counts": [0, 1], "name": "a\nb"
    }  # fmt: skip
    assert math.isclose(line["time"], time.time(), abs_tol=5)
    assert [row["kind"] for row in run.metrics()] == ["train", "val"]
    with pytest.raises(TypeError, match="object cannot be written"):
        run.log("train", 2, loss=object())
    assert (run.path / "metrics.jsonl").read_bytes().count(b"\n") == 2


def test_a_torn_line_is_skipped_and_the_next_one_is_whole(run):
    run.log("train", 1, loss=1.0)
    with open(run.path / "metrics.jsonl", "ab") as file:
        file.write(b'{"kind": "train", "st')
    assert [row["step"] for row in run.metrics()] == [1]
    run.log("train", 2, loss=0.5)
    assert [row["step"] for row in run.metrics()] == [1, 2]
    (run.path / "metrics.jsonl").unlink()
    assert run.metrics() == []
    run.log("train", 7)
    assert [row["step"] for row in run.metrics()] == [7]


def test_two_torn_lines_that_fit_together_are_no_line():
    lines = [b'{"kind": "val", "step": 1', b'"loss": 2}', b'{"kind": "val"}', b"[1]", b"7", b""]
    assert records.parse_lines(b"\n".join(lines)) == [{"kind": "val"}]
    assert records.parse_lines(b"\n".join(lines[:3])) == [{"kind": "val"}]
    assert records.parse_lines(b"") == []


def test_of_a_step_repeated_after_a_resume_the_newest_counts(run):
    for step, loss in ((1, 3.0), (2, 2.0), (3, 1.0), (2, 2.5), (3, 1.5)):
        run.log("train", step, loss=loss)
        run.log("info", 0, text=f"{loss}")
    assert [(row["step"], row["loss"]) for row in run.metrics("train")] == [(1, 3.0), (2, 2.5), (3, 1.5)]
    assert len(run.metrics("info")) == 5


def test_the_log_shows_its_end(run):
    assert run.log_text() == ""
    run.write_log("\n".join(f"line {i}" for i in range(50_000)))
    assert run.log_text(2) == "line 49998\nline 49999"
    with open(run.path / "log.txt", "ab") as file:
        file.write(b"\xff\n")
    assert run.log_text(1) == "\ufffd"


# Checkpoints ----------------------------------------------------------------------------------------


def test_the_last_three_checkpoints_are_kept(run):
    assert run.latest_checkpoint() is None
    for i in range(12):
        run.save_checkpoint(f"epoch-{i}", b"%d" % i)
        assert run.latest_checkpoint() == b"%d" % i
    names = sorted(path.name.split(".")[0] for path in (run.path / "checkpoints").iterdir())
    assert names == ["000009-epoch-9", "000010-epoch-10", "000011-epoch-11"]


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(run, damage):
    run.save_checkpoint("one", b"1" * 1000)
    newest = run.save_checkpoint("two", b"2" * 1000)
    if damage == "gone":
        newest.unlink()
    else:
        newest.write_bytes({"flip": b"2" * 999 + b"3", "cut": b"2" * 999, "empty": b""}[damage])
    assert run.latest_checkpoint() == b"1" * 1000
    run.save_checkpoint("three", b"3")
    assert run.latest_checkpoint() == b"3"


def test_a_kept_file_is_checked_when_it_is_read(run):
    run.save_file("best.safetensors", b"old")
    run.save_file("best.safetensors", b"new")
    assert run.read_file("best.safetensors") == b"new"
    (run.path / "best.safetensors").write_bytes(b"nev")
    with pytest.raises(UserError, match="is damaged"):
        run.read_file("best.safetensors")
    with pytest.raises(UserError, match="no file"):
        run.read_file("worst.safetensors")


def test_a_kept_file_is_known_between_its_two_writes(run, monkeypatch):
    run.save_file("best", b"old")
    write = checkpoints.atomic_write
    killed = lambda path, data: path.name == "best" or write(path, data)  # noqa: E731
    monkeypatch.setattr(checkpoints, "atomic_write", killed)
    for attempt in (b"second", b"third"):
        run.save_file("best", attempt)
        assert run.read_file("best") == b"old"
    monkeypatch.undo()


# Full disk without a disk: tests/jobs/test_jobs_faults.py has the real one -----------------------------


def test_a_full_disk_spoils_no_checkpoint(run, monkeypatch):
    run.save_checkpoint("one", b"1")
    before = sorted((run.path / "checkpoints").iterdir())

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(storage.os, "fsync", full)
    with pytest.raises(UserError, match="No space left on the disk that holds .* Free some space"):
        run.save_checkpoint("two", b"2" * 2_000_000)
    assert sorted((run.path / "checkpoints").iterdir()) == before
    assert run.latest_checkpoint() == b"1"
    assert run.set_status(state="failed", cause="disk").state == "failed"
    assert (run.status.state, run.status.cause) == ("failed", "disk")


# The list -------------------------------------------------------------------------------------------


def test_the_list_shows_each_run(run):
    run.set_status(state="done", started=100.0, finished=160.0, best=0.9, best_name="auc_macro", progress=1.0)
    for epoch in range(200):
        run.log("train", epoch, loss=1.0)
        run.log("val", epoch, loss=1.0, auc_macro=epoch / 200)
    other = Run.create(RunSpec(task="classify", data="d", model="d4net", name="<b>"))
    rows = {row.id: row for row in list_runs()}
    row = rows[run.id]
    assert (row.state, row.duration_s, row.progress) == ("done", 60.0, 1.0)
    assert (row.best, row.best_name) == (0.9, "auc_macro")
    assert len(row.val_curve) == 50
    assert row.val_curve[:2] == [0.0, 4 / 200]
    assert (rows[other.id].name, rows[other.id].model, rows[other.id].state) == ("<b>", "d4net", "queued")
    assert [r.id for r in list_runs()] == sorted(rows, reverse=True)


def test_the_list_follows_every_change(run):
    assert list_runs()[0].state == "queued"
    run.set_status(state="running", progress=0.5)
    run.log("val", 1, loss=3.0)
    (row,) = list_runs()
    assert (row.state, row.progress, row.val_curve) == ("running", 0.5, [3.0])
    run.log("val", 2, loss=2.0)
    run.set_status(state="done")
    (row,) = list_runs()
    assert (row.state, row.val_curve) == ("done", [3.0, 2.0])
    run.set_status(note="kept")
    assert list_runs()[0].note == "kept"


@pytest.mark.parametrize("content", NOT_AN_INDEX)
def test_a_corrupt_index_is_built_anew(run, workspace, content):
    run.set_status(state="done")
    first = list_runs()
    index = workspace / "runs" / "index.json"
    whole = index.read_bytes()
    assert run.id in json.loads(whole)
    index.write_bytes(content)
    runs._ROWS.clear()  # as a new process starts
    assert list_runs() == first
    assert index.read_bytes() == whole
    index.write_bytes(content)
    assert jobs.reindex() == 1
    assert index.read_bytes() == whole


def test_a_thousand_runs_are_listed_quickly(workspace):
    for i in range(1000):
        path = workspace / "runs" / f"20260101-{i:06d}-run-{i:04x}"
        path.mkdir(parents=True)
        (path / "spec.json").write_text(spec(name=f"Run {i}").to_json())
        (path / "status.json").write_text(json.dumps({"state": "done", "created": i, "best": 0.5}))
        lines = [{"kind": kind, "step": e, "loss": 0.5} for e in range(30) for kind in ("train", "val")]
        (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def best_of(times, prepare=lambda: None):
        spent = []
        for _ in range(times):
            prepare()
            start = time.process_time()  # of this process: others may keep the machine busy
            assert len(list_runs()) == 1000
            spent.append(time.process_time() - start)
        return 1000 * min(spent)

    cold = best_of(1)
    new_process = best_of(5, runs._ROWS.clear)
    again = best_of(20)
    print(f"\n1,000 runs: first list {cold:.0f} ms, new process {new_process:.0f} ms, again {again:.1f} ms")
    assert new_process < 200
    assert again < 20
