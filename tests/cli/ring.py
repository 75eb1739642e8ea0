#!/usr/bin/python3
# ring - what a run shows in its progress ring, and what it does where it may not have one
#
#   tests/cli/ring.py PENSTOCK [WORD]      only checks whose name contains WORD
#
# The laboratory, and the environment, are run.py's. The reader is a C program of its own, ring_reader.c, built here. Each
# check has a place for rings of its own ($PENSTOCK_RUN).
import concurrent.futures
import getpass
import json
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import faults
import run
from run import PENSTOCK, Skip, check

run.CHECKS.clear()

COMPLETED, INTERRUPTED, RUNNING, PAUSED = 5, 8, 3, 4
QUEUED_E, STARTED_E, PROGRESS_E, COMPLETED_E, CANCELLED_E, WRITER_E, CHECKPOINT_E, RESUMED_E, SKIPPED_E, DEDUPLICATED_E, DRAINED_E = \
    1, 2, 3, 5, 7, 9, 10, 14, 16, 17, 22
STOPPED_E, INTERRUPTED_E = 23, 24
ENDED, DEAD = 5, 3
OWNER = getpass.getuser()
READER = None


def build_reader():
    global READER
    where = tempfile.mkdtemp(prefix="penstock-reader-")
    READER = os.path.join(where, "ring_reader")
    include = os.path.join(os.path.dirname(os.path.dirname(HERE)), "include")
    compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    subprocess.run([*compiler, "-std=c11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", "-I" + include,
                    "-o", READER, os.path.join(HERE, "ring_reader.c")], check=True)
    return where


class Place:
    """A directory in memory for the rings of one check."""

    def __init__(self, lab):
        self.dir = tempfile.mkdtemp(prefix="penstock-ring-", dir="/dev/shm")
        self.lab = lab
        os.environ["PENSTOCK_RUN"] = self.dir

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        os.environ.pop("PENSTOCK_RUN", None)
        shutil.rmtree(self.dir, ignore_errors=True)

    def store_id(self, store=None):
        return json.loads(self.lab.run("status", "--json", store=store).stdout)["store_id"]

    def path(self, owner=OWNER, slot=0, store=None):
        return os.path.join(self.dir, self.store_id(store), "%s.%d.ring" % (owner, slot))

    def files(self):
        return sorted(os.path.relpath(os.path.join(d, f), self.dir) for d, _, fs in os.walk(self.dir) for f in fs)


def slow(lab, n=60000, name="f"):
    """A file, and options with which loading it takes a second or two, in many commits."""
    return [lab.path(name, "".join("%d\n" % i for i in range(n))), "--format", "lines", "--chunk", "500", "--pause-ms", "10"]


def make_store(lab, store=None):
    lab.load(lab.path("empty", b""), "--format", "lines", "--into", "empty", store=store)


