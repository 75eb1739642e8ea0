#!/usr/bin/python3
# views - what is said of batches whose items end one by one: items and their groups, events, status, graphs
#
#   tests/cli/views.py PENSTOCK [WORD]      only checks whose name contains WORD
import collections
import json
import re
import sys

from lab import Lab, check, judge_all

# 3 fails twice, 4 is refused, 5 dies of a signal; what it says of 3 has a number of its own each time.
COMMAND = 'exec:read x; case $x in 3) echo "lost at offset $((1000 + PENSTOCK_ITEM_SEQ))" >&2; exit 1;; 4) exit 65;; 5) kill -9 $$;; esac; echo "$x!"'
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def job(lab, text="1\n2\n3\n4\n5\n", *args, rc=1, into="default"):
    """Runs such a batch."""
    f = lab.path("items-%s" % into, text)
    lab.run("run", f, "--format", "lines", "--into", into, "--processor", COMMAND, "--max-retries", "1", "--backoff", "50ms", *args, rc=rc)


@check
def what_is_known_of_a_tried_item(lab):
    job(lab)
    rows = lab.lines("items", "@last")
    assert [r["state"] for r in rows] == ["committed", "committed", "failed", "rejected", "failed"], rows
    assert [r["key"] for r in rows] == [0, 1, 2, 3, 4], rows
    assert [r["message"] for r in rows[:2]] == [None, None] and "no failure" not in lab.run("items", "@last").stdout.decode()
    assert list(rows[0])[-7:] == ["exit_status", "term_signal", "spent_ms", "crashes", "due", "ended", "stderr"], rows[0]
    assert [r["exit_status"] for r in rows] == [0, 0, 1, 65, None] and [r["term_signal"] for r in rows] == [None] * 4 + [9]
    assert [r["attempts"] for r in rows] == [1, 1, 2, 1, 2] and rows[2]["stderr"] == "lost at offset 1002\n", rows
    assert all(r["spent_ms"] > 0 and r["due"] is None and TIME.fullmatch(r["ended"]) for r in rows), rows
    # Not tried: nothing of the kind is said.
    lab.run("run", lab.path("bad", "{\n"), "--format", "ndjson", "--into", "plain", rc=1)
    assert "exit_status" not in lab.lines("items", "@last")[0]
    # What a command says need not be text.
    lab.run("run", lab.path("b", "1\n"), "--format", "lines", "--into", "b", "--max-retries", "0", "--processor",
            r"exec:printf '\377' >&2; exit 1", rc=1)
    row = lab.lines("items", "@last")[0]
    assert row["stderr_base64"] == "/w==" and "stderr" not in row, row


@check
def keys_are_printed_as_they_are_typed(lab):
    f = lab.path("d/x y.txt", "hello\n")
    for into, kind in (("p", "@path"), ("c", "@content"), ("o", "@offset")):
        lab.run("run", lab.path("d") if kind == "@path" else f, "--format", "files" if kind == "@path" else "lines", "--key", kind,
                "--into", into, "--processor", "exec:cat")
        key = lab.lines("items", "@last")[0]["key"]
        assert isinstance(key, int) if kind == "@offset" else kind == "@path" or re.fullmatch("[0-9a-f]{32}", key), key
        if kind != "@content":  # there it is the key of the value that came out
            assert lab.run("get", into, str(key)).stdout == b"hello\n" if kind == "@path" else b"hello", (kind, key)


@check
def an_item_that_waits_says_until_when(lab):
    f = lab.path("n", "3\n")
    lab.run("submit", f, "--format", "lines", "--processor", COMMAND, "--max-retries", "1", "--backoff", "1h")
    lab.run("work", rc=(0, 1))
    row = lab.lines("items", "@last", "--state", "retrying")[0]
    assert TIME.fullmatch(row["due"]) and row["due"] > row["ended"], row
    text = lab.run("items", "@last").stdout.decode()
    assert "tried 1x, next try due %s" % row["due"] in text, text
    text = lab.run("events", "@last").stdout.decode()
    assert re.search(r"retry +item 0, due %s  PEN1081" % row["due"], text), text
    event = next(e for e in lab.lines("events", "@last") if e["type"] == "retry")
    assert (event["item"], event["due"]) == (0, row["due"]) and "bytes" not in event, event


@check
def events_of_items_are_not_bytes(lab):
    job(lab)
    events = lab.lines("events", "@last")
    dead = [(e["item"], e["attempts"], e["code"]) for e in events if e["type"] == "dead_lettered"]
    assert sorted(dead) == [(2, 2, "PEN1081"), (4, 2, "PEN1082")], events
    assert re.search("dead_lettered item 2, tried 2x  PEN1081", lab.run("events", "@last").stdout.decode())
    assert all({"bytes", "items"} <= set(e) for e in events if e["type"] in ("queued", "completed"))


@check
def groups(lab):
    """Counted here a second time, from the items themselves."""
    job(lab, "3\n" * 5 + "4\n" * 3 + "5\n" + "1\n2\n")
    rows = lab.lines("items", "@last")
    for by in ("state", "code"):
        count = collections.Counter(r[by] for r in rows if r[by])
        got = lab.lines("items", "@last", "--group-by", by)
        assert {g[by]: g["items"] for g in got} == dict(count), (got, count)
        assert [g["items"] for g in got] == sorted(count.values(), reverse=True)
        for g in got:
            assert g["sample"] == next(r for r in rows if r[by] == g[by]), g
    got = lab.lines("items", "@last", "--group-by", "error")
    # Five different offsets are one error.
    assert [(g["error"], g["items"], g["sample"]["seq"]) for g in got][:2] == [
        ("the command failed: status 1: lost at offset #", 5, 0), ("the command refused the item: status 65", 3, 5)], got
    assert sum(g["items"] for g in got) == 9 and got[0]["code"] == "PEN1081", got
    text = lab.run("items", "@last", "--group-by", "error").stdout.decode()
    assert re.match(r" +5  PEN1081  the command failed: status 1: lost at offset #  \(first: item 0, .*items-default:1\)\n", text), text
    assert len(text.splitlines()) == len(got)
    # What is left out is not counted.
    assert [g["items"] for g in lab.lines("items", "@last", "--group-by", "state", "--after", "7")] == [2, 1]
    assert [g["items"] for g in lab.lines("items", "@last", "--group-by", "code", "--state", "rejected")] == [3]
    assert len(lab.lines("items", "@last", "--group-by", "error", "--limit", "1")) == 1
    assert [g["items"] for g in lab.lines("items", "@last", "--group-by", "error", "--where", "error~lost and seq<3")] == [3]


@check
def a_condition_chooses_items(lab):
    job(lab)
    seqs = lambda *a: [r["seq"] for r in lab.lines("items", "@last", *a)]
    assert seqs("--where", "attempts>=2") == [2, 4] and seqs("--where", "state=rejected or error~lost") == [2, 3]
    assert seqs("--where", "attempts>=2", "--after", "2") == [4] and seqs("--where", "seq>0", "--limit", "2") == [1, 2]
    assert seqs("--where", "attempts>=2", "--state", "committed") == [] and seqs("--after", "-1", "--limit", "1") == [0]
    p = lab.run("items", "@last", "--where", "attemps>=2", rc=2)
    assert "column 1" in p.err and "attempts" in p.err, p.err
    lab.run("items", "@last", "--group-by", "reason", rc=2)


if __name__ == "__main__":
    sys.exit(judge_all(Lab))
