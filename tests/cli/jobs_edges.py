#!/usr/bin/python3
# jobs_edges - commands and workers at the edges: full disks, large items, every kind of source and key, signals, other processes
#
#   tests/cli/jobs_edges.py PENSTOCK [WORD]      only checks whose name contains WORD
#
# Each kind of batch is judged twice where both can do it: with a command per item and with workers. The witness of what was
# tried is a file beside the store. Every check ends with verify, and with a look for processes that were left.
import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import time

from lab import PENSTOCK, Lab, Skip, be, check, judge_all

KINDS = ("exec", "worker")

# Gives an item back. A line a try: what it was. "slow" first sleeps; "bad" is rejected; "fail" fails.
COMMAND = """
import os, sys, time
item = sys.stdin.buffer.read()
with open(os.environ["TRIES"], "ab") as f:
    f.write(b"%s %s\\n" % (os.environb[b"PENSTOCK_ITEM_SEQ"], os.environb[b"PENSTOCK_ATTEMPT"]))
if item.startswith(b"slow"):
    time.sleep(float(item.split()[1]))
if item.startswith(b"bad"):
    sys.exit(65)
if item.startswith(b"fail"):
    sys.exit(1)
sys.stdout.buffer.write(item)
"""

WORKER = """
import base64, json, os, sys, time
for line in sys.stdin.buffer:
    r = json.loads(line)
    item = base64.b64decode(r["item_base64"]) if "item_base64" in r else r["item_text"].encode() if "item_text" in r else None
    with open(os.environ["TRIES"], "ab") as f:
        f.write(b"%d %d\\n" % (r["seq"], r["attempt"]))
    reply = {"id": r["id"]}
    if "path" in r:
        with open(r["path"], "rb") as f:
            item = f.read()
    if item is None:
        reply["value"] = r["item"]
    elif item.startswith(b"bad"):
        reply["error"] = "reject"
    elif item.startswith(b"fail"):
        reply["error"] = "retry"
    else:
        if item.startswith(b"slow"):
            time.sleep(float(item.split()[1]))
        try:
            reply["value_text"] = item.decode()
        except UnicodeDecodeError:
            reply["value_base64"] = base64.b64encode(item).decode()
    sys.stdout.write(json.dumps(reply) + "\\n")
    sys.stdout.flush()
"""


class Edges(Lab):
    def __init__(self, name):
        super().__init__(name)
        self.tries_file = self.path("tries", "")
        os.environ["TRIES"] = self.tries_file
        self.processor = {"exec": "exec:/usr/bin/python3 -S " + self.path("command.py", COMMAND),
                          "worker": "worker:/usr/bin/python3 -S " + self.path("worker.py", WORKER)}

    def job(self, f, kind, *args, **kw):
        return self.load(f, "--processor", self.processor[kind], *args, **kw)

    def tries(self):
        with open(self.tries_file) as f:
            return [tuple(map(int, x.split())) for x in f]

    def until(self, what, f):
        end = time.monotonic() + 60
        while not f():
            assert time.monotonic() < end, what
            time.sleep(0.01)

    def left(self):
        """Processes of this laboratory: told by their environment."""
        mark, found = ("TRIES=" + self.tries_file).encode(), []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/environ" % pid, "rb") as f:
                    ours = mark in f.read().split(b"\0")
                with open("/proc/%s/stat" % pid) as f:
                    state = f.read().rsplit(")", 1)[1].split()[0]
                with open("/proc/%s/cmdline" % pid, "rb") as f:
                    ours = ours and b"jobs_edges.py" not in f.read()
            except OSError:
                continue
            if ours and state not in "ZX":
                found.append(int(pid))
        return found

    def over(self, store=None):
        """The end of each check: the store is whole, and nobody is left."""
        self.verify(store=store)
        self.until("processes are left: %s" % self.left(), lambda: not self.left())

    def one_row_each(self, batch, count, store=None):
        rows = self.lines("items", batch, store=store)
        assert [r["seq"] for r in rows] == list(range(count)), [r["seq"] for r in rows]
        return rows

    def values(self, dataset="default", store=None):
        return [v for _, v in self.dump(dataset, store=store)]

    def forget_tries(self):
        """Nothing was tried. The file keeps its place: who writes to it knows it by its name."""
        self.path("tries", "")

    def faster(self, fast):
        """From now on slow items are not."""
        for name, text in (("command.py", COMMAND), ("worker.py", WORKER)):
            self.path(name, text.replace("time.sleep", "str") if fast else text)

    def mounted(self, size):
        mount = self.path("m")
        os.makedirs(mount, exist_ok=True)
        if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=" + size, "tmpfs", mount], stderr=subprocess.DEVNULL).returncode:
            raise Skip("nothing can be mounted here")
        return mount


