#!/usr/bin/python3
# queues - judges who of what was submitted runs, when, and beside whom: keys of submissions, caps, weights, room
#
#   tests/cli/queues.py PENSTOCK [WORD]      only checks whose name contains WORD
#
# Nothing here says how fast something has to be: times are only asked not to be too short. Every check ends with verify.
import json
import os
import signal
import subprocess
import sys
import time

from lab import Lab, Skip, check, judge_all


class Queue(Lab):
    def items(self, name="in", count=3):
        return self.path(name, "".join("%d\n" % i for i in range(count)))

    def submit(self, *args, source=None, **kw):
        p = self.run("submit", source or self.items(), "--format", "lines", "--json", *args, **kw)
        return json.loads(p.stdout)

    def status(self, batch):
        return json.loads(self.run("status", batch, "--json").stdout)

    def state(self, batch):
        return self.status(batch)["state"]

    def why(self, batch):
        return self.run("why", batch).stdout.decode()

    def events(self, batch, *types):
        return [e for e in self.lines("events", batch) if not types or e["type"] in types]

    def until(self, what, f):
        """Waits for a condition that must come about."""
        end = time.monotonic() + 60
        while not f():
            assert time.monotonic() < end, what
            time.sleep(0.02)

    def count(self):
        return json.loads(self.run("status", "--json").stdout)["batches_total"]


# ---- keys of submissions -------------------------------------------------------------------------


@check
def simple_gives_back_what_is_unfinished_or_complete(lab):
    a = lab.submit("--dedup", "k")
    assert a["deduplicated"] is False and a["replaced"] is None, a
    p = lab.run("submit", lab.items("other", 9), "--format", "lines", "--dedup", "k")
    assert p.stdout.decode().strip() == a["batch"], "whatever it holds"
    assert "there already" in p.err, p.err
    assert lab.submit("--dedup", "k", "--owner", "ann")["deduplicated"] is False, "each owner has keys of his own"
    lab.run("work")
    assert lab.submit("--dedup", "k") == {"batch": a["batch"], "deduplicated": True, "replaced": None}
    assert lab.status(a["batch"])["items"] == 3
    assert len(lab.events(a["batch"], "deduplicated")) == 2
    said = lab.why(a["batch"])
    assert "has the key 'k' (simple)" in said and "2 other submissions" in said, said
    # Without the key the same sources are the batch that they always were.
    assert lab.submit()["deduplicated"] is False
    b = lab.submit("--dedup", "gone")["batch"]
    lab.run("cancel", b)
    assert lab.submit("--dedup", "gone")["deduplicated"] is False, "a cancelled one has no key"
    lab.verify()


@check
def throttle_lets_one_in_for_a_time(lab):
    a = lab.submit("--dedup", "k", "--dedup-ttl", "1h")
    lab.run("work")
    assert lab.submit("--dedup", "k", "--dedup-ttl", "1h")["batch"] == a["batch"]
    assert len(lab.events(a["batch"], "deduplicated")) == 1
    said = lab.why(a["batch"])
    assert "(throttle); its time ends in 3" in said, said
    began = time.monotonic()
    b = lab.submit("--dedup", "short", "--dedup-mode", "throttle", "--dedup-ttl", "0.5s")
    lab.until("the time never is over", lambda: lab.submit("--dedup", "short", "--dedup-ttl", "0.5s")["batch"] != b["batch"])
    assert time.monotonic() - began >= 0.5
    c = lab.submit("--dedup", "k", "--dedup-ttl", "1h", "--dedup-mode", "throttle", "--owner", "ann")
    assert c["deduplicated"] is False
    lab.verify()


