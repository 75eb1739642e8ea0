#!/usr/bin/python3
# bulk - run --bulk: sorted runs, then the merge; whatever happens on the way, the store is that of an ordinary run
#
#   tests/cli/bulk.py PENSTOCK [NAME]       PEN_SEED repeats a run; PEN_KILLS (12): of each storm
import json
import os
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from lab import PENSTOCK, Skip, check, judge_all  # noqa: E402

KILLS = int(os.environ.get("PEN_KILLS") or 12)
ON = ("--bulk", "on", "--bulk-memory", "1M")


def shuffled(lab, n, keys=None, bad=0, size=200):
    """Records at random keys; with fewer keys than records there are duplicates; one in `bad` is no JSON."""
    r = lab.random
    return "".join("oops %d\n" % i if bad and r.randrange(bad) == 0 else
                   '{"id":"%016x","n":%d,"v":"%s"}\n' % ((r.randrange(keys) if keys else i) * 0x9E3779B97F4A7C15 % 2**64, i,
                                                         "x" * r.randrange(size))
                   for i in range(n))


def staging(store):
    return sorted(x for x in os.listdir(os.path.join(store, "staging")) if x.startswith("run."))


def rows(lab, store):
    """What the batch says of its items, without what differs from run to run."""
    out = []
    for o in lab.lines("items", "@last", store=store):
        out.append({k: v for k, v in o.items() if k not in ("batch", "correlation_id", "ended", "ended_ms", "time")})
    return out


def numbers(o):
    return {k: o[k] for k in ("state", "items", "committed", "rejected", "failed", "skipped", "duplicates", "bytes")}


def outcome(lab, store):
    """The batch as its store has it: counters, rows, records."""
    o = json.loads(lab.run("status", "@last", "--json", store=store).stdout)
    return ({k: o[k] for k in ("items", "committed", "rejected", "skipped", "duplicates")}, rows(lab, store),
            lab.digest(dataset="d", store=store))


def same(lab, args, store, whole):
    a, b = outcome(lab, store), outcome(lab, whole)
    assert a[0] == b[0], (args, a[0], b[0])
    assert a[1] == b[1], (args, len(a[1]), len(b[1]), [x for x in zip(a[1], b[1]) if x[0] != x[1]][:2])
    assert a[2] == b[2], args
    assert not staging(store), "nothing stays in staging"
    lab.verify(store=store)


@check
def equals_the_ordinary_way(lab):
    f = lab.path("f.ndjson", shuffled(lab, 24000, keys=15000, bad=400))
    whole = os.path.join(lab.dir, "whole")
    for policy in ("replace", "keep", "reject"):
        args = (f, "--key", "/id", "--into", "d", "--on-duplicate", policy)
        shutil.rmtree(whole, ignore_errors=True)
        a = lab.load(*args, "--bulk", "off", store=whole, rc=1)
        assert a["duplicates"] if policy == "replace" else a["rejected"] + a["skipped"] > 5000, a
        for memory in ("1M", "2M", "64M"):
            shutil.rmtree(lab.store, ignore_errors=True)
            b = lab.load(*args, "--bulk", "on", "--bulk-memory", memory, rc=1)
            assert numbers(a) == numbers(b) and "bulk mode" in b["err"], (policy, memory, a, b)
            same(lab, (policy, memory), lab.store, whole)


@check
def other_keys_and_sources(lab):
    r = lab.random
    csv = "id,n\n" + "".join("%d,%d\n" % (r.randrange(30000), i) for i in range(40000))
    a = lab.path("a.csv", csv)
    for i in range(5):
        lab.path("t/%d/f.ndjson" % i, shuffled(lab, 3000, keys=9000))
    whole = os.path.join(lab.dir, "whole")
    for args in ((a, "--key", "id"), (a, "--key", "@content"), (lab.path("t"), "--key", "/id", "--format", "ndjson"),
                 (lab.path("t"), "--key", "/id", "--format", "ndjson", "--processor", "project:id", "--where", "/n > 100")):
        for policy in ("replace", "keep", "reject"):
            shutil.rmtree(whole, ignore_errors=True)
            shutil.rmtree(lab.store, ignore_errors=True)
            args = (*args, "--into", "d", "--on-duplicate", policy)
            x = lab.load(*args, "--bulk", "off", store=whole, rc=(0, 1))
            y = lab.load(*args, *ON, rc=(0, 1))
            assert numbers(x) == numbers(y), (args, x, y)
            same(lab, args, lab.store, whole)


