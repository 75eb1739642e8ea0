#!/usr/bin/python3
# flags - judges feature flags from outside: rollouts, lists, the emergency switch in other processes, ramps, history
#
#   tests/cli/flags.py PENSTOCK [WORD]      only checks whose name contains WORD
#
# Nothing here says how fast something has to be. Every check ends with verify.
import json
import random
import signal
import sys
import time

from lab import Lab, check, judge_all

BATCHES = "BATCH_OPERATIONS_V1"


class Flags(Lab):
    def set(self, *args, name=BATCHES, **kw):
        return self.run("flag", "set", name, *args, **kw)

    def eval(self, user=None, name=BATCHES, *args, **kw):
        who = () if user is None else ("--user", user)
        return json.loads(self.run("flag", "eval", name, *who, *args, "--json", **kw).stdout)

    def flag(self, name=BATCHES):
        return self.lines("flag", "list", name)[0]

    def history(self, name=BATCHES):
        return self.lines("flag", "history", name)

    def status(self, batch):
        return json.loads(self.run("status", batch, "--json").stdout)

    def why(self, batch):
        return self.run("why", batch).stdout.decode()

    def until(self, what, f):
        """Waits for a condition that must come about."""
        end = time.monotonic() + 60
        while not f():
            assert time.monotonic() < end, what
            time.sleep(0.02)

    def until_state(self, batch, *states):
        self.until("%s never is %s" % (batch, states), lambda: self.status(batch)["state"] in states)

    def numbers(self, n, name="in.ndjson"):
        return self.path(name, "".join('{"id":%d}\n' % i for i in range(n)))

    def rests(self, batch):
        """What it decided is the same a while later; commands that ran already may end."""
        time.sleep(0.5)
        before = self.status(batch)["items"]
        time.sleep(0.7)
        assert self.status(batch)["items"] == before, "it goes on while a flag is off"
        return before


# ---- flags by themselves -------------------------------------------------------------------------


@check
def a_flag_from_its_first_day_to_its_last(lab):
    lab.set("--rollout", "0.125%", "--whitelist", "ann,bob", "--metadata", '{"team": "x",\n "n": [1]}', "--reason", "a start", "--by", "me")
    f = lab.flag()
    assert list(f)[:9] == ["id", "name", "enabled", "rollout", "whitelist", "blacklist", "metadata", "created_ms", "updated_ms"], f
    assert f["enabled"] is False and f["rollout"] == 0.125 and f["whitelist"] == ["ann", "bob"] and f["version"] == 1, f
    assert f["metadata"] == {"team": "x", "n": [1]} and f["id"][0] == "c" and len(f["id"]) == 25, f
    assert lab.eval("ann")["reason"] == "DISABLED"
    lab.set("--on", "--add-whitelist", "carl", "--remove-whitelist", "bob", "--add-blacklist", "dora", "--metadata", "")
    f = lab.flag()
    assert f["whitelist"] == ["ann", "carl"] and f["blacklist"] == ["dora"] and f["metadata"] is None and f["rollout"] == 0.125, f
    for user, value, reason in (("ann", True, "TARGETING_MATCH"), ("user:ann", True, "TARGETING_MATCH"), ("dora", False, "TARGETING_MATCH"),
                                (None, False, "DEFAULT"), ("bob", None, "SPLIT")):
        v = lab.eval(user)
        assert v["reason"] == reason and (value is None or v["value"] is value) and v["version"] == 2, v
    h = lab.history()
    assert [c["version"] for c in h] == [2, 1] and h[1]["by"] == "me" and h[1]["reason"] == "a start", h
    assert h[0]["changes"]["whitelist"] == {"before": 2, "after": 2, "added": ["carl"], "removed": ["bob"]}, h
    assert h[1]["changes"]["rollout"] == {"before": 0, "after": 0.125}, h
    lab.run("flag", "rm", BATCHES, "--reason", "over")
    lab.run("flag", "rm", BATCHES, rc=5)
    lab.run("flag", "list", BATCHES, rc=5)
    assert lab.lines("flag", "list") == []
    assert [c["action"] for c in lab.history()] == ["rm", "set", "set"]
    v = lab.eval("ann", BATCHES, "--default", "on")
    assert v["value"] is True and v["reason"] == "ERROR" and v["error_code"] == "FLAG_NOT_FOUND" and v["version"] == 0, v
    lab.verify()