@check
def debounce_runs_once_behind_the_last_one(lab):
    ids = [lab.submit("--dedup", "k", "--dedup-mode", "debounce", "--dedup-ttl", "3s", "--on-complete", "echo $PENSTOCK_BATCH >> " + lab.path("hooks"),
                      source=lab.items("in%d" % i, i + 1)) for i in range(4)]
    assert [i["deduplicated"] for i in ids] == [False, True, True, True], ids
    assert [i["replaced"] for i in ids] == [None] + [i["batch"] for i in ids[:3]], ids
    assert [lab.state(i["batch"]) for i in ids] == ["cancelled"] * 3 + ["queued"]
    assert lab.status(ids[0]["batch"])["code"] == "PEN340"
    assert "key 'k' is batch " + ids[3]["batch"] in lab.why(ids[0]["batch"])
    said = lab.why(ids[3]["batch"])
    assert "took the place of batch " + ids[2]["batch"] in said and "3 other submissions" in said, said
    assert [e["code"] for e in lab.events(ids[1]["batch"], "deduplicated", "cancelled")] == ["PEN340", "PEN340"]
    lab.run("work")
    last = lab.status(ids[3]["batch"])
    assert last["started_ms"] - last["created_ms"] >= 3000, "so long after the last one"
    assert [lab.status(i["batch"])["items"] for i in ids] == [0, 0, 0, 4]
    with open(lab.path("hooks")) as f:
        assert f.read().split() == [ids[3]["batch"]], "what never ran has no end to tell"
    lab.verify()


@check
def debounce_leaves_what_has_begun(lab):
    go = lab.path("go")
    script = "exec:sh " + lab.path("wait.sh", "while ! [ -e %s ]; do sleep 0.05; done; cat" % go)
    a = lab.submit("--dedup", "k", "--dedup-mode", "debounce", "--dedup-ttl", "0.3s", "--processor", script)["batch"]
    worker = lab.start("work")
    lab.until("it never begins", lambda: lab.state(a) == "running")
    b = lab.submit("--dedup", "k", "--dedup-mode", "debounce", "--dedup-ttl", "5s", source=lab.items("b"))
    assert b["deduplicated"] is False and b["replaced"] is None, b
    c = lab.submit("--dedup", "k", "--dedup-mode", "debounce", "--dedup-ttl", "0.3s", source=lab.items("c"))
    assert c["replaced"] == b["batch"]
    lab.path("go", "")
    assert worker.wait(60) == 0
    assert [lab.state(i) for i in (a, b["batch"], c["batch"])] == ["completed", "cancelled", "completed"]
    lab.verify()


@check
def a_key_outlives_processes_and_goes_with_its_time(lab):
    a = lab.submit("--dedup", "k", "--dedup-ttl", "0.2s")["batch"]
    kept = lab.submit("--dedup", "kept")["batch"]
    lab.run("work")
    time.sleep(0.3)
    assert "its time is over" in lab.why(a)
    lab.run("clean")
    assert "key" not in lab.why(a), "retention took it, the batch stays"
    assert lab.state(a) == "completed"
    lab.verify()
    lab.run("clean", "--older-than", "0")
    assert lab.submit("--dedup", "kept")["batch"] != kept, "its batch is gone, and so is the key"
    lab.verify()


@check
def many_at_once_enter_one(lab):
    lab.submit()
    for mode, ttl in (("simple", None), ("throttle", "1h")):
        more = ("--dedup", "m-" + mode, "--dedup-mode", mode) + (("--dedup-ttl", ttl) if ttl else ())
        before = lab.count()
        children = [lab.start("submit", lab.items(), "--format", "lines", *more) for _ in range(8)]
        assert [c.wait(60) for c in children] == [0] * 8
        assert lab.count() == before + 1, mode
    before = lab.count()
    more = ("--dedup", "d", "--dedup-mode", "debounce", "--dedup-ttl", "1h")
    children = [lab.start("submit", lab.items(), "--format", "lines", *more) for _ in range(8)]
    assert [c.wait(60) for c in children] == [0] * 8
    assert lab.count() == before + 8
    states = [b["state"] for b in json.loads(lab.run("status", "--json").stdout)["batches"]][:8]
    assert sorted(states) == ["cancelled"] * 7 + ["queued"], states
    lab.verify()


@check
def what_makes_no_sense_is_refused(lab):
    f = lab.items()
    for args, part in ((("--dedup", "k", "--dedup-mode", "simple", "--dedup-ttl", "1s"), "has no time"),
                       (("--dedup", "k", "--dedup-mode", "debounce"), "need a time"),
                       (("--dedup-mode", "throttle"), "without a key"), (("--dedup-ttl", "1s"), "without a key"),
                       (("--dedup", ""), "1 to 200 bytes"), (("--dedup", "x" * 201), "1 to 200 bytes"),
                       (("--dedup", "k", "--fresh"), "neither"), (("--dedup", "k", "--idempotency-key", "i"), "neither")):
        p = lab.run("submit", f, *args, rc=2)
        assert part in p.err, (args, p.err)
    assert lab.count() == 0
    spec = json.dumps({"items": ["a", "b"], "dedup": "k", "dedup_mode": "throttle", "dedup_ttl": "1h"}).encode()
    a = lab.run("submit", "--spec", "-", stdin=spec).stdout
    assert lab.run("submit", "--spec", "-", stdin=spec).stdout == a and lab.count() == 1
    assert len(os.listdir(os.path.join(lab.store, "staging"))) == 1, "what was given back keeps no stream"
    lab.verify()


