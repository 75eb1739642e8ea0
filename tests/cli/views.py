#!/usr/bin/python3
# views - what is said of batches whose items end one by one: items and their groups, events, status, graphs
#
#   tests/cli/views.py PENSTOCK [WORD]      only checks whose name contains WORD
import collections
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

from lab import Lab, PENSTOCK, Skip, check, judge_all

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

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


def submit(lab, name, *args, text="1\n", rc=0):
    f = lab.path(name, text)
    return lab.run("submit", f, "--format", "lines", "--into", name, *args, rc=rc).stdout.decode().strip()


def status(lab, *args):
    return json.loads(lab.run("status", *args, "--json").stdout)


@check
def status_of_a_job(lab):
    b = submit(lab, "j", "--processor", COMMAND, "--max-retries", "1", "--backoff", "1h", "--priority", "3", "--on-complete", "true",
               "--not-before", "@1000", text="1\n2\n3\n")
    o = status(lab, b)
    assert (o["submitted"], o["priority"], o["not_before"], o["on_complete"]) == (True, 3, "1970-01-01T00:16:40.000Z", "owed"), o
    lab.run("work", rc=(0, 1))
    o = status(lab, b)
    row = lab.lines("items", b, "--state", "retrying")[0]
    assert (o["state"], o["retrying"], o["due"], o["tries"], o["crashes"], o["dropped"]) == ("waiting", 1, row["due"], 3, 0, 0), o
    assert o["cache_hits"] == 0 and o["cache_misses"] == 0 and o["on_complete"] == "owed"
    text = lab.run("status", b).stdout.decode()
    assert "retrying    1 items; the first is due %s\n" % row["due"] in text and "tries       3; 1 times an item" in text, text
    assert "order       priority 3, not before 1970-01-01T00:16:40.000Z, its command is owed\n" in text, text
    q = status(lab)
    assert (q["queued"], q["waiting"], q["paused"], q["due"]) == (0, 1, 0, row["due"]), q
    lab.run("pause", b, "--reason", "the disk is busy")
    o = status(lab, b)
    assert o["wish"]["what"] == "pause" and o["wish"]["reason"] == "the disk is busy" and o["wish"]["by"], o["wish"]
    assert re.search(r"paused      by \w+, .*Z: the disk is busy", lab.run("status", b).stdout.decode())
    assert status(lab)["paused"] == 1 and status(lab)["due"] is None
    lab.run("cancel", b, "--reason", "wrong file")
    o = status(lab, b)
    assert (o["state"], o["wish"]["what"], o["wish"]["reason"], o["on_complete"]) == ("cancelled", "cancel", "wrong file", "owed"), o
    lab.run("work")
    assert status(lab, b)["on_complete"] == "done"
    # Not one of these: nothing is owed, tried, or wanted.
    lab.run("run", lab.path("plain", "1\n"), "--format", "lines", "--into", "plain")
    o = status(lab, "@last")
    assert (o["submitted"], o["tries"], o["on_complete"], o["wish"], o["parents"], o["children"]) == (False, 0, None, None, [], []), o
    assert list(o)[-1] == "ring"


@check
def eight_components(lab):
    names = ["Database", "Transactions", "Queue", "Logging", "Correlation IDs", "WebSocket", "Rate Limiting", "Feature Flags"]
    def ask():
        c = json.loads(lab.run("status", "--json").stdout)["components"]
        assert [x["name"] for x in c] == names and all(x["state"] in ("ready", "busy", "held") for x in c), c
        return {x["name"]: x for x in c}
    o = lab.load(lab.path("a", "x\n"), "--format", "lines")
    c = ask()
    assert all(x["state"] == "ready" for x in c.values()), c
    assert o["correlation_id"] in c["Correlation IDs"]["detail"] and "0 flags" in c["Feature Flags"]["detail"]
    lab.run("flag", "set", "NEW", "--on")
    lab.run("limit", "set", "mine", "--window", "1m", "--limit", "3")
    lab.run("submit", lab.path("b", "y\n"), "--format", "lines", "--into", "later")
    gate = lab.path("gate")
    p = lab.start("run", lab.path("l", "go\nwait\n"), "--format", "lines", "--into", "j", "--jobs", "1", "--progress", "none", "--processor",
                  'exec:sh -c \'read x; [ "$x" = go ] || while ! [ -e "%s" ]; do sleep 0.05; done\'' % gate)
    lab.until_counted(p)
    c = ask()
    assert c["Queue"]["state"] == c["WebSocket"]["state"] == "busy" and "1 queued" in c["Queue"]["detail"] and "1 running" in c["Queue"]["detail"], c
    assert "1 flags, 1 enabled" in c["Feature Flags"]["detail"] and "1 of them set here" in c["Rate Limiting"]["detail"], c
    text = lab.run("status").stdout.decode()
    assert all(n in text for n in names), text
    lab.path("gate", "")
    assert p.wait() == 0
    lab.verify()