@check
def a_rollout_keeps_whom_it_has(lab):
    users = ["u%d" % i for i in range(60)]
    lab.set("--on")
    was, counts = set(), []
    for p in ("0", "10", "50%", "90", "100"):
        lab.set("--rollout", p)
        now = {u for u in users if lab.eval(u)["value"]}
        assert was <= now, (p, was - now)
        was = now
        counts.append(len(now))
    assert counts[0] == 0 and counts[-1] == len(users) and 0 < counts[2] < len(users), counts
    assert lab.eval("u1") == lab.eval("u1")
    lab.verify()


@check
def variants(lab):
    lab.set("--on", "--rollout", "100", "--variant", "blue=3", "--variant", "red=1")
    got = [lab.eval("u%d" % i)["variant"] for i in range(60)]
    assert set(got) == {"blue", "red"} and got.count("blue") > got.count("red"), got
    said = lab.run("flag", "eval", BATCHES, "--user", "u0").stdout.decode()
    assert said == "on STATIC variant %s\n" % got[0], said
    lab.set("--variant", "none=")
    assert lab.eval("u0")["variant"] == "on"
    lab.verify()


@check
def what_cannot_be(lab):
    for args in (["--rollout", "101"], ["--rollout", "0.0001"], ["--rollout", "x"], ["--on", "--off"], ["--metadata", "[1]"], ["--metadata", "{"],
                 ["--variant", "a"], ["--variant", "=1"], ["--variant", "a=0"], ["--whitelist", "x" * 256], ["--if-version", "3"]):
        lab.set(*args, rc=75 if args[0] == "--if-version" else 2)
    lab.set(name="a b", rc=2)
    lab.set(name="x" * 129, rc=2)
    for words in (["list", "a", "b"], ["set"], ["eval"], ["nothing"], ["ramp", "X", "5,x"], ["ramp", "X", "5", "--guard", "speed<1%"], ["ramp", "X", "9,5"]):
        lab.run("flag", *words, rc=2)
    lab.run("flag", "ramp", "X", "5,10", rc=5)
    assert lab.lines("flag", "list") == []
    lab.run("flag", "eval", "X", "--exit-code", rc=6)
    lab.run("flag", "eval", "X", "--exit-code", "--default", "on")
    lab.verify()


@check
def two_who_change_at_once(lab):
    lab.set("--on")
    both = [lab.start("flag", "set", BATCHES, "--add-whitelist", ",".join("%s%d" % (w, i) for i in range(2000))) for w in "ab"]
    more = [lab.start("flag", "set", BATCHES, "--add-whitelist", "n%d" % i) for i in range(6)]
    assert all(p.wait(60) == 0 for p in both + more)
    f = lab.flag()
    assert len(f["whitelist"]) == 4006 and f["version"] == 9, (len(f["whitelist"]), f["version"])
    lab.set("--rollout", "1", "--if-version", "8", rc=75)
    lab.set("--rollout", "1", "--if-version", "9")
    lab.verify()


@check
def a_setter_that_is_killed(lab):
    """Whatever moment it dies at: the flag is as it was or as it should be, in the store and for everybody who asks."""
    lab.set("--on", "--rollout", "100")
    draw, last = random.Random(lab.random.random()), True
    for i in range(25):
        want = not last
        p = lab.start("flag", "set", BATCHES, "--on" if want else "--off", "--reason", "%d" % i)
        time.sleep(draw.random() * 0.02)
        p.send_signal(signal.SIGKILL)
        p.wait()
        is_on = lab.flag()["enabled"]
        assert is_on in (want, last)
        last = is_on
        assert lab.eval("ann")["value"] is is_on
        assert len(lab.history()) == lab.flag()["version"]
    lab.verify()