@check
def a_kept_stream_of_a_dead_worker_is_not_in_the_way_for_good(lab):
    """A submitted stream goes on by itself: another batch by @seq waits for it and does not cancel it."""
    go = lab.path("go")
    script = "exec:sh " + lab.path("wait.sh", "while ! [ -e %s ]; do sleep 0.05; done; cat" % go)
    a = json.loads(lab.run("submit", "-", "--format", "lines", "--processor", script, "--json", stdin=b"1\n2\n").stdout)["batch"]
    worker = lab.start("work")
    lab.until("it never begins", lambda: lab.state(a) == "running")
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    p = lab.run("run", lab.items(), "--format", "lines", rc=75)
    assert a in p.err, p.err
    lab.path("go", "")
    lab.run("work")
    assert lab.state(a) == "completed"
    lab.run("run", lab.items(), "--format", "lines")
    lab.verify()


# ---- caps and weights ------------------------------------------------------------------------------

# A line when a batch's item begins and one when it ends: owner, +1 or -1. O_APPEND keeps their order.
PACED = "echo $PENSTOCK_OWNER 1 >> %s; sleep 0.15; echo $PENSTOCK_OWNER -1 >> %s; cat"


class Paced:
    """Batches of one item that say when they run."""

    def __init__(self, lab):
        self.lab = lab
        self.n = 0

    def fill(self, *owners):
        self.log = self.lab.path("log%d" % self.n, "")
        script = "exec:sh " + self.lab.path("paced%d.sh" % self.n, PACED % (self.log, self.log))
        for owner in owners:
            self.n += 1
            self.lab.submit("--owner", owner, "--processor", script, "--into", "d%d" % self.n, source=self.lab.items("p%d" % self.n, 1))

    def lines(self):
        with open(self.log) as f:
            return [(o, int(d)) for o, d in (x.split() for x in f)]

    def most(self):
        """How many ran at once, in all and of one owner."""
        now, most, of_owner = {}, 0, 0
        for owner, d in self.lines():
            now[owner] = now.get(owner, 0) + d
            most = max(most, sum(now.values()))
            of_owner = max(of_owner, now[owner])
        return most, of_owner


@check
def caps_hold_over_all_processes(lab):
    paced = Paced(lab)
    paced.fill(*["ann", "bob", "ann", "ann", "eve", "bob"] * 2)
    workers = [lab.start("work", "--cap", "3", "--owner-cap", "2", "--batches", "4") for _ in range(3)]
    assert [w.wait(100) for w in workers] == [0, 0, 0]
    assert len(paced.lines()) == 24, "all ran, whoever ended first"
    most, of_owner = paced.most()
    assert most <= 3 and of_owner <= 2, (most, of_owner)
    lab.verify()
    # The measure sees it when they do not hold.
    paced.fill(*["ann"] * 12)
    workers = [lab.start("work", "--batches", "4", "--owner-batches", "4") for _ in range(3)]
    assert [w.wait(100) for w in workers] == [0, 0, 0]
    assert paced.most()[1] > 2, paced.most()
    lab.verify()


@check
def a_run_counts_and_a_dead_one_does_not(lab):
    go = lab.path("go")
    script = "exec:sh " + lab.path("wait.sh", "while ! [ -e %s ]; do sleep 0.05; done; cat" % go)
    lab.run("run", lab.items("first"), "--format", "lines", "--into", "x")
    runner = lab.start("run", lab.items(), "--format", "lines", "--processor", script)
    lab.until("it never begins", lambda: json.loads(lab.run("status", "--json").stdout)["live"])
    b = lab.submit("--into", "d2", source=lab.items("b"))["batch"]
    worker = lab.start("work", "--cap", "1")
    time.sleep(1)
    assert worker.poll() is None and lab.state(b) == "queued", "it waits for the other one"
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    lab.path("go", "")
    assert worker.wait(60) == 0, "it goes on with both, one after the other"
    assert lab.state(b) == "completed"
    lab.verify()