@check
def the_queue_in_numbers(lab):
    submit(lab, "far", "--not-before", "2100-01-01T00:00:00Z")
    near = submit(lab, "near", "--not-before", "2099-01-01T00:00:00Z")
    child = submit(lab, "child", "--after", near)
    q = status(lab)
    assert q["queued"] + q["waiting"] == 3 and q["due"] == "2099-01-01T00:00:00.000Z", q
    assert "the next is due 2099-01-01T00:00:00.000Z" in lab.run("status").stdout.decode()
    submit(lab, "now")
    assert status(lab)["due"] == "now" and "the next is due now" in lab.run("status").stdout.decode()
    assert [p["batch"] for p in status(lab, child)["parents"]] == [near]


@check
def graphs(lab):
    """a <- b <- d, a <- c <- d, and e stands alone."""
    a = submit(lab, "a")
    b = submit(lab, "b", "--after", a + ":ok")
    c = submit(lab, "c", "--after", a)
    d = submit(lab, "d", "--after", b, "--after", c)
    e = submit(lab, "e")
    o = status(lab, b)
    assert o["parents"] == [{"batch": a, "after": "ok", "state": "queued"}] and [x["batch"] for x in o["children"]] == [d], o
    assert {x["batch"] for x in status(lab, a)["children"]} == {b, c} and "graph" not in o
    o = status(lab, b, "--graph")
    assert {(x["batch"], x["side"]) for x in o["graph"]} == {(a, "before"), (d, "behind")}, o["graph"]
    assert len(o["graph"]) == 2 and len(status(lab, a, "--graph")["graph"]) == 3
    text = lab.run("status", d, "--graph").stdout.decode()
    assert re.search("waits for   %s" % b, text) or re.search("waits for   %s" % c, text), text
    assert set(re.findall("[0-9a-f]{16}", text.split("graph\n")[1])) == {a, b, c}, text
    lab.run("status", "--graph", rc=2)
    # The plain word cancels one; with --graph all behind it, and nothing else, and nothing of them ran.
    lab.run("cancel", b, "--graph", "--reason", "all of it")
    states = {x["batch"]: x["state"] for x in status(lab)["batches"]}
    assert [states[x] for x in (a, b, c, d)][1::2] == ["cancelled"] * 2 and states[a] == "queued" and states[e] == "queued", states
    assert states[c] == "waiting" or states[c] == "queued", states
    lab.run("cancel", a, "--graph")
    states = {x["batch"]: x["state"] for x in status(lab)["batches"]}
    assert [states[x] for x in (a, b, c, d, e)] == ["cancelled"] * 4 + ["queued"], states
    lab.run("cancel", a, "--graph")  # all are over: nothing to do
    assert status(lab, d)["wish"]["reason"] == "all of it"
    lab.run("work")
    assert not [x for x in lab.lines("events") if x["type"] == "started" and x["batch"] != e]
    lab.verify()


@check
def a_wide_graph(lab):
    """More children than are listed at once, each with a child: every one is reached once."""
    root = submit(lab, "root", "--not-before", "2100-01-01T00:00:00Z")
    kids = [submit(lab, "kid%d" % i, "--after", root) for i in range(105)]
    grand = submit(lab, "grand", *[x for k in kids for x in ("--after", k)])
    o = status(lab, root)
    assert len(o["children"]) == 100 and o["children_more"]
    graph = [x["batch"] for x in status(lab, root, "--graph")["graph"]]
    assert sorted(graph) == sorted(kids + [grand]), len(graph)
    lab.run("cancel", root, "--graph")
    assert all(status(lab, x)["state"] == "cancelled" for x in (root, kids[0], kids[-1], grand))