# ---- gates ---------------------------------------------------------------------------------------


@check
def no_flag_no_gate(lab):
    assert lab.load(lab.numbers(3), "--key", "/id")["committed"] == 3
    s = lab.status("@last")
    assert s["flags"] == [] and s["held_by_flag"] is None, s
    lab.verify()


@check
def made_only_where_it_is_on(lab):
    f = lab.numbers(3)
    lab.set("--on", "--add-whitelist", "ann")
    o = lab.load(f, "--owner", "ann", "--key", "/id")
    pin = lab.status(o["batch"])["flags"]
    assert pin == [{"flag": BATCHES, "version": 1, "on": True, "variant": "on", "reason": "TARGETING_MATCH", "bucket": None}], pin
    for verb in ("run", "submit"):
        p = lab.run(verb, f, "--owner", "bob", "--key", "/id", "--json", rc=6)
        said = json.loads(p.stdout)
        assert said["refused"] == "flag" and said["flag"] == BATCHES and said["reason"] == "STATIC" and said["owner"] == "bob", said
        assert BATCHES in p.err and "STATIC" in p.err and "PEN355" in p.err, p.err
    lab.run("plan", f, "--owner", "bob", "--key", "/id", rc=6)
    lab.run("run", f, "--owner", "bob", "--after", "@last", rc=6)
    assert len(lab.lines("events", o["batch"])) == len(lab.lines("events"))  # what is refused leaves nothing
    # Complete, and asked again: there is nothing to make.
    lab.set("--off")
    lab.load(f, "--owner", "ann", "--key", "/id")
    lab.run("run", f, "--owner", "ann", "--key", "/id", "--fresh", rc=6)
    lab.verify()


@check
def a_flag_that_a_batch_names(lab):
    f = lab.numbers(3)
    p = lab.run("run", f, "--flag", "NEW", "--json", rc=6)
    assert json.loads(p.stdout)["error_code"] == "FLAG_NOT_FOUND", p.stdout
    lab.set("--on", "--rollout", "100", name="NEW")
    o = lab.load(f, "--flag", "NEW")
    assert [x["flag"] for x in lab.status(o["batch"])["flags"]] == ["NEW"]
    # Queued with it; switched off before anybody takes it.
    b = lab.run("submit", f, "--flag", "NEW", "--into", "q").stdout.decode().strip()
    lab.set("--off", "--reason", "no", name="NEW")
    lab.run("work")
    assert lab.status(b)["state"] == "queued" and lab.status(b)["held_by_flag"]["reason"] == "DISABLED"
    assert "NEW" in lab.why(b) and "DISABLED" in lab.why(b) and "worker takes up" not in lab.why(b)
    lab.set("--on", name="NEW")
    lab.run("work")
    assert lab.status(b)["state"] == "completed" and lab.status(b)["flags"][0]["version"] == 1
    spec = lab.run("submit", "--spec", "-", stdin=json.dumps({"items": [1, 2], "flag": ["NEW"]}).encode())
    assert lab.status(spec.stdout.decode().strip())["flags"][0]["flag"] == "NEW"
    lab.run("run", f, "--flag", "a b", rc=2)
    lab.verify()


@check
def the_draw_holds_for_the_batch(lab):
    f = lab.numbers(3)
    lab.set("--on", "--rollout", "100")
    b = lab.run("submit", f, "--owner", "ann").stdout.decode().strip()
    lab.set("--rollout", "0")
    lab.run("submit", f, "--owner", "ann", "--into", "other", rc=6)
    lab.run("work")
    s = lab.status(b)
    assert s["state"] == "completed" and s["flags"][0]["reason"] == "STATIC" and s["flags"][0]["version"] == 1, s
    lab.verify()