@check
def a_dataset_that_is_not_empty(lab):
    f, g = lab.path("f", shuffled(lab, 12000, keys=20000)), lab.path("g", shuffled(lab, 20000, keys=20000))
    whole = os.path.join(lab.dir, "whole")
    for policy in ("replace", "keep", "reject"):
        shutil.rmtree(whole, ignore_errors=True)
        shutil.rmtree(lab.store, ignore_errors=True)
        for store, way in ((whole, ("--bulk", "off")), (lab.store, ON)):
            lab.load(f, "--format", "ndjson", "--key", "/id", "--into", "d", "--bulk", "off", store=store)
            lab.load(g, "--format", "ndjson", "--key", "/id", "--into", "d", "--on-duplicate", policy, *way, store=store, rc=(0, 1))
        same(lab, policy, lab.store, whole)


@check
def more_runs_than_are_merged_at_once(lab):
    """With 1 MiB of memory 16 runs are merged at a time."""
    f = lab.path("f.ndjson", shuffled(lab, 90000, keys=70000, size=500))
    assert os.path.getsize(f) > 25 << 20
    whole = os.path.join(lab.dir, "whole")
    for policy in ("replace", "keep"):
        shutil.rmtree(whole, ignore_errors=True)
        shutil.rmtree(lab.store, ignore_errors=True)
        args = (f, "--key", "/id", "--into", "d", "--on-duplicate", policy)
        lab.load(*args, "--bulk", "off", store=whole)
        lab.load(*args, *ON)
        same(lab, policy, lab.store, whole)


@check
def large_records(lab):
    """Larger than a block of a run, than what has memory of its own, and than a chunk."""
    sizes = [100, 300 << 10, 50, 2 << 20, 20, 255 << 10, 1 << 20, 100, 3 << 20]
    f = lab.path("f.ndjson", "".join('{"id":"%02d%d","v":"%s"}\n' % ((i * 7) % 10, i, "y" * n) for i, n in enumerate(sizes * 4)))
    whole = os.path.join(lab.dir, "whole")
    args = (f, "--key", "/id", "--into", "d")
    lab.load(*args, "--bulk", "off", store=whole)
    lab.load(*args, *ON)
    same(lab, "large", lab.store, whole)


@check
def auto(lab):
    """Large, in no order, into an empty dataset: all three."""
    r = lab.random
    text = "x" * 700
    line = lambda k: '{"id":"%08x","v":"%s"}\n' % (k, text)
    keys = [r.getrandbits(32) for _ in range(100000)]
    f = lab.path("f.ndjson", "".join(map(line, keys)))
    g = lab.path("g.ndjson", "".join(map(line, sorted(set(keys)))))
    assert min(os.path.getsize(f), os.path.getsize(g)) > 64 << 20
    small = lab.path("s.ndjson", "".join(map(line, keys[:1000])))
    args = ("--key", "/id", "--into", "d")
    assert "bulk mode" in lab.load(f, *args)["err"]
    assert not staging(lab.store)
    lab.verify()
    other = os.path.join(lab.dir, "other")
    assert "bulk mode" not in lab.load(g, *args, store=other)["err"], "in order"
    shutil.rmtree(other)
    assert "bulk mode" not in lab.load(small, *args, store=other)["err"], "small"
    assert "bulk mode" not in lab.load(f, *args, store=other)["err"], "the dataset is not empty"
    assert lab.digest(dataset="d") == lab.digest(dataset="d", store=other)


@check
def on_says_why_it_cannot(lab):
    f = lab.path("f.ndjson", shuffled(lab, 100))
    for more, word in (((), "order"), (("--key", "@offset", "--into", "o"), "order"), (("--key", "/id", "--into", "i", "--max-rejects", "3"), "--max-rejects"),
                       (("--key", "/id", "--into", "j", "--results", "all"), "--results"), (("--key", "/id", "--into", "k", "--chunk", "10"), "--chunk"),
                       (("--processor", "exec:true", "--into", "e"), "commands")):
        p = lab.run("run", f, *more, *ON, rc=2)
        assert "error[PEN365]" in p.err and word in p.err, (more, p.err)
        assert lab.load(f, *more, "--bulk", "auto", rc=(0, 1))["items"] == 100
    p = lab.run("run", "-", "--format", "ndjson", "--key", "/id", "--into", "l", *ON, stdin=b'{"id":1}\n', rc=2)
    assert "--idempotency-key" in p.err, p.err
    p = lab.run("run", "-", "--format", "ndjson", "--key", "/id", "--into", "l", "--idempotency-key", "k", *ON, stdin=b'{"id":1}\n')
    lab.verify()