def sized(size):
    """One item, valid JSON and text, of exactly so many bytes."""
    head = '{"id":"%d","text":"' % size
    return head + "é" * ((size - len(head) - 2) // 2) + "x" * ((size - len(head) - 2) % 2) + '"}'


def rest(p):
    err = p.communicate(timeout=120)[1].decode("utf-8", "replace")
    return p.returncode, err


# ---- the disk ------------------------------------------------------------------------------------


def full_disk(lab, kind, stop):
    """The disk is full in the midst: the batch rests, and goes on when there is space; or is stopped, and goes on later."""
    mount = lab.mounted("8m")
    try:
        store = os.path.join(mount, "store")
        texts = ["%06d%s" % (i, "x" * 20000) for i in range(600)]
        f = lab.path("f.txt", "".join(t + "\n" for t in texts))
        args = (f, "--format", "lines", "--processor", "%s:cat" % kind if kind == "exec" else lab.processor[kind], "--jobs", "2", "--chunk", "20")
        p = lab.start("run", *args, "--progress", "plain", store=store)
        before = lab.until_counted(p, 20, store=store)

        def paused():
            q = subprocess.run([PENSTOCK, "--store", store, "status", "@running", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            return p.poll() is not None or q.returncode == 0 and json.loads(q.stdout)["committed"] < 600 and os.statvfs(mount).f_bavail < 64

        lab.until("the disk never is full", paused)
        time.sleep(0.7)
        assert p.poll() is None, rest(p)
        if stop:
            p.send_signal(signal.SIGTERM)
            status, err = rest(p)
            assert status in (143, 3) and "PEN410" in err, (status, err)
        subprocess.run(["mount", "-o", "remount,size=256m", mount], check=True)
        if not stop:
            status, err = rest(p)
            assert status == 0 and "PEN410" in err, (status, err)
        o = lab.load(*args, store=store)
        assert (o["items"], o["committed"]) == (600, 600) and before < 600, o
        assert lab.values(store=store) == [t.encode() for t in texts]
        lab.one_row_each(o["batch"], 600, store=store)
        if kind == "worker":
            # What was answered and not committed when the batch was stopped is asked again, nothing else.
            again = len(lab.tries()) - 600
            assert again >= 0 if stop else again == 0, again
            assert {s for s, _ in lab.tries()} == set(range(600)) and {a for _, a in lab.tries()} == {1}
        lab.over(store)
    finally:
        subprocess.run(["umount", "-l", mount])


@check
def a_full_disk_under_commands(lab):
    full_disk(lab, "exec", False)


@check
def a_full_disk_under_workers(lab):
    full_disk(lab, "worker", False)


@check
def a_full_disk_and_a_signal(lab):
    for kind in KINDS:
        full_disk(lab, kind, True)
        lab.forget_tries()


@check
def a_store_that_is_read_only(lab):
    mount = lab.mounted("32m")
    try:
        store = os.path.join(mount, "store")
        f = lab.path("f", "a\n")
        lab.job(f, "exec", "--format", "lines", store=store)
        lab.run("submit", f, "--format", "lines", "--into", "w", "--processor", lab.processor["worker"], store=store)
        subprocess.run(["mount", "-o", "remount,ro", mount], check=True)
        n = len(lab.tries())
        for kind in KINDS:
            p = lab.run("run", f, "--format", "lines", "--into", "x", "--processor", lab.processor[kind], store=store, rc=3)
            assert "error[PEN413]" in p.err and "read-only" in p.err, p.err
        for args in (("submit", f, "--format", "lines", "--into", "y"), ("work",), ("cancel", "--all"), ("retry", "@last")):
            p = lab.run(*args, store=store, rc=3)
            assert "error[PEN413]" in p.err, (args, p.err)
        assert len(lab.tries()) == n, "no command ran for nothing"
        subprocess.run(["mount", "-o", "remount,rw", mount], check=True)
        lab.run("work", "--min-free-disk", "0", store=store)  # a small one
        assert lab.values("w", store=store) == [b"a"]
        lab.over(store)
    finally:
        subprocess.run(["umount", "-l", mount])


# ---- items ---------------------------------------------------------------------------------------


@check
def large_items(lab):
    """Above what a chunk holds: 256 KiB, a little more, 1 MiB, 4 MiB, small ones between them."""
    sizes = [(256 << 10) - 1, 256 << 10, (256 << 10) + 1, 100, 1 << 20, 60, (4 << 20) - 1, 4 << 20]
    texts = [sized(n) for n in sizes]
    assert [len(t.encode()) for t in texts] == sizes
    f = lab.path("f.ndjson", "".join(t + "\n" for t in texts))
    for kind in KINDS:
        for into, form in ((kind + "-l", "lines"), (kind + "-j", "ndjson")):
            o = lab.job(f, kind, "--format", form, "--into", into, *(("--key", "/id") if form == "ndjson" else ()))
            assert o["committed"] == len(texts), o
            got = dict(lab.dump(into))
            for i, t in enumerate(texts):
                v = got[str(sizes[i]).encode() if form == "ndjson" else be(i)]
                # Workers say JSON in their own words.
                assert v == t.encode() or form == "ndjson" and json.loads(v) == json.loads(t), (kind, form, i, len(v))
            lab.one_row_each(o["batch"], len(texts))
    p = lab.run("get", "exec-l", str(len(texts) - 1))
    assert p.stdout == texts[-1].encode()
    lab.over()


@check
def large_items_that_fail(lab):
    """What waits for its next try is in the store with all of its bytes, however many; a kill does not take them."""
    text = "until" + "x" * (2 << 20)
    f = lab.path("f", text + "\nsmall\n")
    command = "exec:sh -c 'if [ $PENSTOCK_ATTEMPT -lt 3 ] && [ $PENSTOCK_ITEM_SEQ = 0 ]; then exit 1; fi; sha256sum'"
    o = lab.load(f, "--format", "lines", "--backoff", "0.02s", "--processor", command)
    assert o["committed"] == 2 and lab.values()[0].split()[0] == hashlib.sha256(text.encode()).hexdigest().encode(), o
    lab.over()
    p = lab.start("run", f, "--format", "lines", "--into", "k", "--backoff", "1s", "--processor", command)
    lab.until("it waits", lambda: lab.lines("items", "@last", "--state", "retrying") if lab.until_counted(p, 1) else 0)
    p.kill()
    p.wait()
    lab.verify()
    o = lab.load(f, "--format", "lines", "--into", "k", "--backoff", "1s", "--processor", command)
    assert o["resumed"] and o["committed"] == 2 and [r["attempts"] for r in lab.one_row_each(o["batch"], 2)] == [3, 1], o
    assert lab.values("k")[0].split()[0] == hashlib.sha256(text.encode()).hexdigest().encode()
    lab.over()


@check
def tables(lab):
    """Rows of a table are objects for a processor: with --value json as without it; raw is the row as it stands."""
    f = lab.path("t.csv", 'id,name,n\n1,"a, b",5\n2,"line\nbreak",6\n3,é,7\n')
    want = {b"1": {"id": "1", "name": "a, b", "n": "5"}, b"2": {"id": "2", "name": "line\nbreak", "n": "6"}, b"3": {"id": "3", "name": "é", "n": "7"}}
    for kind in KINDS:
        for more in ((), ("--value", "json")):
            into = kind + str(len(more))
            o = lab.job(f, kind, "--key", "id", "--into", into, *more)
            assert o["committed"] == 3, o
            assert {k: json.loads(v) for k, v in lab.dump(into)} == want, lab.dump(into)
        lab.job(f, kind, "--key", "id", "--value", "raw", "--into", kind + "raw")
        assert dict(lab.dump(kind + "raw")) == {b"1": b'1,"a, b",5', b"2": b'2,"line\nbreak",6', b"3": "3,é,7".encode()}
    g = lab.path("bad.csv", "id,n\n1,2\n3\n4,5\n")
    o = lab.job(g, "worker", "--key", "id", "--into", "b", rc=1)
    rows = lab.one_row_each(o["batch"], 3)
    assert [r["state"] for r in rows] == ["committed", "rejected", "committed"] and rows[1]["code"] == "PEN1053", rows
    lab.over()


@check
def packed_sources(lab):
    """gzip: what is tried later is read from where it was unpacked to, not from the file's bytes."""
    texts = ["%04d %s" % (i, "y" * (i * 37 % 900)) for i in range(400)]
    f = lab.path("f.gz", gzip.compress("".join(t + "\n" for t in texts).encode()))
    for kind in KINDS:
        o = lab.job(f, kind, "--format", "lines", "--into", kind)
        assert o["committed"] == 400 and lab.values(kind) == [t.encode() for t in texts], o
        lab.one_row_each(o["batch"], 400)
    o = lab.load(f, "--format", "lines", "--into", "later", "--backoff", "0.01s", "--processor", "exec:sh -c 'test $PENSTOCK_ATTEMPT = 2 && exec cat'")
    assert lab.values("later") == [t.encode() for t in texts] and {r["attempts"] for r in lab.one_row_each(o["batch"], 400)} == {2}
    g = lab.path("j.ndjson.gz", gzip.compress(b"".join(b'{"id":%d}\n' % i for i in range(50))))
    assert lab.job(g, "worker", "--key", "/id", "--into", "j")["committed"] == 50 and len(lab.dump("j")) == 50
    lab.over()


# ---- keys ----------------------------------------------------------------------------------------


@check
def keys(lab):
    """What each kind of key is, and that commands and workers are told it."""
    rows = ['{"id":"k%d","n":{"m":%d}}' % (i, i) for i in range(20)]
    f = lab.path("f.ndjson", "".join(r + "\n" for r in rows))
    offsets = [sum(len(r) + 1 for r in rows[:i]) for i in range(20)]
    wanted = {"@seq": [be(i) for i in range(20)], "@offset": [be(o) for o in offsets], "/id": [b"k%d" % i for i in range(20)],
              "/n/m": [b"%d" % i for i in range(20)], "@content": None}
    for kind in KINDS:
        for key, want in wanted.items():
            into = kind + key.replace("/", "-")
            o = lab.job(f, kind, "--format", "ndjson", "--key", key, "--into", into)
            got = dict(lab.dump(into))
            assert o["committed"] == 20 and len(got) == 20, (kind, key, o)
            if want:
                for k, r in zip(want, rows):
                    assert json.loads(got[k]) == json.loads(r), (kind, key, k)
            else:
                assert all(len(k) == 16 for k in got) and sorted(map(json.loads, got.values()), key=str) == sorted(map(json.loads, rows), key=str)
            lab.one_row_each(o["batch"], 20)
        # The same again goes where it was: nothing is there twice.
        assert lab.job(f, kind, "--format", "ndjson", "--key", "@content", "--into", kind + "@content", "--fresh")["committed"] == 20
        assert len(lab.dump(kind + "@content")) == 20
    o = lab.load(f, "--format", "ndjson", "--key", "@offset", "--into", "told", "--processor", "exec:printf '%s' {key}")
    assert [v.decode() for v in lab.values("told")] == ["%016x" % n for n in offsets], lab.values("told")
    # A record without its key is rejected before any command sees it.
    g = lab.path("g.ndjson", '{"id":1}\n{"x":1}\n{"id":[]}\n')
    n = len(lab.tries())
    o = lab.job(g, "exec", "--format", "ndjson", "--key", "/id", "--into", "g", rc=1)
    assert [r["state"] for r in lab.one_row_each(o["batch"], 3)] == ["committed", "rejected", "rejected"] and len(lab.tries()) == n + 1
    lab.over()


@check
def repeated_keys(lab):
    """Which of two items with one key stays is said by their order in the source, not by which ends first."""
    text = "".join('{"k":"%s","v":"%s"}\n' % kv for kv in (("a", "first"), ("b", "only"), ("a", "second"), ("c", "only"), ("a", "third")))
    f = lab.path("f.ndjson", text)
    for kind in KINDS:
        for policy, rc, counts in (("replace", 0, dict(committed=5, duplicates=2)), ("keep", 0, dict(committed=3, skipped=2)),
                                   ("reject", 1, dict(committed=3, rejected=2))):
            into = kind + policy
            o = lab.job(f, kind, "--format", "ndjson", "--key", "/k", "--on-duplicate", policy, "--into", into, "--jobs", "1", rc=rc)
            assert all(o[k] == v for k, v in counts.items()), (kind, policy, o)
            got = {k: json.loads(v)["v"] for k, v in lab.dump(into)}
            assert set(got) == {b"a", b"b", b"c"} and (got[b"a"] in ("third", "second", "first")), got
            rows = lab.one_row_each(o["batch"], 5)
            kept = [r["seq"] for r in rows if r["state"] == "committed" and r["key"] == "a"]
            assert len(kept) == (3 if policy == "replace" else 1), rows
            assert got[b"a"] in [("first", None, "second", None, "third")[i] for i in kept], (got, kept)
            # Again over what is there.
            o = lab.job(f, kind, "--format", "ndjson", "--key", "/k", "--on-duplicate", policy, "--into", into, "--fresh", rc=rc)
            assert (o["committed"], len(lab.dump(into))) == ((5, 3) if policy == "replace" else (0, 3)), o
    lab.over()


# ---- sources and what becomes of them -------------------------------------------------------------


@check
def what_becomes_of_sources(lab):
    for kind in KINDS:
        for i in range(6):
            lab.path("%s/a/%d.txt" % (kind, i), "file %d\n" % i)
        args = (lab.path(kind), "--format", "files", "--key", "@path", "--into", kind, "--on-success", "move:" + lab.path("done-" + kind))
        o = lab.job(args[0], kind, *args[1:])
        assert o["committed"] == 6, o
        assert not os.listdir(os.path.join(args[0], "a")) and sorted(os.listdir(lab.path("done-%s/a" % kind))) == ["%d.txt" % i for i in range(6)]
        # A failed item keeps all of them where they are; a retry that succeeds lets them go.
        f = lab.path("f-" + kind, "ok\nfail\n")
        o = lab.job(f, kind, "--format", "lines", "--into", kind + "2", "--max-retries", "0", "--on-success", "delete", rc=1)
        assert os.path.exists(f) and o["failed"] == 1, o
        g = lab.path("g-" + kind, "ok\nfine\n")
        lab.job(g, kind, "--format", "lines", "--into", kind + "3", "--on-success", "delete")
        assert not os.path.exists(g)
        # A run that is killed before the last item keeps them, one that ends the batch deletes them.
        h = lab.path("h-" + kind, "ok\nslow 600\n")
        p = lab.start("run", h, "--format", "lines", "--into", kind + "4", "--processor", lab.processor[kind], "--on-success", "delete", "--jobs", "2")
        lab.until_counted(p, 1)
        p.kill()
        p.wait()
        assert os.path.exists(h)
        lab.until("children end", lambda: not lab.left())
        lab.faster(True)
        o = lab.job(h, kind, "--format", "lines", "--into", kind + "4", "--on-success", "delete", "--jobs", "2")
        assert o["resumed"] and o["committed"] == 2 and not os.path.exists(h), o
        lab.faster(False)
    lab.over()


@check
def streams_with_a_name(lab):
    """stdin with --idempotency-key: killed in the midst, the same stream goes on behind what ended; another one is refused."""
    texts = ["slow 0.01 %d" % i for i in range(80)]
    data = "".join(t + "\n" for t in texts).encode()
    for kind in KINDS:
        args = ("-", "--format", "lines", "--into", kind, "--idempotency-key", "k-" + kind, "--processor", lab.processor[kind], "--jobs", "2",
                "--chunk", "5")
        with open(lab.path("data", data), "rb") as stdin:
            p = lab.start("run", *args, "--progress", "none", stdin=stdin)
            lab.until_counted(p, 10)
            p.kill()
            p.wait()
        lab.verify()
        ended = {r["seq"] for r in lab.lines("items", "@last")}
        n = len(lab.tries())
        p = lab.run("run", *args, stdin=b"something else\n" * 80, rc=(3,))
        assert "PEN308" in p.err and len(lab.tries()) == n, p.err
        o = lab.load(*args, stdin=data)
        assert o["resumed"] and (o["items"], o["committed"]) == (80, 80), o
        assert lab.values(kind) == [t.encode() for t in texts]
        assert not ended & {s for s, _ in lab.tries()[n:]}, "what ended is not tried again"
        n = len(lab.tries())
        assert lab.load(*args, stdin=b"")["batch"] == o["batch"] and len(lab.tries()) == n, "it is done"
        lab.one_row_each(o["batch"], 80)
    lab.over()


@check
def durabilities(lab):
    for durability in ("group", "relaxed"):
        for kind, count in (("exec", 400), ("worker", 4000)):
            texts = ["line %d" % i for i in range(count)]
            f = lab.path("f-" + kind, "".join(t + "\n" for t in texts))
            into = kind + durability
            command = "exec:cat" if kind == "exec" else lab.processor[kind]
            args = (f, "--format", "lines", "--into", into, "--processor", command, "--durability", durability, "--chunk", "10", "--jobs", "2")
            p = lab.start("run", *args, "--progress", "none", "--pause-ms", "40")
            lab.until_counted(p, 1)
            p.kill()
            p.wait()
            lab.verify()
            o = lab.load(*args)
            assert o["resumed"] and (o["items"], o["committed"]) == (count, count) and lab.values(into) == [t.encode() for t in texts], o
            lab.one_row_each(o["batch"], count)
    lab.over()


# ---- other processes -----------------------------------------------------------------------------


@check
def a_second_process_wants_the_same(lab):
    """One batch, two commands: the second one says who has it and ends; none of the items is tried by it."""
    f = lab.path("f", "slow 0.02\n" * 100)
    for kind in KINDS:
        args = (f, "--format", "lines", "--into", kind, "--processor", lab.processor[kind], "--jobs", "2")
        p = lab.start("run", *args, "--progress", "none")
        lab.until_counted(p, 2)
        q = lab.run("run", *args, rc=75)
        assert str(p.pid) in q.err, q.err
        q = lab.run("work")  # a worker leaves it alone
        assert rest(p)[0] == 0
        o = lab.load(*args)
        assert o["committed"] == 100, o
        lab.one_row_each(o["batch"], 100)
        # Pairs that begin at once: one runs it, whoever that is, and each item is tried once.
        lab.forget_tries()
        pair = [lab.start("run", args[0], "--format", "lines", "--into", kind + "pair", *args[5:], "--quiet") for _ in range(2)]
        ends = [rest(x) for x in pair]
        assert sorted(x[0] for x in ends) in ([0, 0], [0, 75]), ends
        assert sorted(s for s, _ in lab.tries()) == list(range(100)), "each item once"
        lab.verify()
    lab.over()


@check
def two_workers_want_the_same(lab):
    """`work` twice with one batch and worker processors: it is one's, and the other one has nothing to do."""
    f = lab.path("f", "".join("slow 0.01 %d\n" % i for i in range(60)))
    a = lab.run("submit", f, "--format", "lines", "--processor", lab.processor["worker"], "--jobs", "2").stdout.decode().strip()
    ends = [rest(x) for x in [lab.start("work") for _ in range(3)]]
    assert {x[0] for x in ends} == {0}, ends
    lab.run("work")
    assert sorted(s for s, _ in lab.tries()) == list(range(60))
    lab.one_row_each(a, 60)
    lab.over()


# ---- signals -------------------------------------------------------------------------------------


@check
def two_signals(lab):
    """The first one lets end what runs, the second one ends it; the items that ran were not tried, and are tried again."""
    text = "ok\n" * 6 + "slow 600\n" * 2
    for kind in KINDS:
        for signals, status in (((signal.SIGINT, signal.SIGINT), 130), ((signal.SIGTERM, signal.SIGTERM), 143), ((signal.SIGINT, signal.SIGTERM), None)):
            f = lab.path("f-%s-%s" % (kind, status), text)
            lab.forget_tries()
            into = "%s%s" % (kind, status)
            args = ("--format", "lines", "--into", into, "--jobs", "2", "--window", "1")
            args = args if kind == "worker" else args[:-2]
            p = lab.start("run", f, *args, "--processor", lab.processor[kind], "--progress", "none")
            lab.until_counted(p, 6)
            lab.until("the long ones have begun", lambda: len(lab.tries()) == 8)
            p.send_signal(signals[0])
            time.sleep(0.4)
            assert p.poll() is None, "it waits for what runs"
            p.send_signal(signals[1])
            code, err = rest(p)
            assert code in (130, 143) and (status is None or code == status), (code, err)
            lab.until("children end: %s" % lab.left(), lambda: not lab.left())
            lab.verify()
            assert {r["seq"] for r in lab.lines("items", "@last")} == set(range(6))
            lab.faster(True)
            o = lab.job(f, kind, *args)
            assert o["resumed"] and o["committed"] == 8 and {r["attempts"] for r in lab.one_row_each(o["batch"], 8)} == {1}, o
            lab.faster(False)
    lab.over()


@check
def two_signals_for_a_worker_process(lab):
    """The same of `work`, with batches of both kinds at once and one that waits for its next try."""
    ids = [lab.run("submit", lab.path("f-" + kind, "ok\nslow 600\nfail\n"), "--format", "lines", "--into", kind, "--processor", lab.processor[kind],
                   "--jobs", "2", "--backoff", "1h").stdout.decode().strip() for kind in KINDS]
    p = lab.start("work", "--forever", "--batches", "2")
    lab.until("all are tried", lambda: len(lab.tries()) == 6)
    p.send_signal(signal.SIGTERM)
    time.sleep(0.4)
    p.send_signal(signal.SIGTERM)
    assert rest(p)[0] == 143
    lab.until("children end: %s" % lab.left(), lambda: not lab.left())
    lab.verify()
    for b in ids:
        assert {r["seq"]: (r["state"], r["attempts"]) for r in lab.lines("items", b)} == {0: ("committed", 1), 2: ("retrying", 1)}
    lab.run("cancel", "--all")
    lab.over()


# ---- the launcher --------------------------------------------------------------------------------


@check
def a_launcher_that_is_missing(lab):
    """A command under another name looks for its launcher elsewhere: what is missing or is none is said, and nothing began."""
    copy = lab.path("other")
    subprocess.run(["cp", PENSTOCK, copy], check=True)
    f = lab.path("f", "a\nb\n")
    for kind in KINDS:
        args = [copy, "--store", lab.store, "run", f, "--format", "lines", "--into", kind, "--processor", lab.processor[kind]]
        for launcher, path in ((lab.path("nowhere"), "/usr/bin:/bin"), ("", lab.path("empty")), ("/bin/true", "/usr/bin:/bin"), ("/etc/passwd", "/usr/bin:/bin")):
            env = dict(os.environ, PENSTOCK_LAUNCHER=launcher, PATH=path)
            p = subprocess.run(args, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, env=env)
            assert p.returncode == 3 and b"PEN331" in p.stderr, (launcher, p.returncode, p.stderr)
        assert not lab.tries()
        lab.verify()
        p = subprocess.run(args, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60, env=dict(os.environ, PENSTOCK_LAUNCHER=PENSTOCK))
        assert p.returncode == 0 and lab.values(kind) == [b"a", b"b"], p.stderr
        lab.forget_tries()
    lab.over()


@check
def a_launcher_that_dies(lab):
    """The batch stops, says it, and goes on with the next command; what had begun was no try."""
    for kind in KINDS:
        f = lab.path("f-" + kind, "ok\n" * 4 + "slow 600\n" * 2)
        args = (f, "--format", "lines", "--into", kind, "--processor", lab.processor[kind], "--jobs", "2", *(("--window", "1") if kind == "worker" else ()))
        p = lab.start("run", *args, "--progress", "none")
        lab.until_counted(p, 4)
        lab.until("the long ones have begun", lambda: len(lab.tries()) == 6)
        for pid in lab.left():
            with open("/proc/%d/cmdline" % pid, "rb") as g:
                if g.read().split(b"\0")[1:2] == [b"launcher"]:
                    os.kill(pid, signal.SIGKILL)
        status, err = rest(p)
        assert status == 3 and "PEN331" in err, (status, err)
        assert not lab.left(), lab.left()
        lab.verify()
        lab.faster(True)
        o = lab.load(*args)
        assert o["resumed"] and o["committed"] == 6 and {r["attempts"] for r in lab.one_row_each(o["batch"], 6)} == {1}, o
        lab.faster(False)
        lab.forget_tries()
    lab.over()


if __name__ == "__main__":
    sys.exit(judge_all(Edges))