@check
def a_job_rests_while_its_flag_is_off(lab):
    lab.set("--on", "--rollout", "100")
    run = lab.start("run", lab.numbers(400), "--key", "/id", "--owner", "ann", "--processor", "exec:sleep 0.01; cat", "--jobs", "2")
    lab.until_counted(run, 10)
    batch = lab.status("@running")["batch"]
    lab.set("--off", "--reason", "an emergency")
    lab.until_state(batch, "paused")
    n = lab.rests(batch)
    assert 10 <= n < 400
    s = lab.status(batch)
    assert s["code"] == "PEN355" and s["held_by_flag"] == {"flag": BATCHES, "reason": "DISABLED", "version": 2}, s
    assert s["flags"][0]["version"] == 1 and s["retries"] == 0, s
    assert "DISABLED" in lab.why(batch)
    assert b"held        by flag " + BATCHES.encode() in lab.run("status", batch).stdout
    lab.run("cancel", batch, rc=6)
    lab.set("--on")
    assert run.wait(120) == 0, run.stderr.read()
    s = lab.status(batch)
    assert s["state"] == "completed" and s["committed"] == 400 and s["tries"] == 400 and s["code"] is None, s
    kinds = [e["type"] for e in lab.lines("events", batch)]
    assert kinds.count("paused") == 1 and kinds.count("resumed") == 1, kinds
    assert [e for e in lab.lines("events", batch) if e["type"] == "paused"][0]["code"] == "PEN355"
    lab.verify()


@check
def a_plain_load_rests_and_a_job_in_another_process(lab):
    """The switch in two processes at once; a blacklist holds its owner's batch alone."""
    lab.set("--on", "--rollout", "100")
    load = lab.start("run", lab.numbers(40000, "big.ndjson"), "--key", "/id", "--owner", "ann", "--chunk", "100", "--pause-ms", "5")
    job = lab.start("run", lab.numbers(400), "--into", "jobs", "--key", "/id", "--owner", "bob", "--processor", "exec:sleep 0.01; cat", "--jobs", "2")
    mine = {}

    def both():
        for b in json.loads(lab.run("status", "--json").stdout)["live"]:
            if b["committed"]:
                mine[b["owner"]] = b["batch"]
        return len(mine) == 2

    lab.until("two batches never run", both)
    lab.set("--off")
    for b in mine.values():
        lab.until_state(b, "paused")
    for b in mine.values():
        lab.rests(b)
    lab.set("--on", "--blacklist", "ann")
    lab.until_state(mine["bob"], "running", "completed")
    assert lab.status(mine["ann"])["held_by_flag"]["reason"] == "TARGETING_MATCH"
    lab.rests(mine["ann"])
    lab.set("--blacklist", "")
    assert load.wait(120) == 0 and job.wait(120) == 0
    assert lab.status(mine["ann"])["committed"] == 40000 and lab.status(mine["bob"])["committed"] == 400
    lab.verify()


@check
def a_load_that_ends_while_it_rests(lab):
    """Stopped, killed, cancelled: what was committed stays, and nothing is there twice."""
    f = lab.numbers(40000, "big.ndjson")
    args = ("run", f, "--key", "/id", "--chunk", "100", "--pause-ms", "2")
    lab.set("--on", "--rollout", "100")
    for end in (signal.SIGINT, signal.SIGKILL):
        lab.set("--on")
        run = lab.start(*args)
        lab.until_counted(run, 200)
        batch = lab.status("@running")["batch"]
        lab.set("--off")
        lab.until_state(batch, "paused")
        n = lab.rests(batch)
        run.send_signal(end)
        assert run.wait(60) == (130 if end == signal.SIGINT else -signal.SIGKILL)
        lab.run(*args, rc=6)
        assert lab.status(batch)["committed"] >= n
    lab.set("--on")
    assert lab.load(*args[1:])["committed"] == 40000 and len(lab.dump()) == 40000
    lab.set("--on")
    run = lab.start(*args, "--into", "other")
    lab.until_counted(run, 200)
    batch = lab.status("@running")["batch"]
    lab.set("--off")
    lab.until_state(batch, "paused")
    lab.run("cancel", batch, rc=6)
    lab.run("cancel", batch, "--force")
    assert run.wait(60) == 1 and lab.status(batch)["state"] == "cancelled"
    # A worker takes one up whose runner died while it rested.
    lab.set("--on")
    batch = lab.run("submit", *args[1:], "--into", "third").stdout.decode().strip()
    work = lab.start("work")
    lab.until_counted(work, 200)
    lab.set("--off")
    lab.until_state(batch, "paused")
    work.kill()
    work.wait()
    lab.run("work")
    assert lab.status(batch)["committed"] < 40000 and "DISABLED" in lab.why(batch)
    lab.set("--on")
    lab.run("work")
    assert lab.status(batch)["committed"] == 40000 and len(lab.dump(dataset="third")) == 40000
    lab.verify()