def phase_of(store):
    """Where the batch is: nothing staged for certain, sorting (all runs but the last have rows), merging (the dataset grows)."""
    q = subprocess.run([PENSTOCK, "--store", store, "status", "@last", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    done = json.loads(q.stdout)["committed"] if q.returncode == 0 else 0
    return "merge" if done else "sort" if len(staging(store)) > 1 else "begin"


@check
def kill_storm(lab):
    """SIGKILL at random times, then the same command, until it is through; then once more in each phase."""
    f = lab.path("f.ndjson", shuffled(lab, 60000, keys=50000, bad=1000, size=400))
    whole = os.path.join(lab.dir, "whole")
    phases = {"begin": 0, "sort": 0, "merge": 0}
    kills = 0
    for policy in ("replace", "reject"):
        args = ("run", f, "--key", "/id", "--into", "d", "--on-duplicate", policy, *ON, "--progress", "none")
        shutil.rmtree(whole, ignore_errors=True)
        began = time.monotonic()
        lab.run(*args[:-4], "--progress", "none", store=whole, rc=1)
        lab.run("run", f, "--key", "/id", "--into", "w", *ON, store=os.path.join(lab.dir, "t" + policy), rc=1)
        took = time.monotonic() - began
        for _ in range(20):
            if kills >= KILLS * (1 if policy == "replace" else 2):
                break
            shutil.rmtree(lab.store, ignore_errors=True)
            for _ in range(5):
                p = lab.start(*args)
                time.sleep(lab.random.random() * took)
                p.kill()
                p.wait()
                kills += p.returncode == -9
                if os.path.exists(os.path.join(lab.store, "data.mdb")):
                    phases[phase_of(lab.store)] += p.returncode == -9
                    lab.verify()
            lab.run(*args, rc=1)
            same(lab, policy, lab.store, whole)
    assert kills >= KILLS and phases["sort"] and phases["merge"], ("the control: kills hit both phases", kills, phases)


def rest_at(lab, f, want, store=None):
    """A run that is in that phase."""
    store = store or lab.store
    for _ in range(40):
        shutil.rmtree(store, ignore_errors=True)
        p = lab.start("run", f, "--key", "/id", "--into", "d", *ON, "--progress", "none", store=store)
        end = time.monotonic() + 30
        while p.poll() is None and time.monotonic() < end:
            if os.path.exists(os.path.join(store, "data.mdb")) and phase_of(store) == want:
                return p
            time.sleep(0.001)
        p.wait()
    raise Skip("the run is too fast to be caught in its phase `%s`" % want)


@check
def interrupt_in_both_phases(lab):
    f = lab.path("f.ndjson", shuffled(lab, 150000, keys=140000, size=400))
    whole = os.path.join(lab.dir, "whole")
    lab.load(f, "--key", "/id", "--into", "d", "--bulk", "off", store=whole)
    for phase in ("sort", "merge"):
        p = rest_at(lab, f, phase)
        p.send_signal(signal.SIGINT)
        err = p.communicate(timeout=60)[1].decode()
        if p.returncode == 0:
            continue
        assert p.returncode == 130, (phase, p.returncode, err)
        lab.verify()
        assert staging(lab.store), "what is sorted stays"
        o = lab.load(f, "--key", "/id", "--into", "d", "--bulk", "off")  # it began in bulk mode, and ends so
        assert o["resumed"], o
        same(lab, phase, lab.store, whole)


@check
def cancel_in_both_phases(lab):
    f = lab.path("f.ndjson", shuffled(lab, 150000, keys=140000, size=400))
    for phase in ("sort", "merge"):
        p = rest_at(lab, f, phase)
        lab.run("cancel", "@last", rc=(0, 2))
        p.communicate(timeout=60)
        assert p.returncode in (0, 1), p.returncode
        assert not staging(lab.store), phase
        lab.verify()
    # One that nobody runs.
    p = rest_at(lab, f, "sort")
    p.kill()
    p.wait()
    assert staging(lab.store)
    lab.run("cancel", "@last")
    assert not staging(lab.store)
    lab.verify()
    # --fresh takes its place.
    p = rest_at(lab, f, "sort")
    p.kill()
    p.wait()
    lab.load(f, "--key", "/id", "--into", "d", *ON, "--fresh")
    assert not staging(lab.store)
    lab.verify()


@check
def pause_in_the_merge(lab):
    f = lab.path("f.ndjson", shuffled(lab, 150000, keys=140000, size=400))
    p = rest_at(lab, f, "merge")
    lab.run("pause", "@last", rc=(0, 2))
    time.sleep(1.5)
    state = lambda: json.loads(lab.run("status", "@last", "--json").stdout)
    if p.poll() is None:
        a = state()
        time.sleep(1)
        b = state()
        assert a["state"] == "paused" and a["committed"] == b["committed"], (a, b)
        lab.verify()
        lab.run("resume", "@last")
    p.communicate(timeout=60)
    assert p.returncode == 0 and state()["state"] == "completed" and not staging(lab.store)
    lab.verify()


@check
def a_run_that_is_missing_or_damaged(lab):
    f = lab.path("f.ndjson", shuffled(lab, 60000, size=400))
    for harm in ("remove", "cut", "flip"):
        p = rest_at(lab, f, "sort")
        p.kill()
        p.wait()
        name = os.path.join(lab.store, "staging", staging(lab.store)[0])
        lab.verify()
        if harm == "remove":
            os.unlink(name)
        elif harm == "cut":
            os.truncate(name, os.path.getsize(name) - 4096)
        else:
            with open(name, "r+b") as g:
                g.seek(5000)
                b = g.read(1)
                g.seek(5000)
                g.write(bytes((b[0] ^ 1,)))
        q = lab.verify(rc=(0, 65))
        assert q.returncode == (0 if harm == "flip" else 65), (harm, q.stdout)
        q = lab.run("run", f, "--key", "/id", "--into", "d", "--progress", "none", rc=65)
        assert "error[PEN367]" in q.err and "--fresh" in q.err, q.err
        lab.load(f, "--key", "/id", "--into", "d", "--fresh")
        assert not staging(lab.store)
        lab.verify()


def fill(where, filler, leave):
    """Takes all space but `leave`. Somebody who is being stopped may take some meanwhile."""
    for _ in range(50):
        room = os.statvfs(where)
        with open(filler, "wb") as f:
            try:
                os.posix_fallocate(f.fileno(), 0, room.f_bavail * room.f_frsize - leave)
                return
            except OSError:
                f.truncate(0)
        time.sleep(0.02)
    raise AssertionError("the file system cannot be filled")


@check
def disk_full_in_both_phases(lab):
    """A small file system that is full: the run pauses, and goes on by itself when there is space."""
    small = lab.path("small")
    os.makedirs(small)
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", small], stderr=subprocess.DEVNULL)
    if mount.returncode:
        raise Skip("needs root, to mount a file system")
    try:
        f = lab.path("f.ndjson", shuffled(lab, 60000, size=800))  # about 26 MiB
        whole = os.path.join(lab.dir, "whole")
        lab.load(f, "--key", "/id", "--into", "d", "--bulk", "off", store=whole)
        store = os.path.join(small, "store")
        stalls, filler = [], os.path.join(small, "filler")
        for phase in ("sort", "merge"):
            p = rest_at(lab, f, phase, store=store)
            p.send_signal(signal.SIGSTOP)
            fill(small, filler, 0)
            p.send_signal(signal.SIGCONT)
            time.sleep(3)
            assert p.poll() is None, (phase, "the control: there was space enough")
            lab.verify(store=store)
            os.unlink(filler)
            err = p.communicate(timeout=60)[1].decode()
            assert p.returncode == 0 and "paused" in err and "space again" in err, (phase, err)
            assert lab.digest(dataset="d", store=store) == lab.digest(dataset="d", store=whole)
            assert not staging(store)
            lab.verify(store=store)
            stalls.append(phase)
        # Too little space for certain is said before anything is done.
        fill(small, filler, 16 << 20)
        p = lab.run("run", f, "--key", "/id", "--into", "e", *ON, store=store, rc=3)
        assert "error[PEN366]" in p.err, p.err
        assert len(stalls) == 2
    finally:
        subprocess.run(["umount", "-l", small])


@check
def clean_removes_leftovers(lab):
    f = lab.path("f.ndjson", shuffled(lab, 2000))
    lab.load(f, "--key", "/id", "--into", "d", *ON)
    stray = os.path.join(lab.store, "staging", "run.0123456789abcdef.00000000")
    open(stray, "w").close()
    lab.run("clean")
    assert not os.path.exists(stray)


if __name__ == "__main__":
    sys.exit(judge_all())
