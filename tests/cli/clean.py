#!/usr/bin/python3
# clean - retention, judged from outside: what goes, what stays, and that no kill in between leaves a store that lies
#
#   tests/cli/clean.py PENSTOCK [WORD]      only checks whose name contains WORD
#
# The laboratory, and the environment, are run.py's.
import json
import os
import signal
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run
from run import KILLS, check

run.CHECKS.clear()


def clean(lab, *args, **kw):
    return json.loads(lab.run("clean", "--json", *args, **kw).stdout)


def rejects(lab, name, n, size=300):
    """n lines that are no JSON, and one that is."""
    return lab.path(name, "{}\n" + "".join("bad %0*d\n" % (size, i) for i in range(n)))


@check
def ended_batches_go_and_records_stay(lab):
    f = rejects(lab, "f", 40)
    a = lab.load(f, "--format", "ndjson", "--key", "@offset", rc=1)
    g = lab.path("g", "".join("bad\n" if i % 5 == 0 else "%d\n" % i for i in range(1000)))
    b = lab.load(g, "--format", "ndjson", "--into", "other", "--max-rejects", "3", rc=4)
    before = lab.dump(), lab.dump("other")
    assert clean(lab)["batches"] == 0, "nothing is a week old"
    dry = clean(lab, "--older-than", "0s", "--dry-run")
    assert dry["dry_run"] and (dry["batches"], dry["rows"]) == (1, 40), dry
    assert lab.run("items", a["batch"]).stdout
    o = clean(lab, "--older-than", "0s")
    assert (o["batches"], o["by_state"]["completed"], o["rows"]) == (1, 1, 40) and o["rows_bytes"] > 40 * 300, o
    assert (lab.dump(), lab.dump("other")) == before
    lab.run("items", a["batch"], rc=5)
    lab.verify()
    # The stopped one can go on; then it ends, and goes when it is asked for.
    assert lab.load(g, "--format", "ndjson", "--into", "other", rc=1)["resumed"]
    # What is forgotten is loaded again.
    again = lab.load(f, "--format", "ndjson", "--key", "@offset", rc=1)
    assert again["batch"] != a["batch"] and again["duplicates"] == 1, again
    assert clean(lab, "--older-than", "0s", "--state", "failed,cancelled")["batches"] == 0
    assert clean(lab, "--older-than", "0s", "--state", "completed")["batches"] == 2
    assert lab.lines("status", "--json")[0]["batches_total"] == 0
    lab.verify()


@check
def unfinished_ones_only_when_named(lab):
    g = lab.path("g", "".join("bad\n" if i % 5 == 0 else "%d\n" % i for i in range(1000)))
    b = lab.load(g, "--format", "ndjson", "--max-rejects", "3", rc=4)
    assert clean(lab, "--older-than", "0s")["batches"] == 0
    assert "never" in lab.run("clean", "--state", "running", rc=2).err
    assert clean(lab, "--older-than", "0s", "--state", "stopped")["by_state"]["stopped"] == 1
    # The dataset it appended to is free for the next one.
    assert lab.load(lab.path("h", "1\n"), "--format", "ndjson")["committed"] == 1
    lab.verify()
    # One that runs stays, whatever is named; once it was killed, it is interrupted.
    p = lab.start("run", "-", "--format", "lines", "--into", "live", stdin=-1)
    p.stdin.write(b"line\n" * 50000)
    p.stdin.flush()
    lab.until_counted(p)
    o = clean(lab, "--older-than", "0s", "--state", "interrupted,completed")
    assert o["by_state"]["interrupted"] == 0 and o["kept_in_use"] == 1, o
    p.kill()
    p.wait()
    assert clean(lab, "--older-than", "0s", "--state", "interrupted")["by_state"]["interrupted"] == 1
    lab.verify()


@check
def nothing_said_is_lost(lab):
    """Events and rows that are gone are counted wherever somebody asks for them."""
    a = lab.load(rejects(lab, "f", 3000), "--format", "ndjson", rc=1)
    lab.run("clean", "--rules", "rows-bytes=300KiB")
    lab.run("clean", "--rules", "nonsense=7d", rc=2)
    lab.run("clean", "--rules", "completed=7d", "--dry-run", rc=2)
    o = clean(lab)
    assert o["batches"] == 0 and 0 < o["rows"] < 3000 and o["rules"]["rows_bytes"] == 300 << 10, o
    p = lab.run("items", a["batch"], "--json")
    assert "%d older rows" % o["rows"] in p.err and len(p.stdout.splitlines()) == 3000 - o["rows"], p.err
    assert lab.lines("status", a["batch"])[0]["rows_removed"] == o["rows"]
    assert lab.lines("items", a["batch"])[-1]["seq"] == 3000, "the oldest went"
    lab.verify()
    last = lab.lines("events")[-1]["seq"]
    clean(lab, "--older-than", "0s")
    first = lab.lines("events")[0]["seq"]
    assert first > 1
    p = lab.run("events", "--from", "1", "--json")
    assert "events 1 to %d (%d of them)" % (first - 1, first - 1) in p.err, p.err
    events = [json.loads(x) for x in p.stdout.splitlines()]
    assert [e["seq"] for e in events] == list(range(first, first + len(events)))
    assert [e["batch"] for e in events if e["type"] == "cleaned"][-1] == a["batch"], events
    assert events[-1]["seq"] > last
    lab.verify()