@check
def the_switch_after_its_setter_was_killed(lab):
    """A setter that dies behind its commit has told nobody: the runner finds out by itself."""
    lab.set("--on", "--rollout", "100")
    run = lab.start("run", lab.numbers(3000), "--key", "/id", "--processor", "exec:sleep 0.01; cat", "--jobs", "2")
    lab.until_counted(run, 5)
    batch = lab.status("@running")["batch"]
    while lab.flag()["enabled"]:
        p = lab.start("flag", "set", BATCHES, "--off")
        time.sleep(lab.random.random() * 0.02)
        p.kill()
        p.wait()
    lab.until_state(batch, "paused")
    lab.rests(batch)
    lab.run("cancel", batch, "--force")
    assert run.wait(60) == 1
    assert lab.status(batch)["state"] == "cancelled"
    lab.verify()


@check
def a_wait_spends_no_tries(lab):
    lab.set("--on", "--rollout", "100")
    run = lab.start("run", lab.path("one", "x\n"), "--format", "lines", "--processor", "exec:exit 1", "--backoff", "2s", "--max-retries", "3")
    lab.until("no try", lambda: any(b["tries"] for b in [lab.status(x["batch"]) for x in json.loads(lab.run("status", "--json").stdout)["live"]]))
    batch = lab.status("@running")["batch"]
    lab.set("--off")
    lab.until_state(batch, "paused")
    tries = lab.status(batch)["tries"]
    time.sleep(2.5)
    assert lab.status(batch)["tries"] == tries
    lab.set("--on")
    assert run.wait(60) == 1
    s = lab.status(batch)
    assert s["tries"] == 4 and s["failed"] == 1, s
    lab.verify()


@check
def a_run_that_is_stopped_while_it_rests(lab):
    lab.set("--on", "--rollout", "100")
    f = lab.numbers(400)
    args = ("run", f, "--key", "/id", "--processor", "exec:sleep 0.01; cat", "--jobs", "2")
    run = lab.start(*args)
    lab.until_counted(run, 5)
    batch = lab.status("@running")["batch"]
    lab.set("--off")
    lab.until_state(batch, "paused")
    run.send_signal(signal.SIGINT)
    assert run.wait(60) == 130
    assert lab.status(batch)["state"] == "interrupted"
    p = lab.run(*args, "--json", rc=6)
    assert json.loads(p.stdout)["flag"] == BATCHES, p.stdout
    lab.run("work")
    assert lab.status(batch)["committed"] < 400
    lab.set("--on")
    assert lab.load(*args[1:])["committed"] == 400
    lab.verify()


@check
def a_worker_takes_up_what_was_held(lab):
    lab.set("--on", "--rollout", "100")
    batch = lab.run("submit", lab.numbers(20), "--key", "/id").stdout.decode().strip()
    lab.set("--off")
    worker = lab.start("work", "--forever")
    time.sleep(1)
    assert lab.status(batch)["state"] == "queued"
    lab.set("--on")
    lab.until_state(batch, "completed")
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 143
    lab.verify()


