#!/usr/bin/python3
# plan - whatever `plan` foretells, `run` must then report; and `plan` must leave no trace
#
#   tests/cli/plan.py PENSTOCK [WORD]      only checks whose name contains WORD
#
# Environment: PEN_SEED (printed; repeats a run).
import concurrent.futures
import gzip
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

PENSTOCK = os.path.abspath(sys.argv[1])
WORD = sys.argv[2] if len(sys.argv) > 2 else ""
SEED = int(os.environ.get("PEN_SEED") or random.randrange(1 << 30))
CHECKS = []
COUNTERS = ("items", "committed", "rejected", "failed", "skipped", "duplicates", "bytes")
PLACE = ("seq", "source", "line", "offset", "column", "code", "message", "raw_total")


def check(f):
    CHECKS.append(f)
    return f


def traces(path):
    """All that lies below path: names, kinds, times of change, and bytes. lock.mdb is LMDB's table of
    readers, where every reader leaves its number: of it only that it is there."""
    rows = {}
    for root, dirs, files in os.walk(path):
        for name in dirs + files:
            p = os.path.join(root, name)
            st = os.lstat(p)
            row = [st.st_mode, st.st_ino]
            if name != "lock.mdb":
                row += [st.st_size, st.st_mtime_ns, st.st_ctime_ns]
                if os.path.isfile(p):
                    with open(p, "rb") as f:
                        row.append(hashlib.sha256(f.read()).hexdigest())
            rows[os.path.relpath(p, path)] = row
    return rows


class Lab:
    """A directory of its own, and the command in it."""

    def __init__(self, name):
        self.dir = tempfile.mkdtemp(prefix="penstock-plan-%s-" % name)
        self.store = os.path.join(self.dir, "store")
        self.random = random.Random(SEED)

    def path(self, name, data=None):
        p = os.path.join(self.dir, name)
        if data is not None:
            os.makedirs(os.path.dirname(p), exist_ok=True)
            with open(p, "wb") as f:
                f.write(data if isinstance(data, bytes) else data.encode())
        return p

    def call(self, *args, rc=0, store=None, stdin=b"", **kw):
        p = subprocess.run([PENSTOCK, "--store", store or self.store, *map(str, args)], input=stdin, capture_output=True,
                           timeout=120, **kw)
        p.err = p.stderr.decode("utf-8", "replace")
        assert rc is None or p.returncode == rc, "%s: exit %d, not %s\n%s" % (args, p.returncode, rc, p.err[-1500:])
        return p

    def plan(self, *args, rc=None, **kw):
        """plan --json, and that it left no trace."""
        before = traces(self.dir)
        p = self.call("plan", *args, "--json", "--progress", "none", rc=rc, **kw)
        assert traces(self.dir) == before, "plan left a trace"
        o = json.loads(p.stdout)
        assert o["exit"] == p.returncode, (o["exit"], p.returncode)
        assert o["items"] == o["committed"] + o["rejected"] + o["failed"] + o["skipped"], o
        o["err"] = p.err
        return o

    def run(self, *args, rc=None, **kw):
        p = self.call("run", *args, "--json", "--progress", "none", rc=rc, **kw)
        o = json.loads(p.stdout)
        o["exit"] = p.returncode
        return o

    def rows(self, batch, **kw):
        return [json.loads(x) for x in self.call("items", batch, "--state", "rejected", "--json", **kw).stdout.splitlines()]

    def both(self, *args, **kw):
        """The plan, and the run after it, which must be the same."""
        said, done = self.plan(*args, **kw), self.run(*args, **kw)
        assert said["exact"] and said["whole"], said
        for name in ("exit",) + COUNTERS:
            assert said[name] == done[name], "%s: plan %s, run %s\n%s" % (name, said[name], done[name], args)
        rows = self.rows(done["batch"])
        for r, s in zip(rows, said["rejects"]):
            assert all(r[n] == s[n] for n in PLACE), "run\n%s\nplan\n%s" % (r, s)
            assert all(r.get(n) == s.get(n) for n in ("key", "key_base64")), (r, s)
            if r["raw_total"] <= 512:
                assert all(r.get(n) == s.get(n) for n in ("raw", "raw_base64")), (r, s)
        kept = len(said["rejects"])
        assert kept == len(rows) or (kept >= 1000 and len(rows) > 1000), (kept, len(rows))
        return said, done

    def records(self, n, distinct=None):
        r = self.random
        return "".join('{"id":"%08x","n":%d,"text":"%s"}\n' % (r.randrange(distinct) if distinct else r.getrandbits(32), i,
                                                              "x" * r.randrange(200)) for i in range(n))