@check
def a_child_that_comes_meanwhile(lab):
    """It is submitted behind the root while what was behind the root is being cancelled."""
    root = submit(lab, "root", "--not-before", "2100-01-01T00:00:00Z")
    kids = [submit(lab, "kid%d" % i, "--after", root) for i in range(60)]
    p = lab.start("cancel", root, "--graph")
    while status(lab, kids[-1])["state"] != "cancelled":
        assert p.poll() is None
    p.send_signal(signal.SIGSTOP)  # it may hold the write lock: then the child comes right after it
    late = subprocess.Popen([PENSTOCK, "--store", lab.store, "submit", lab.path("late", "x\n"), "--into", "late", "--after", root],
                            stdout=subprocess.PIPE)
    time.sleep(0.3)
    p.send_signal(signal.SIGCONT)
    child = late.communicate(timeout=60)[0].decode().strip()
    assert p.wait(60) == 0 and late.returncode == 0
    assert [status(lab, x)["state"] for x in (root, child)] == ["cancelled"] * 2
    lab.verify()


def spec(lab, what, *args, rc=0, **kw):
    f = lab.path("spec.json", what if isinstance(what, (str, bytes)) else json.dumps(what))
    return lab.run("submit", "--spec", f, *args, rc=rc, **kw)


@check
def a_batch_in_a_file(lab):
    f = lab.path("in.ndjson", '{"id":"a"}\n{"id":"b"}\n')
    out = spec(lab, {"sources": [f], "into": "s", "key": "/id", "max_retries": 1, "backoff": ["50ms", "60ms"], "label": {"team": "x", "n": 1},
                     "processor": "exec:cat", "priority": -2, "fresh": False, "max-record": "1MiB", "on_complete": None})
    b = out.stdout.decode().strip()
    o = status(lab, b)
    assert (o["dataset"], o["key"], o["labels"], o["priority"], o["max_record"]) == ("s", "/id", ["team=x", "n=1"], -2, 1 << 20), o
    # The same request in words is the same batch.
    same = lab.run("submit", f, "--into", "s", "--key", "/id", "--max-retries", "1", "--backoff", "50ms,60ms", "--processor", "exec:cat",
                   "--max-record", "1MiB")
    assert same.stdout.decode().strip() == b
    # What is typed wins.
    o = status(lab, spec(lab, {"sources": f, "into": "s", "label": ["a=b"], "priority": 1}, "--into", "t", "--priority", "7").stdout.decode().strip())
    assert (o["dataset"], o["priority"], o["labels"]) == ("t", 7, ["a=b"]), o
    lab.run("work")
    assert lab.run("get", "s", "a").stdout == b'{"id":"a"}'


@check
def items_in_the_file(lab):
    exact = '{"items": [ {"id": 1e2, "n": 12345678901234567890.10, "s": "\\u00e4\\n"}, {"id" : 2} ], "into": "j", "key": "/id"}'
    b = lab.run("submit", "--spec", "-", stdin=exact.encode()).stdout.decode().strip()
    lab.run("work")
    # Numbers as they are written, the rest without blanks.
    assert lab.run("get", "j", "1e2").stdout == b'{"id":1e2,"n":12345678901234567890.10,"s":"\\u00e4\\n"}', lab.dump("j")
    assert lab.run("get", "j", "2").stdout == b'{"id":2}' and status(lab, b)["submitted"]
    for items, form, values in ((["a", "b c"], None, [b"a", b"b c"]), (["a\nb"], None, [b'"a\\nb"']), (["a", 1, [2, 3]], None, [b'"a"', b"1", b"[2,3]"]),
                                (["a", 1], "lines", [b"a", b"1"]), (["a"], "ndjson", [b'"a"']), ([], None, [])):
        o = {"items": items, "into": "d", **({"format": form} if form else {})}
        spec(lab, o)
        lab.run("work")
        assert sorted(v for k, v in (lab.dump("d") if items else [])) == sorted(values), (o, lab.dump("d"))
        if items:
            lab.run("drop", "d", "--yes")
    many = ["x%d" % i for i in range(100000)]
    spec(lab, {"items": many, "into": "many"})
    lab.run("work")
    assert [v.decode() for k, v in lab.dump("many")] == many
    lab.verify()