@check
def weights_say_who_gets_how_much(lab):
    paced = Paced(lab)
    paced.fill(*["ann"] * 12, *["bob"] * 12)
    lab.run("work", "--batches", "1", "--owner-weight", "ann=3", "--owner-weight", "bob=1")
    first = [o for o, d in paced.lines() if d > 0][:12]
    assert first.count("ann") == 9 and first.count("bob") == 3, first
    for bad in ("ann", "=3", "ann=0", "ann=1001", "ann=2x", "ann=-1"):
        p = lab.run("work", "--owner-weight", bad, rc=2)
        assert "1 to 1000" in p.err, p.err
    lab.verify()


# ---- room ------------------------------------------------------------------------------------------


@check
def what_can_never_be_free_is_not_waited_for(lab):
    a = lab.submit()["batch"]
    for option, part in (("--min-free-memory", "of memory are free"), ("--min-free-disk", "of disk are free")):
        p = lab.run("work", option, "8000TiB", rc=75)
        assert "PEN342" in p.err and part in p.err and "in all" in p.err and "1 batches are left" in p.err, p.err
    assert lab.state(a) == "queued"
    lab.run("work", "--min-free-memory", "0", "--min-free-disk", "0")
    assert lab.state(a) == "completed"
    lab.run("work", "--min-free-memory", "8000TiB")  # nothing to begin: nothing is left
    lab.verify()


@check
def a_worker_that_waits_says_so_to_all(lab):
    a = lab.submit()["batch"]
    worker = lab.start("work", "--forever", "--min-free-memory", "8000TiB")
    lab.until("it says nothing", lambda: json.loads(lab.run("status", "--json").stdout)["held"])
    held = json.loads(lab.run("status", "--json").stdout)["held"]
    assert [h["pid"] for h in held] == [worker.pid] and "memory" in held[0]["reason"], held
    said = lab.why(a)
    assert "process %d begins nothing more" % worker.pid in said, said
    assert "begins nothing more" in lab.run("status").stdout.decode()
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert json.loads(lab.run("status", "--json").stdout)["held"] == [], "what a dead one said is not so any more"
    assert "begins nothing" not in lab.why(a)
    lab.verify()


@check
def a_disk_that_fills_holds_batches_and_items_until_there_is_room(lab):
    disk = lab.path("disk")
    os.mkdir(disk)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", disk], stderr=subprocess.DEVNULL).returncode:
        raise Skip("no mount")
    try:
        lab.store = os.path.join(disk, "store")
        log = lab.path("log", "")
        script = "exec:sh " + lab.path("item.sh", "echo x >> %s; sleep 0.2; cat" % log)
        a = lab.submit("--processor", script, "--jobs", "1", source=lab.items("many", 40))["batch"]
        worker = lab.start("work", "--min-free-disk", "100MiB")
        lab.until("no item begins", lambda: os.path.getsize(log))
        with open(os.path.join(disk, "ballast"), "wb") as f:
            os.posix_fallocate(f.fileno(), 0, 120 << 20)
        lab.until("it says nothing", lambda: "begins nothing more" in lab.why(a))
        b = lab.submit("--into", "other", source=lab.items("b"))["batch"]
        time.sleep(2)  # what was given ends
        begun = os.path.getsize(log)
        time.sleep(1)
        assert os.path.getsize(log) == begun and begun < 2 * 40, ("nothing more is begun", begun)
        assert lab.state(a) == "running" and lab.state(b) == "queued"
        assert "of disk are free" in lab.why(b), lab.why(b)
        os.unlink(os.path.join(disk, "ballast"))
        assert worker.wait(60) == 0
        err = worker.stderr.read().decode()
        assert "no further items are begun" in err and "there is room again" in err, err
        assert [lab.state(i) for i in (a, b)] == ["completed"] * 2
        assert os.path.getsize(log) == 2 * 40, "each item once"
        lab.verify()
    finally:
        subprocess.run(["umount", "-l", disk])


if __name__ == "__main__":
    sys.exit(judge_all(Queue))