@check
def counts_and_places(lab):
    good = lab.records(3000)
    bad = '{"id":1,\n{"id":"a"} x\n\xff\xfe\n{"id":""}\n{"x":1}\n{"id":"%s"}\n\n  \n"\\ud800"\n' % ("k" * 600)
    f = lab.path("f.ndjson", (good + bad + good[:2000].rsplit("\n", 1)[0] + "\n" + bad).encode("latin1") + b'{"id":"last"}')
    for i, args in enumerate((["--key", "/id"], ["--key", "@seq"], ["--key", "@offset"], ["--key", "@content"],
                              ["--key", "/id", "--validate", "fast"], ["--format", "lines"],
                              ["--key", "/id", "--on-duplicate", "keep"], ["--key", "/id", "--on-duplicate", "reject"],
                              ["--key", "/id", "--chunk-bytes", "1KiB"], ["--key", "/id", "--chunk", "7"],
                              ["--key", "/id", "--io", "threads", "--jobs", "3"])):
        said, done = lab.both(f, "--into", "d%d" % i, *args)
        assert said["fate"] == "new" and said["batch"] is None, said
        assert (done["rejected"] > 0) == (args[0] != "--format"), done
    # Once more into what is there now: keys are in the dataset already.
    for i, policy in enumerate(("replace", "keep", "reject")):
        said, done = lab.both(f, "--into", "d0", "--key", "/id", "--on-duplicate", policy, "--fresh")
        assert said["present"] > 2000 and said["repeated"] > 5, said


@check
def duplicates_in_large(lab):
    f = lab.path("f.ndjson", lab.records(60000, distinct=20000))
    for policy in ("replace", "keep", "reject"):
        said, done = lab.both(f, "--key", "/id", "--on-duplicate", policy, "--into", policy)
        assert said["repeated"] > 35000 and said["present"] == 0, said


@check
def other_sources(lab):
    for i in range(300):
        lab.path("t/d%02d/f%03d" % (i % 17, i), b"x" * (i * 7))
    lab.path("t/large", b"L" * 700000)
    os.symlink("d00", lab.path("t/link"))
    os.mkfifo(lab.path("t/fifo"))
    said, _ = lab.both(lab.path("t"), "--key", "@path", "--into", "t")
    assert [(s["format"], s["files"], s["items"]) for s in said["sources"]] == [("files", 301, 301)], said["sources"]
    lab.both(lab.path("t"), lab.path("t/d00"), "--key", "@content", "--into", "c", "--on-duplicate", "keep")
    a, b = lab.path("a.txt", "one\r\n\ntwo\nlast"), lab.path("b.ndjson", lab.records(500) + "oops\n")
    said, _ = lab.both(a, b, "--key", "@offset", "--into", "m")
    assert [s["format"] for s in said["sources"]] == ["lines", "ndjson"], said["sources"]
    assert [s["rejected"] for s in said["sources"]] == [0, 1] and said["sources"][1]["items"] == 501
    lab.both(lab.path("empty", b""), "--into", "e")
    big = '{"id":"big","s":"%s"}\n' % ("y" * 3000000)
    said, _ = lab.both(lab.path("big.ndjson", '{"id":1}\n' + big + '"%s"\n' % ("z" * 5000000) + '{"id":2}\n'), "--into", "b",
                       "--max-record", "4MiB")
    assert said["codes"] == [{"code": "PEN1040", "items": 1}] and said["longest_value"] == len(big) - 1, said
    # stdin and lists: the run reads them again.
    text = lab.records(100).encode() + b"bad\n"
    said = lab.plan("-", "--format", "ndjson", "--into", "s", stdin=text, rc=1)
    done = lab.run("-", "--format", "ndjson", "--into", "s", stdin=text, rc=1)
    assert all(said[n] == done[n] for n in COUNTERS) and said["rejects"][0]["source"] == "-", (said, done)
    lab.both("@" + lab.path("list", a + "\n" + b + "\n"), "--into", "l")