@check
def rules_last(lab):
    lab.load(lab.path("f", "1\n"), "--format", "ndjson")
    lab.run("clean", "--rules", "completed=1ms,failed=forever,events=default,events-max=100")
    time.sleep(0.05)
    o = clean(lab)
    assert o["batches"] == 1 and o["rules"]["failed_ms"] is None and o["rules"]["events_max"] == 100, o
    lab.run("clean", "--rules", "completed=default")
    lab.load(lab.path("g", "2\n"), "--format", "ndjson")
    assert clean(lab)["rules"]["completed_ms"] == 7 * 86400000
    assert clean(lab, "--keep-bytes", "1")["batches"] == 1
    lab.verify()


@check
def killed_anywhere(lab):
    """SIGKILL at any moment: the store verifies, nothing of the user's is touched, and the next clean goes on."""
    f = rejects(lab, "f", 30000, 40)
    hits = kills = 0
    want = None
    lab.load(lab.path("keep", "1\n2\n"), "--format", "ndjson", "--into", "keep")
    for i in range(KILLS):
        if not any(b["rejected"] for b in lab.lines("status")[0]["batches"]):
            o = lab.load(f, "--format", "ndjson", "--key", "@offset", "--fresh", rc=1)
            for n in range(3):
                lab.load(lab.path("s%d" % n, "%d\n" % (i * 10 + n)), "--format", "ndjson", "--into", "small", "--key", "@content")
        want = lab.digest(), lab.digest(dataset="small"), lab.digest(dataset="keep")
        p = lab.start("clean", "--older-than", "0s")
        time.sleep(lab.random.random() * 0.06)
        if p.poll() is None:
            p.send_signal(signal.SIGKILL)
        p.wait()
        kills += p.returncode == -signal.SIGKILL
        lab.verify()
        left = [b for b in lab.lines("status")[0]["batches"] if b["rows_removed"]]
        hits += bool(left)
        for b in left:
            assert b["rejected"] == 30000 and len(lab.lines("items", b["batch"])) == 30000 - b["rows_removed"], b
        assert want == (lab.digest(), lab.digest(dataset="small"), lab.digest(dataset="keep"))
    clean(lab, "--older-than", "0s")
    assert lab.lines("status")[0]["batches_total"] == 0
    lab.verify()
    assert kills and hits, "no kill hit a clean half-way (%d, %d): the check has shown nothing" % (kills, hits)


@check
def writers_get_in(lab):
    """A run and two cleans at once: all of them come to their end, and the store verifies."""
    lab.load(rejects(lab, "f", 20000, 60), "--format", "ndjson", "--into", "x", rc=1)
    lab.load(rejects(lab, "g", 20000, 61), "--format", "ndjson", "--into", "x", rc=1)
    # A writer's place in the line, between two transactions of the one that cleans.
    a = lab.start("clean", "--older-than", "0s", "--json", stdout=-1)
    b = lab.start("clean", "--older-than", "0s", "--json", stdout=-1)
    o = lab.load(lab.path("h", lab.records(20000)), "--format", "ndjson", "--key", "/id", "--into", "h")
    got = [json.loads(p.communicate(timeout=120)[0]) for p in (a, b)]
    assert a.returncode == 0 and b.returncode == 0
    assert o["committed"] == 20000
    assert sum(g["rows"] for g in got) == 40000, got
    assert sum(g["batches"] + g["kept_in_use"] for g in got) >= 2, got
    lab.verify()


def staged(lab):
    return sorted(x for x in os.listdir(os.path.join(lab.store, "staging")) if x.startswith(("items.", "part.")))


def keep(lab, name, age_s):
    p = os.path.join(lab.store, "staging", name)
    with open(p, "w"):
        pass
    os.utime(p, (time.time() - age_s,) * 2)


def submit(lab, *args, **kw):
    return lab.run("submit", *args, **kw).stdout.decode().strip()