@check
def what_is_wrong_in_the_file_is_named(lab):
    f = lab.path("x", "1\n")
    for o, words in (({"sources": [f], "max_retrys": 1}, ("max-retrys", "did you mean max-retries")), ({"sources": [f], "store": "x"}, ("store",)),
                     ({"sources": [f], "priority": True}, ("priority", "string or a number")), ({"sources": [f], "fresh": 1}, ("fresh", "true or false")),
                     ({"sources": [f], "format": "linse"}, ("linse", "lines")), ({"sources": [f], "limits": 1}, ("limits", "true or false")),
                     ({"sources": [f], "items": [1]}, ("not both",)), ({"sources": [[1]]}, ("sources",)), ({"items": ["a\nb"], "format": "lines"}, ("one line",)),
                     ({"items": [1], "format": "csv"}, ("ndjson",)), ({"into": "x"}, ("usage",)), ({"sources": ["a\0b"]}, ("sources",)),
                     ({"sources": [f], "into": "a\0b"}, ("into",)), ([], ("no JSON object",)), ("{", ("no JSON object",)), ("", ("no JSON object",)),
                     ({"sources": [f], "spec": "x"}, ("spec",)), ({"x" * 500: 1}, ("no member",))):
        p = spec(lab, o, rc=2)
        assert all(w in p.err for w in words) and "spec.json" in p.err, (o, p.err)
        assert not p.stdout
    lab.run("submit", "--spec", lab.path("none"), rc=3)
    spec(lab, {"sources": [f]}, f, rc=2)
    lab.run("run", "--spec", f, rc=2)


def pdf(text):
    """One page with that text."""
    stream = b"BT /F1 12 Tf 72 720 Td (%s) Tj ET" % text.encode()
    bodies = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
              b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
              b"<</Length %d>>\nstream\n%s\nendstream" % (len(stream), stream), b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"]
    out, places = b"%PDF-1.4\n", []
    for i, body in enumerate(bodies):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (i + 1, body)
    table = b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % p for p in places)
    return out + table + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % len(out)


@check
def the_example_with_pdfs(lab):
    """docs/examples/pdf-fulltext.sh: each text under its path; what is no PDF is a dead letter after four tries."""
    if not shutil.which("pdftotext"):
        raise Skip("pdftotext is not installed (poppler-utils)")
    example = os.path.join(ROOT, "docs/examples/pdf-fulltext.sh")
    env = {**os.environ, "PENSTOCK": PENSTOCK, "PENSTOCK_STORE": lab.store}
    for i in range(6):
        lab.path("in/%sp %d.pdf" % ("sub/" if i % 2 else "", i), pdf("paper number %d" % i))
    lab.path("in/broken.PDF", pdf("lost")[:60])
    lab.path("in/notes.txt", "no PDF at all")
    fast = ("--backoff", "50ms,60ms,70ms", "--rate", "none", "--progress", "plain")
    p = subprocess.run([example, lab.path("in"), *fast], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert p.returncode == 1 and b"7 items = 6 committed + 0 rejected + 1 failed" in p.stderr, p.stderr
    texts = {k.decode(): v.decode().strip() for k, v in lab.dump("fulltext")}
    assert texts == {"%sp %d.pdf" % ("sub/" if i % 2 else "", i): "paper number %d" % i for i in range(6)}, texts
    group, = lab.lines("items", "@last", "--group-by", "error")
    sample = group["sample"]
    assert group["items"] == 1 and group["code"] == "PEN1081" and "Syntax Error" in group["error"], group
    assert (sample["key"], sample["attempts"], sample["state"]) == ("broken.PDF", 4, "failed") and "Syntax Error" in sample["stderr"], sample
    # Its cause is gone: a retry reads the file as it is now.
    lab.path("in/broken.PDF", pdf("found again"))
    lab.run("retry", "@last")
    lab.run("work")
    assert lab.run("get", "fulltext", "broken.PDF").stdout.strip() == b"found again"
    lab.verify()
    # As it is shipped it takes ten a minute, and tries three times more, after 2, 4 and 8 seconds.
    words = subprocess.run([example, lab.path("in")], env={**env, "PENSTOCK": "echo"}, stdout=subprocess.PIPE, check=True).stdout
    assert b"--max-retries 3 --backoff 2s,4s,8s --rate 10/min\n" in words, words
    assert subprocess.run([example], env=env, stderr=subprocess.DEVNULL).returncode == 2


if __name__ == "__main__":
    sys.exit(judge_all(Lab))