@check
def formats(lab):
    rows = "".join("%d;%s\n" % (i, "name %d" % i) for i in range(2000))
    table = "id;name\n" + rows + "1;2;3\n"
    values = ",\n".join('{"id":%d}' % i for i in range(3000))
    tried = (("t.csv", table, ["--key", "id"], "csv"), ("t.csv.gz", gzip.compress(table.encode()), ["--key", "name"], "csv"),
             ("a.json", "[%s]" % values, ["--key", "/id"], "json"), ("cut.json", "[%s" % values, [], "json"),
             ("f.bin", b"".join(n.to_bytes(4, "big") + b"x" * n for n in range(300)) + b"\0\0", ["--format", "frames:u32be"], "frames"),
             ("z.ndjson.gz", gzip.compress(lab.records(3000).encode()), ["--key", "/id"], "ndjson"),
             ("cut.gz", gzip.compress(lab.records(3000).encode())[:-2000], ["--format", "ndjson"], "ndjson"),
             ("u16.txt", "\ufeffone\ntwo\n".encode("utf-16-le"), ["--format", "lines"], "lines"),
             ("list", "one\n\ntwo\n", ["--items"], "lines"))
    for name, data, args, form in tried:
        f = lab.path(name, data)
        said, done = lab.both(*args, f, "--into", name) if args == ["--items"] else lab.both(f, "--into", name, *args)
        assert said["sources"][0]["format"] == form and said["items"] > 0, (name, said["sources"])
        assert ("delimiter ';'" in said["sources"][0]["said"]) == (form == "csv"), said["sources"]
        assert (done["rejected"] == 0) == (name not in ("t.csv", "t.csv.gz", "cut.json", "cut.gz", "f.bin")), (name, done)
    # A stream's format shows only when it is read.
    said = lab.plan("-", "--key", "id", stdin=table.encode(), rc=1)
    assert said["sources"][0]["format"] == "csv" and "delimiter ';'" in said["sources"][0]["said"], said["sources"]
    # One that is known by a key: what is committed of it is read again, and must be the same.
    text = "".join("%d\n" % i for i in range(20000)).encode()
    args = ["-", "--idempotency-key", "k", "--format", "lines", "--into", "s"]
    p = subprocess.Popen([PENSTOCK, "--store", lab.store, "run", *args, "--chunk", "100", "--pause-ms", "50"],
                         stdin=open(lab.path("in", text)), stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    p.send_signal(signal.SIGINT)
    assert p.wait(60) == 130
    assert lab.plan(*args, stdin=text[2:], rc=3)["code"] == "PEN308"
    said, done = lab.both(*args, stdin=text)
    assert said["fate"] == "resume" and said["items"] == 20000 and 0 < said["resumed_items"] < 20000, said


@check
def nothing_becomes_of_sources(lab):
    f = lab.path("f", b"1\n")
    for what in ("delete", "move:" + lab.path("done")):
        said = lab.plan(f, "--on-success", what, rc=0)
        assert said["items"] == 1 and os.path.exists(f) and not os.path.exists(lab.path("done"))
    # The control.
    lab.run(f, "--on-success", "delete", rc=0)
    assert not os.path.exists(f)


@check
def which_batch(lab):
    f = lab.path("f.ndjson", lab.records(20000) + "bad\n")
    args = [f, "--key", "/id", "--allow-rejects"]
    assert lab.plan(*args, rc=0)["fate"] == "new" and not os.path.exists(lab.store)
    p = subprocess.Popen([PENSTOCK, "--store", lab.store, "run", *args, "--chunk", "100", "--pause-ms", "50"],
                         stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    # Somebody runs it: refused, as run would be. (The running process leaves traces of its own.)
    busy = lab.call("plan", *args, "--json", rc=75)
    o = json.loads(busy.stdout)
    assert o["fate"] == "refused" and o["code"] == "PEN306" and o["batch"] and str(p.pid) in busy.err, busy.err
    p.send_signal(signal.SIGINT)
    assert p.wait(60) == 130
    said, done = lab.both(*args)
    assert said["fate"] == "resume" and said["batch"] == done["batch"] and done["resumed"], said
    assert 0 < said["resumed_items"] < 20001 and said["sources"][0]["items"] == 20001 - said["resumed_items"], said
    said = lab.plan(*args, rc=0)
    assert said["fate"] == "done" and said["batch"] == done["batch"], said
    assert all(said[n] == done[n] for n in COUNTERS), (said, done)
    assert lab.plan(f, "--key", "/id", rc=1)["fate"] == "done", "as that run's status was"
    assert lab.plan(*args, "--fresh")["fate"] == "new"
    with open(f, "a") as out:
        out.write("{}\n")
    said, done = lab.both(*args)
    assert said["fate"] == "anew" and said["present"] > 19000, said


@check
def refused(lab):
    f = lab.path("f.ndjson", lab.records(20000))
    p = subprocess.Popen([PENSTOCK, "--store", lab.store, "run", f, "--chunk", "100", "--pause-ms", "50"], stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    p.kill()
    p.wait()
    g = lab.path("g.ndjson", "{}\n")
    assert lab.plan(g, rc=75)["code"] == "PEN307", "another unfinished batch appends by @seq"
    lab.call("run", g, rc=75)
    with open(f, "a") as out:
        out.write("{}\n")
    said = lab.plan(f, rc=3)
    assert said["code"] == "PEN308" and "--fresh" in said["err"], said
    lab.call("run", f, rc=3)
    said, _ = lab.both(f, "--fresh")
    assert said["fate"] == "replace" and said["batch"], said
    assert lab.plan(f, "--key", "/id", rc=2)["code"] == "PEN314", "a dataset of numbers takes no texts"
    lab.call("run", f, "--key", "/id", rc=2)
    lab.call("plan", lab.path("missing"), rc=3)
    lab.call("plan", f, "--key", "nope", "--format", "ndjson", rc=2)
    lab.call("plan", f, "--no-such-option", rc=2)
    lab.path("foreign/file", b"x")
    lab.call("plan", f, rc=2, store=lab.path("foreign"))
    assert os.listdir(lab.path("foreign")) == ["file"]


@check
def thresholds(lab):
    f = lab.path("f", "".join("bad\n" if i % 10 == 9 else "%d\n" % i for i in range(1000)))
    for i, limit in enumerate(("0", "3", "5%", "0.5%")):
        args = [f, "--format", "ndjson", "--into", "d%d" % i, "--key", "@offset", "--max-rejects", limit]
        said, done = lab.plan(*args, rc=4), lab.run(*args, rc=4)
        assert said["stop_items"] == done["items"] and said["items"] == 1000 and said["rejected"] == 100, (said, done)
        assert [x["limit"] for x in said["limits"]] == ["max-rejects"], said["limits"]
    said, _ = lab.both(f, "--format", "ndjson", "--key", "@offset", "--max-rejects", "100")
    assert said["stop_items"] is None and said["limits"] == [] and said["exit"] == 1, said


@check
def size(lab):
    """The estimate of pages against the dataset as LMDB counts it: within 15 %."""
    shapes = (("sorted", 100000, lambda r, i: ("%016x" % i, r.randrange(200))),
              ("random", 60000, lambda r, i: ("%016x" % r.getrandbits(64), r.randrange(200))),
              ("wide", 20000, lambda r, i: ("%016x" % r.getrandbits(64), 300 + r.randrange(700))),
              ("overflow", 4000, lambda r, i: ("%016x" % r.getrandbits(64), 3000 + r.randrange(6000))))
    for name, n, make in shapes:
        text = "".join('{"id":"%s","t":"%s"}\n' % (k, "x" * v) for k, v in (make(lab.random, i) for i in range(n)))
        f = lab.path(name + ".ndjson", text)
        data = os.path.join(lab.store, "data.mdb")
        before = os.path.getsize(data) if os.path.exists(data) else 0
        said, _ = lab.both(f, "--key", "/id", "--into", name)
        # A new store and a batch's own rows are the 300 kB.
        assert os.path.getsize(data) - before <= said["file_bytes"] + 300000, (name, os.path.getsize(data) - before, said["file_bytes"])
        got = [json.loads(x) for x in lab.call("datasets", "--json").stdout.splitlines()]
        bytes_ = next(d["bytes"] for d in got if d["dataset"] == name)
        ratio = said["growth_bytes"] / bytes_
        assert 0.85 <= ratio <= 1.15, (name, ratio)
        assert (said["appended"] == n) == (name == "sorted"), (name, said["appended"])


@check
def pace(lab):
    f = lab.path("f.ndjson", lab.records(12000))
    assert lab.plan(f)["pace_batch"] is None
    done = lab.run(f, "--chunk", "1000", "--pause-ms", "20")
    g = lab.path("g.ndjson", lab.records(24000))
    said = lab.plan(g)
    expected = said["bytes"] / done["bytes"] * done["seconds"]
    assert said["pace_batch"] == done["batch"] and 0.5 < said["pace_s"] / expected < 1.5, (said["pace_s"], expected)
    # Others are no measure.
    assert lab.plan(g, "--key", "/id", "--into", "other")["pace_s"] is None
    assert lab.plan(g, "--durability", "group")["pace_s"] is None


@check
def small_disk(lab):
    mount = lab.path("m")
    os.mkdir(mount)
    if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", mount], stderr=subprocess.DEVNULL).returncode:
        return
    try:
        f = lab.path("f.ndjson", lab.records(60000))
        said = lab.plan(f, store=os.path.join(mount, "store"), rc=0)
        assert [x["limit"] for x in said["limits"]] == ["disk"] and 0 < said["free_disk_bytes"] <= 4 << 20, said["limits"]
        assert lab.plan(f, rc=0)["limits"] == []
        with open(os.path.join(mount, "filler"), "wb") as out:
            out.write(b"x" * (4 << 20))
        said = lab.plan(f, store=os.path.join(mount, "store"), rc=0)
        assert said["free_disk_bytes"] == 0 and said["limits"][0]["code"] == "PEN410", said
    finally:
        subprocess.run(["umount", "-l", mount])


@check
def no_store_is_made(lab):
    f = lab.path("in/f.ndjson", lab.records(10))
    home = lab.path("home")
    os.mkdir(home)
    env = {"HOME": home, "PATH": os.environ["PATH"]}
    p = subprocess.run([PENSTOCK, "plan", f], capture_output=True, env=env, cwd=lab.dir, timeout=60)
    assert p.returncode == 0 and os.listdir(home) == [], (p.returncode, os.listdir(home))
    text = p.stdout.decode()
    assert "10 items" in text and "(to be made)" in text and "ndjson" in text, text
    # The control: run does make one, and the comparison of traces sees it.
    before = traces(home)
    p = subprocess.run([PENSTOCK, "run", f], capture_output=True, env=env, cwd=lab.dir, timeout=60)
    assert p.returncode == 0 and traces(home) != before
    store = os.path.join(home, ".local/share/penstock")
    before = traces(store)
    lab.call("plan", f, store=store)
    assert traces(store) == before
    with open(os.path.join(store, "data.mdb"), "r+b") as db:
        db.seek(3000)
        db.write(b"!")
    assert traces(store) != before
    # Opening a store without its lock file would make one.
    os.unlink(os.path.join(store, "lock.mdb"))
    p = lab.call("plan", f, store=store)
    assert "lock.mdb" in p.err and not os.path.exists(os.path.join(store, "lock.mdb")), p.err


@check
def ctrl_c_ends_it_at_once(lab):
    os.mkfifo(lab.path("fifo"))
    hold = os.open(lab.path("fifo"), os.O_RDWR)
    for sig, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        p = subprocess.Popen([PENSTOCK, "--store", lab.store, "plan", lab.path("fifo"), "--format", "lines"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(0.3)
        assert p.poll() is None
        begun = time.monotonic()
        p.send_signal(sig)
        out, _ = p.communicate(timeout=20)
        assert p.returncode == status and out == b"" and time.monotonic() - begun < 2, (p.returncode, out)
    os.close(hold)


@check
def progress_and_people(lab):
    f = lab.path("f.ndjson", lab.records(1000) + "bad\n" * 3)
    p = lab.call("plan", f, "--key", "/id", "--progress", "json", rc=1)
    assert json.loads(p.err.splitlines()[-1] if p.err.splitlines()[-1].startswith("{") else "{}") is not None
    text = p.stdout.decode()
    for word in ("f.ndjson", "1,003 items", "3 rejected", "PEN1042", "duplicates", "size", "time"):
        assert word in text, (word, text)
    assert "error[PEN1042]" in p.err and ":1001:1" in p.err, p.err
    assert lab.call("plan", f, "--quiet", rc=1).err == ""
    assert "what run would do" in lab.call("plan", "--help").stdout.decode()


def judge(f):
    lab = Lab(f.__name__)
    try:
        f(lab)
        return f.__name__, None
    except Exception:
        return f.__name__, traceback.format_exc()
    finally:
        shutil.rmtree(lab.dir, ignore_errors=True)


def main():
    print("seed %d" % SEED, flush=True)
    bad = 0
    checks = [f for f in CHECKS if WORD in f.__name__]
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        for name, error in pool.map(judge, checks):
            print("%s %s%s" % ("FAIL" if error else "ok  ", name, "\n" + error if error else ""), flush=True)
            bad += error is not None
    print("%d passed, %d failed" % (len(checks) - bad, bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