@check
def cancelled_only_where_it_is_on(lab):
    f = lab.numbers(3)
    lab.set("--on", "--rollout", "100")
    b = lab.run("submit", f, "--owner", "ann").stdout.decode().strip()
    lab.set("--blacklist", "ann")
    p = lab.run("cancel", b, rc=6)
    assert BATCHES in p.err and "TARGETING_MATCH" in p.err and "--force" in p.err, p.err
    assert lab.status(b)["state"] == "queued"
    lab.run("pause", b)
    lab.run("resume", b)
    lab.run("cancel", b, "--force")
    assert lab.status(b)["state"] == "cancelled"
    lab.verify()


# ---- ramps ---------------------------------------------------------------------------------------


def ramp_steps(p):
    return [json.loads(x) for x in p.stdout.splitlines()]


@check
def a_ramp_to_its_end(lab):
    lab.set("--on", name="R")
    steps = ramp_steps(lab.run("flag", "ramp", "R", "5,25,50,100", "--every", "200ms", "--guard", "error_rate<1%", "--json"))
    assert [s["rollout"] for s in steps] == [5, 25, 50, 100, 100] and steps[-1]["state"] == "done", steps
    assert lab.flag("R")["rollout"] == 100
    assert [c["changes"].get("rollout", {}).get("after") for c in reversed(lab.history("R"))] == [None, None, 5, 25, 50, 100, None]
    lab.verify()


@check
def a_ramp_that_holds(lab):
    good, bad = lab.path("good", '{"a":1}\n' * 50), lab.path("bad", '{"a":1}\n' * 9 + "{\n")
    lab.set("--on", "--add-whitelist", "ann", name="R")
    ramp = lab.start("flag", "ramp", "R", "5,100", "--every", "20s", "--guard", "error_rate < 1%", "--min-items", "20")
    lab.until("no step", lambda: lab.flag("R")["rollout"] == 5)
    lab.load(bad, "--owner", "ann", "--into", "x", rc=1)  # not by this flag
    lab.load(good, "--owner", "ann", "--flag", "R")
    lab.load(bad, "--owner", "ann", "--flag", "R", rc=1)
    assert ramp.wait(60) == 4
    said = ramp.stderr.read().decode()
    assert "PEN358" in said and "error_rate 1.666 %" in said, said
    h = lab.history("R")
    assert h[0]["action"] == "hold" and "60 items in 2 batches" in h[0]["reason"], h[0]
    assert lab.flag("R")["rollout"] == 5
    lab.run("flag", "ramp", "R", rc=4)
    assert len(lab.history("R")) == len(h)
    # Somebody looked at it.
    ramp = lab.start("flag", "ramp", "R", "--resume")
    lab.until("it does not go on", lambda: lab.history("R")[0]["reason"] == "goes on")
    ramp.kill()
    ramp.wait()
    lab.verify()


@check
def a_ramp_survives_its_command(lab):
    lab.set("--on", name="R")
    ramp = lab.start("flag", "ramp", "R", "5,25,100", "--every", "1s")
    lab.until("no step", lambda: lab.flag("R")["rollout"] == 25)
    ramp.kill()
    ramp.wait()
    assert lab.flag("R")["rollout"] == 25
    assert [s["rollout"] for s in ramp_steps(lab.run("flag", "ramp", "R", "--json"))] == [25, 100, 100]
    # Two at once: each step is taken once.
    lab.set("--rollout", "0", name="R")
    two = [lab.start("flag", "ramp", "R", "5,25,100", "--every", "300ms")]
    lab.until("no step", lambda: lab.flag("R")["rollout"] == 5)
    two.append(lab.start("flag", "ramp", "R"))
    assert [p.wait(60) for p in two] == [0, 0]
    steps = [c["changes"]["rollout"]["after"] for c in lab.history("R") if c["action"] == "ramp" and "rollout" in c["changes"]]
    assert steps == [100, 25, 5, 100, 25, 5], steps
    lab.verify()


if __name__ == "__main__":
    sys.exit(judge_all(Flags))