def read(path, *args):
    p = subprocess.Popen([READER, path, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return p


def told(p, timeout=60):
    out, err = p.communicate(timeout=timeout)
    assert p.returncode == 0, err
    return [json.loads(x) for x in out.splitlines()]


def until(f, what, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        r = f()
        if r:
            return r
        time.sleep(0.01)
    raise AssertionError("not in time: " + what)


def judge_gauges(rows, items):
    """Numbers only grow, and nothing is whole before the last item counts."""
    gauges = [r for r in rows if "gauge" in r and r["label"] != "empty"]
    last = {"committed": 0, "bytes_done": 0, "as_of": 0, "lsn": 0}
    for g in gauges:
        for name in last:
            assert g[name] >= last[name], (name, last, g)
            last[name] = g[name]
        whole = g["bytes_total"] and g["bytes_done"] >= g["bytes_total"]
        assert not whole or (g["committed"] == items and g["state"] == COMPLETED), g
        assert (g["state"] == COMPLETED) == bool(whole and g["state"] == COMPLETED), g
    return gauges


@check
def exact_while_it_runs(lab):
    with Place(lab) as place:
        make_store(lab)
        args = slow(lab)
        p = lab.start("run", *args, "--progress", "none", "--on-duplicate", "keep")
        path = place.path()
        reader = read(path)
        steps = []
        while p.poll() is None:
            q = subprocess.run([PENSTOCK, "--store", lab.store, "status", "@running", "--json"], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
            if q.returncode == 0:
                steps.append(json.loads(q.stdout))
            time.sleep(0.05)
        assert p.returncode == 0
        rows = told(reader)
        gauges = judge_gauges(rows, 60000)
        # Multiples of a chunk: a commit's numbers, never something between.
        assert {g["committed"] % 500 for g in gauges} == {0} and len({g["committed"] for g in gauges}) > 10, len(gauges)
        assert gauges[-1]["state"] == COMPLETED and gauges[-1]["committed"] == 60000 and gauges[-1]["eta_ms"] == 0
        assert any(0 < g["eta_ms"] < 60000 and g["rate_milli"] > 0 for g in gauges)
        assert rows[0]["epoch"] == 2 and rows[0]["pid"] == p.pid and rows[-1] == {"life": ENDED}, (rows[0], rows[-1])
        assert place.files() == [], "a ring that was closed is gone"
        rings = [s["ring"] for s in steps if s["state"] == "running"]
        assert rings and all(rings), steps
        assert all(r["writer"] == "alive" and r["path"] == path and r["bottleneck"] in ("read", "process", "commit") for r in rings)
        assert any(0 < r["commit_p50_us"] <= r["commit_p99_us"] for r in rings), rings
        counted = [s["committed"] for s in steps]
        assert counted == sorted(counted) and len(set(counted)) > 3
        assert json.loads(lab.run("status", "@last", "--json").stdout)["ring"] is None
        lab.verify()


@check
def every_event_of_a_life(lab):
    with Place(lab) as place:
        make_store(lab)
        # More than the engine takes in at once, so that it can be interrupted.
        lines = "".join("%d\n" % (i % 130000) for i in range(150000))
        f = lab.path("f", lines)
        args = [f, "--format", "lines", "--key", "@content", "--on-duplicate", "keep", "--chunk", "500", "--pause-ms", "5"]
        path = place.path()
        reader = read(path)
        p = lab.start("run", *args, "--progress", "none")
        lab.until_counted(p, 5000)
        p.send_signal(signal.SIGINT)
        status = p.wait(30)
        assert status == 130, status
        rows = told(reader)
        events = [r for r in rows if "event" in r]
        assert [e["event"] for e in events] == list(range(len(events))), "an index is missing"
        types = [e["type"] for e in events]
        assert types[:3] == [WRITER_E, QUEUED_E, STARTED_E] and types[-1] == DRAINED_E, types
        assert INTERRUPTED_E in types and PROGRESS_E in types and COMPLETED_E not in types, types
        reader = read(path)
        p = lab.run("run", *args, "--progress", "none")
        rows = told(reader)
        events = [r for r in rows if "event" in r]
        types = [e["type"] for e in events]
        assert types[:2] == [WRITER_E, RESUMED_E] and types.count(COMPLETED_E) == 1, types
        assert SKIPPED_E in types and CHECKPOINT_E in types, types
        assert [e["a"] for e in events if e["type"] == SKIPPED_E][-1] == 20000
        # State first in the gauge: it never lags behind an event that was seen.
        state, as_of = {}, {}
        for r in rows:
            if "gauge" in r:
                state[r["batch"]], as_of[r["batch"]] = r["state"], r["as_of"]
        done = next(e for e in events if e["type"] == COMPLETED_E)
        assert state[done["batch"]] == COMPLETED and as_of[done["batch"]] > done["event"], (state, as_of, done)
        # Progress is told at most 20 times a second, and once at least.
        n = types.count(PROGRESS_E)
        assert 0 < n < 60, n
        # What is durable carries its number in the journal, and the journal says the same.
        journal = {e["seq"]: e for e in lab.lines("events")}
        durable = [e for e in events if e["c"]]
        assert durable and all(journal[e["c"]]["batch"] == e["batch"] for e in durable), (durable, journal)
        assert {journal[e["c"]]["type"] for e in durable if e["type"] == COMPLETED_E} == {"completed"}
        lab.verify()


@check
def late_join_is_correct_at_once(lab):
    with Place(lab) as place:
        make_store(lab)
        p = lab.start("run", *slow(lab), "--progress", "none")
        n = lab.until_counted(p, 10000)
        reader = read(place.path(), "late")
        assert p.wait(60) == 0
        rows = told(reader)
        assert "gauge" in rows[1] and rows[1]["committed"] >= n, rows[:3]
        judge_gauges(rows, 60000)
        # Events that the first look contained already are told apart by as_of.
        first = rows[1]["as_of"]
        assert all(e["event"] >= first - 1 for e in rows if "event" in e)
        assert rows[-2]["committed"] == 60000 and rows[-2]["state"] == COMPLETED


@check
def killed_is_dead_and_superseded(lab):
    with Place(lab) as place:
        make_store(lab)
        args = slow(lab)
        p = lab.start("run", *args, "--progress", "none")
        lab.until_counted(p, 5000)
        path = place.path()
        old = read(path)
        json.loads(old.stdout.readline())
        inode = os.stat(path).st_ino
        p.kill()
        p.wait()
        begun = time.monotonic()
        rows = told(old)
        assert rows[-1] == {"life": DEAD} and time.monotonic() - begun < 5 * 0.5 + 1, rows[-1]
        s = json.loads(lab.run("status", "@last", "--json").stdout)
        assert s["state"] == "interrupted" and s["ring"] is None, s
        assert path in lab.verify().err
        assert json.loads(lab.run("doctor", "--json").stdout)["stale_rings"] == [path]
        assert os.stat(path).st_ino == inode
        # One that has the dead ring open finds out; the new one has a larger epoch and another inode.
        p = lab.start("run", *args, "--progress", "none")
        until(lambda: os.path.exists(path) and os.stat(path).st_ino != inode, "a new ring")
        first = json.loads(read(path).stdout.readline())
        assert first["epoch"] == 3 and first["inode"] != inode and first["pid"] == p.pid, first
        assert p.wait(60) == 0
        assert place.files() == [] and path not in lab.verify().err
        assert len(lab.dump()) == 60000
        # What another owner's dead ring left under the same number is swept, too.
        left = os.path.join(os.path.dirname(path), "somebody.0.ring")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        for name in (left, left.replace(".0.", ".7.")):
            with open(name, "wb") as f:
                f.write(b"left")
        make_store(lab)
        assert not os.path.exists(left) and os.path.exists(left.replace(".0.", ".7."))


@check
def another_user_is_refused(lab):
    if os.geteuid() != 0:
        raise Skip("needs root")
    with Place(lab) as place:
        other = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
        os.chmod(place.dir, 0o755)
        make_store(lab)
        p = lab.start("run", *slow(lab), "--progress", "none")
        lab.until_counted(p, 1000)
        path = place.path()
        os.chmod(READER, 0o755)
        os.chmod(os.path.dirname(READER), 0o755)
        q = subprocess.run([*other, READER, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert q.returncode == 1 and b"Permission denied" in q.stderr and not q.stdout, q
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        p.send_signal(signal.SIGINT)
        p.wait()
        # An owner may read what is his: by an ACL, not by giving the file away.
        p = lab.start("run", *slow(lab, name="g"), "--progress", "none", "--owner", "nobody", "--into", "theirs")
        lab.until_counted(p, 1000)
        theirs = place.path("nobody")
        q = subprocess.Popen([*other, READER, theirs], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        line = q.stdout.readline()
        assert json.loads(line)["open"] == theirs, (line, q.stderr.read())
        w = subprocess.run([*other, "sh", "-c", 'true >> "$0"', theirs], stderr=subprocess.PIPE)
        assert w.returncode and b"ermission denied" in w.stderr, w
        batch = json.loads(lab.run("status", "@running", "--json").stdout)["batch"]
        own = told(read(place.path(), "late")) if p.wait(60) is not None and os.path.exists(place.path()) else []
        assert not any(r.get("batch") == batch for r in own), own
        rows = [json.loads(x) for x in q.communicate(timeout=30)[0].splitlines()]
        assert rows[-1] == {"life": ENDED} and any(r.get("batch") == batch for r in rows)


def one_line(lab, rc=0, **kw):
    """The run does what it always does, and says in one line that nobody can watch."""
    lab.n = getattr(lab, "n", 0) + 1
    f = lab.path("n%d" % lab.n, "1\n2\n3\n")
    p = lab.run("run", f, "--format", "lines", "--into", "d%d" % lab.n, "--progress", "none", rc=rc, **kw)
    said = [x for x in p.err.splitlines() if "ring" in x]
    assert len(said) == 1 and "no progress ring" in said[0], p.err
    assert len(lab.dump("d%d" % lab.n)) == 3
    return said[0]


@check
def no_place_for_a_ring(lab):
    with Place(lab) as place:
        make_store(lab)
        base, store_id = place.dir, place.store_id()
        below = os.path.join(base, store_id)
        shutil.rmtree(below, ignore_errors=True)
        # On a disk.
        os.environ["PENSTOCK_RUN"] = lab.path("disk")
        if os.statvfs(lab.dir).f_fsid != os.statvfs("/dev/shm").f_fsid:
            assert "memory" in one_line(lab)
            assert not any(f.endswith(".ring") for _, _, fs in os.walk(lab.dir) for f in fs)
        # A link, to somewhere that would do.
        target = os.path.join(base, "target")
        os.mkdir(target, 0o700)
        os.symlink(target, os.path.join(base, "link"))
        os.environ["PENSTOCK_RUN"] = os.path.join(base, "link")
        one_line(lab)
        os.environ["PENSTOCK_RUN"] = base
        os.symlink(target, below)
        one_line(lab)
        os.unlink(below)
        assert os.listdir(target) == [], "followed a link"
        # A file in its place; a directory into which everybody may write.
        with open(below, "w"):
            pass
        one_line(lab)
        os.unlink(below)
        os.mkdir(below)
        os.chmod(below, 0o777)
        assert "others may write" in one_line(lab)
        os.chmod(below, 0o700)
        # Somebody else's.
        if os.geteuid() == 0:
            os.chown(below, 65534, 65534)
            assert "belongs to" in one_line(lab)
            os.chown(below, 0, 0)
        # A directory, a link, a FIFO where the file should come: the name is taken over or the run goes on, but
        # nothing behind it is touched.
        victim = lab.path("victim", b"precious")
        name = os.path.join(below, "%s.0.ring" % OWNER)
        os.symlink(victim, name)
        p = lab.run("run", lab.path("v", "1\n"), "--format", "lines", "--into", "v", "--progress", "none")
        assert "no progress ring" not in p.err, p.err
        with open(victim, "rb") as f:
            assert f.read() == b"precious"
        os.makedirs(below, 0o700, exist_ok=True)
        os.mkfifo(name)
        p = lab.run("run", lab.path("w", "1\n"), "--format", "lines", "--into", "w", "--progress", "none", timeout=20)
        assert "no progress ring" not in p.err, p.err
        os.makedirs(name)
        one_line(lab)
        os.rmdir(name)
        # The control: nothing in the way.
        p = lab.run("run", lab.path("c", "1\n"), "--format", "lines", "--into", "c", "--progress", "none")
        assert "ring" not in p.err, p.err
        lab.verify()


@check
def two_engines_have_two_numbers(lab):
    with Place(lab) as place:
        make_store(lab)
        runs = [lab.start("run", *slow(lab, 40000, name), "--progress", "none", "--into", name) for name in ("a", "b")]
        paths = [place.path(slot=i) for i in (0, 1)]
        until(lambda: all(os.path.exists(p) for p in paths), "two rings")
        readers = [read(p) for p in paths]
        live = json.loads(lab.run("status", "--json").stdout)["live"]
        rings = {b["ring"]["path"] for b in live if b["ring"]}
        assert len(live) < 2 or rings == set(paths), rings
        assert [p.wait(60) for p in runs] == [0, 0]
        seen = [{r["label"] for r in told(p) if "gauge" in r} for p in readers]
        assert sorted(map(sorted, seen)) == [["a"], ["b"]], seen
        assert place.files() == []


@check
def a_ring_changes_nothing(lab):
    text = "".join('{"id":%d,"t":"%s"}\n' % (i * 7 % 30011, "x" * (i % 90)) for i in range(30000)) + "bad\n"
    f = lab.path("f.ndjson", text)
    with Place(lab) as place:
        with_ring = lab.load(f, "--key", "/id", rc=1)
        digest = lab.digest()
        items = lab.lines("items", with_ring["batch"])
        os.environ["PENSTOCK_RUN"] = lab.path("none")  # on a disk: there is none
        other = lab.path("other")
        without = lab.load(f, "--key", "/id", rc=1, store=other)
        assert digest == lab.digest(store=other)
        same = ("state", "items", "committed", "rejected", "failed", "skipped", "duplicates", "bytes")
        assert [with_ring[k] for k in same] == [without[k] for k in same]
        cut = [{k: v for k, v in i.items() if k not in ("batch", "correlation_id")} for i in items]
        assert cut == [{k: v for k, v in i.items() if k not in ("batch", "correlation_id")} for i in lab.lines("items", without["batch"], store=other)]
        lab.verify()
        lab.verify(store=other)


@check
def events_follow(lab):
    with Place(lab) as place:
        make_store(lab)
        before = len(lab.lines("events"))
        follow = lab.start("events", "--follow", "--from", before + 1, "--json", stdout=subprocess.PIPE)
        p = lab.start("run", *slow(lab), "--progress", "none")
        lab.until_counted(p, 3000)
        batch = json.loads(lab.run("status", "@running", "--json").stdout)["batch"]
        one = lab.start("events", batch, "--follow", "--json", stdout=subprocess.PIPE)
        assert p.wait(60) == 0
        rows = []
        while not rows or rows[-1]["type"] != "completed":
            rows.append(json.loads(follow.stdout.readline()))
        assert [r["seq"] for r in rows] == list(range(before + 1, before + 1 + len(rows)))
        assert [r["type"] for r in rows][:2] == ["queued", "started"]
        mine = [json.loads(x) for x in one.communicate(timeout=30)[0].splitlines()]
        assert one.returncode == 0 and mine == rows, "it ends with its batch, and is complete"
        # Without any ring, by looking at the store.
        os.environ["PENSTOCK_RUN"] = lab.path("none")
        lab.load(lab.path("g", "1\n"), "--format", "lines", "--into", "g")
        assert json.loads(follow.stdout.readline())["type"] == "queued"
        assert json.loads(follow.stdout.readline())["seq"] == rows[-1]["seq"] + 2
        follow.kill()
        p = lab.run("events", "@last", "--follow", "--json", timeout=20)
        assert len(p.stdout.splitlines()) == 3
        assert len(lab.run("events", "--follow", "--limit", "2", timeout=20).stdout.splitlines()) == 2


@check
def a_gap_is_filled_from_the_store(lab):
    """A reader that slept: what it lost of the ring it finds in the journal, by number."""
    with Place(lab) as place:
        make_store(lab)
        p = lab.start("run", *slow(lab), "--progress", "none")
        lab.until_counted(p, 3000)
        reader = read(place.path())
        first = [json.loads(reader.stdout.readline()) for _ in range(4)]
        reader.send_signal(signal.SIGSTOP)
        assert p.wait(60) == 0, "a reader that stands still holds nobody up"
        reader.kill()
        seen = max(e["c"] for e in first if "event" in e)
        assert seen
        reader.communicate()
        rest = lab.lines("events", "--from", seen + 1)
        assert [e["seq"] for e in rest] == list(range(seen + 1, seen + 1 + len(rest)))
        assert rest[-1]["type"] == "completed" and rest[-1]["items"] == 60000


def mount(where, options):
    os.makedirs(where, exist_ok=True)
    if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", where], stderr=subprocess.DEVNULL).returncode:
        raise Skip("nothing can be mounted here")


@check
def a_full_disk_is_seen(lab):
    with Place(lab) as place:
        where = lab.path("m")
        mount(where, "size=6m")
        try:
            store = os.path.join(where, "store")
            make_store(lab, store)
            path = place.path(store=store)
            f = lab.path("f.ndjson", lab.records(60000))
            reader = read(path)
            p = lab.start("run", f, "--progress", "none", store=store)
            ring = until(lambda: next((b["ring"] for b in json.loads(lab.run("status", "--json", store=store).stdout)["live"]
                                       if b["ring"] and b["ring"]["rests_on"]), None), "a rest")
            assert ring["rests_on"] == "PEN410" and ring["eta_s"] is None and ring["writer"] == "alive", ring
            time.sleep(2.2)  # it goes on breathing
            assert json.loads(lab.run("status", "@running", "--json", store=store).stdout)["ring"]["writer"] == "alive"
            subprocess.run(["mount", "-o", "remount,size=64m", where], check=True)
            assert p.wait(60) == 0
            events = [r for r in told(reader) if "event" in r]
            stalls = [e for e in events if e["type"] in (8, 15)]
            assert stalls[0]["type"] == 15 and stalls[0]["code"] == 410 and [e["code"] for e in stalls if not e["code"]], stalls
            assert stalls[-1]["type"] == 8 and stalls[-1]["a"] > 2000000 and stalls[-1]["code"] == 0, stalls
            assert [e["a"] for e in stalls if e["batch"] == stalls[-1]["batch"]][-1] == max(e["a"] for e in stalls)
        finally:
            subprocess.run(["umount", "-l", where])


@check
def a_disk_that_fails_is_seen_afterwards(lab):
    with Place(lab) as place:
        make_store(lab)
        before, injected = faults.strace(lab, "fdatasync", "error=EIO:when=5")
        args = slow(lab)
        p = lab.run("run", *args, "--progress", "none", before=before, rc=74, env=dict(faults.UNTRACED, PENSTOCK_RUN=place.dir))
        assert injected() and "error[PEN411]" in p.err, p.err
        rows = told(read(place.path()))
        assert rows[-1] == {"life": ENDED}
        events = [r for r in rows if "event" in r]
        assert [e["type"] for e in events[-2:]] == [INTERRUPTED_E, WRITER_E] and events[-1]["a"] == 5 and events[-1]["code"] == 411
        assert rows[-2]["state"] == INTERRUPTED and rows[-2]["err"] == 411, rows[-2]
        assert json.loads(lab.run("status", "@last", "--json").stdout)["committed"] == rows[-2]["committed"]
        lab.load(*args[:3])
        assert place.files() == [] and len(lab.dump()) == 60000


@check
def no_room_for_a_ring(lab):
    with Place(lab) as place:
        mount(place.dir, "size=64k,mode=700")
        try:
            make_store(lab)
            assert "No space" in one_line(lab) or "no room" in one_line(lab)
            assert place.files() == [], "half a ring was left"
        finally:
            subprocess.run(["umount", "-l", place.dir])


def main():
    where = build_reader()
    try:
        return run.main()
    finally:
        shutil.rmtree(where, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