@check
def submitted_batches_go_whole(lab):
    """Order, edges, job, wish and index go with the batch, and what stdin held; verify would tell of any left over."""
    a = submit(lab, "-", "--format", "lines", "--into", "a", "--processor", "exec:cat", "--owner", "ann", stdin=b"one\ntwo\n")
    b = submit(lab, lab.path("b", "1\n2\nbad\n"), "--format", "ndjson", "--into", "b", "--after", a + ":ok", "--on-complete", "true")
    c = submit(lab, lab.path("c", "1\n"), "--format", "ndjson", "--into", "c", "--after", b + ":any", "--not-before", "+1d")
    assert len(staged(lab)) == 1
    assert clean(lab, "--older-than", "0s")["batches"] == 0 and len(staged(lab)) == 1
    lab.run("work", rc=1)
    # The first is done with: who waited for it has ended. The second is waited for.
    o = clean(lab, "--older-than", "0s")
    assert (o["batches"], o["kept_in_use"]) == (1, 1) and not staged(lab), o
    lab.verify()
    lab.run("status", a, rc=5)
    lab.run("status", b)
    lab.run("cancel", c)
    assert clean(lab, "--older-than", "0s")["batches"] == 2
    lab.verify()
    env = run.lmdb.open(lab.store, readonly=True, max_dbs=64, lock=False)
    with env.begin() as t:
        for name in ("orders", "jobs", "controls", "edges", "index", "items", "batches", "states", "identity"):
            db = env.open_db(b"penstock." + name.encode(), t, create=False)
            assert t.stat(db)["entries"] == 0, name
    env.close()
    assert lab.dump("a") == [(run.be(0), b"one"), (run.be(1), b"two")], lab.dump("a")


@check
def a_child_can_be_tried_again_without_its_parent(lab):
    a = submit(lab, lab.path("a", "1\n"), "--format", "ndjson", "--into", "a")
    b = submit(lab, lab.path("b", "x\n"), "--format", "lines", "--into", "b", "--processor", "exec:test -e %s/now" % lab.dir,
               "--max-retries", "0", "--after", a + ":ok", "--not-before", "+4s")
    lab.run("work", rc=1)
    # The parent is three seconds old, and the child is not.
    assert clean(lab, "--older-than", "3s")["batches"] == 1
    lab.run("status", a, rc=5)
    assert lab.lines("status", b)[0]["failed"] == 1
    lab.verify()
    lab.path("now", "")
    lab.run("retry", b)
    lab.run("work")
    assert lab.lines("status", b)[0]["committed"] == 1
    lab.verify()


@check
def files_nobody_refers_to_are_swept(lab):
    a = submit(lab, "-", "--format", "lines", stdin=b"one\n")
    mine = staged(lab)[0]
    os.utime(os.path.join(lab.store, "staging", mine), (0, 0))
    day = 86400
    for name, age in (("items.%016x" % 1, day + 60), ("items.%016x" % 2, day - 600), ("part.%016x" % 3, day + 60), ("part.%016x" % 4, day - 600)):
        keep(lab, name, age)
    assert len(staged(lab)) == 5
    lab.run("clean", "--dry-run")
    assert len(staged(lab)) == 5
    clean(lab)
    assert staged(lab) == sorted([mine, "items.%016x" % 2, "part.%016x" % 4]), staged(lab)
    lab.run("work")
    assert lab.lines("status", a)[0]["committed"] == 1
    # Killed between the commit and its removal: the next clean finds it.
    if run.shutil.which("strace"):
        lab.run("clean", "--older-than", "0s", rc=(137, -9), before=("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=unlinkat",
                                                                    "-e", "inject=unlinkat:signal=SIGKILL:when=1"))
        lab.verify()
        assert lab.lines("status")[0]["batches_total"] == 0 and mine in staged(lab), staged(lab)
    clean(lab, "--older-than", "0s")
    assert mine not in staged(lab)
    lab.verify()


@check
def commands_clean_by_themselves(lab):
    """`run`, `submit` and `work` at their end, not more often than it is due; commands that read never do."""
    f = lab.path("f", "1\n2\nbad\n")

    def there(batch):
        return lab.run("status", batch, rc=(0, 5)).returncode == 0

    for n, command in enumerate((("run", lab.path("r", "1\n"), "--into", "r", "--format", "ndjson"),
                                 ("submit", lab.path("s", "1\n"), "--into", "s", "--format", "ndjson"), ("work",))):
        store = lab.path("store%d" % n)
        lab.store = store
        old = lab.load(f, "--format", "ndjson", rc=1)["batch"]
        # In a new store with the rules it was made with, nothing is due, and nothing is written for it.
        lab.load(lab.path("n", "3\n"), "--format", "ndjson", "--into", "n")
        assert lab.run("clean", "--dry-run", "--json").stdout and clean(lab, "--dry-run")["batches_ever"] == 0
        lab.run("clean", "--rules", "completed=1ms")
        time.sleep(0.01)
        for reader in (("status",), ("items", old), ("events",), ("verify",), ("get", "default", "0")):
            lab.run(*reader)
        assert there(old), "a command that reads has removed a batch"
        lab.run(*command)
        assert not there(old), command
        o = clean(lab, "--dry-run")
        assert o["batches_ever"] >= 1, o
        # Done, for an hour.
        new = lab.load(lab.path("m", "4\nbad\n"), "--format", "ndjson", "--into", "m", rc=1)["batch"]
        time.sleep(0.01)
        lab.run(*command)
        assert there(new), command
        lab.verify()


if __name__ == "__main__":
    sys.exit(run.main())
