#!/usr/bin/python3
# limits - rate limits, judged from outside: what passes, what is refused and how it is said, and that no kill forgets it
#
#   tests/cli/limits.py PENSTOCK [WORD]      only checks whose name contains WORD
#
# The laboratory, and the environment, are run.py's.
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run
from run import check

run.CHECKS.clear()

PRESETS = {  # name: limit, window in seconds
    "default": (100, 60), "auth": (5, 900), "upload": (10, 3600), "GENERAL": (100, 60), "AUTH": (5, 900),
    "FILE_UPLOAD": (10, 3600), "PARTICIPANT_SESSION": (1, 300), "EXPORT": (20, 3600), "SURVEY_CREATION": (50, 86400),
    "REALTIME": (30, 60), "SEARCH": (200, 60), "BATCH_OPERATIONS": (10, 3600), "BATCH_ITEM_PROCESSING": (100000, 60),
    "PDF": (10, 60),
}


def policies(lab, *args):
    return {p["policy"]: p for p in lab.lines("limit", "list", *args)}


def fields(p):
    return dict(line.split(": ", 1) for line in p.stdout.decode().splitlines())


def lines(lab, n, name="in"):
    return lab.path(name, "".join("%d\n" % i for i in range(n)))


@check
def presets_are_there_and_can_be_changed_and_restored(lab):
    got = policies(lab)
    assert {n: (p["limit"], p["window"]) for n, p in got.items()} == PRESETS, got
    assert {n for n, p in got.items() if p["layer"] == 1} == {"default", "auth", "upload"}
    lab.run("limit", "set", "EXPORT", "--limit", "3")
    p = policies(lab)["EXPORT"]
    assert (p["limit"], p["window"], p["preset"], p["changed"]) == (3, 3600, True, True), p
    for left in (2, 1, 0):
        assert fields(lab.run("limit", "check", "EXPORT"))["X-RateLimit-Remaining"] == str(left)
    lab.run("limit", "check", "EXPORT", rc=6)
    lab.run("limit", "rm", "EXPORT")
    p = policies(lab, "--identity", "user:" + os.popen("id -un").read().strip())["EXPORT"]
    assert (p["limit"], p["changed"], p["remaining"]) == (20, False, 17), p  # what was used up stays counted
    lab.run("limit", "rm", "EXPORT", rc=5)
    lab.run("limit", "set", "mine.x", "--window", "2s", "--limit", "4", "--algorithm", "gcra", "--burst", "1", "--unit", "bytes")
    assert policies(lab)["mine.x"]["burst"] == 1
    lab.run("limit", "rm", "mine.x")
    assert "mine.x" not in policies(lab)
    lab.run("limit", "check", "mine.x", rc=5)
    for bad in (["set", "a/b", "--window", "1s", "--limit", "1"], ["set", "x", "--limit", "1"], ["set", "x", "--window", "1s"],
                ["check"], ["dance"], ["set", "x", "--window", "1s", "--limit", "0"], ["check", "default", "--identity", ""],
                ["set", "x", "--window", "1s", "--limit", "5", "--unit", "concurrent", "--algorithm", "gcra"]):
        lab.run("limit", *bad, rc=2)
    lab.verify()


@check
def a_refusal_names_every_policy(lab):
    h = fields(lab.run("limit", "check", "PARTICIPANT_SESSION", "EXPORT", "--identity", "user:a"))
    assert h["X-RateLimit-Limit"] == "1" and h["X-RateLimit-Window"] == "300" and h["X-RateLimit-Remaining"] == "0", h
    assert h["RateLimit-Policy"] == '"PARTICIPANT_SESSION";q=1;w=300, "EXPORT";q=20;w=3600', h
    assert h["RateLimit"] == '"PARTICIPANT_SESSION";r=0;t=300, "EXPORT";r=19;t=3600' and "Retry-After" not in h, h
    lab.run("limit", "set", "EXPORT", "--limit", "1")
    p = lab.run("limit", "check", "PARTICIPANT_SESSION", "EXPORT", "SEARCH", "--identity", "user:a", rc=6)
    h = fields(p)
    assert 3590 <= int(h["Retry-After"]) <= 3600 and h["X-RateLimit-Limit"] == "1", h
    assert "SEARCH" not in h["RateLimit"] and "SEARCH" in h["RateLimit-Policy"], h
    assert "PARTICIPANT_SESSION refuses" in p.err and "EXPORT refuses" in p.err and "Retry-After" in p.err, p.err
    o = json.loads(lab.run("limit", "check", "PARTICIPANT_SESSION", "EXPORT", "SEARCH", "--identity", "user:a", "--json", rc=6).stdout)
    assert o["type"].endswith("#quota-exceeded") and o["violated-policies"] == ["PARTICIPANT_SESSION", "EXPORT"], o
    # Nothing was taken from the one that would have let it pass.
    assert json.loads(lab.run("limit", "peek", "SEARCH", "--identity", "user:a", "--json").stdout)["policies"][0]["remaining"] == 200
    # Others have their own; a cost that never passes is said to.
    lab.run("limit", "check", "PARTICIPANT_SESSION", "--identity", "192.0.2.1")
    p = lab.run("limit", "check", "SEARCH", "--cost", "201", "--identity", "x" * 255, rc=6)
    assert "never" in p.err, p.err
    lab.run("limit", "check", "SEARCH", "--identity", "x" * 256, rc=2)


@check
def every_algorithm_counts_and_lets_go(lab):
    for algorithm in ("sliding", "gcra", "fixed"):
        lab.run("limit", "set", algorithm, "--window", "2s", "--limit", "4", "--algorithm", algorithm)
        began = time.monotonic()
        for _ in range(4):
            lab.run("limit", "check", algorithm)
        lab.run("limit", "check", algorithm, rc=(6,) if time.monotonic() - began < 0.4 else (0, 6))
        time.sleep(2.1)
        lab.run("limit", "check", algorithm, "--cost", "4")


@check
def processes_share_and_no_kill_forgets(lab):
    lab.run("limit", "set", "shared", "--window", "1h", "--limit", "30")
    started = [lab.start("limit", "check", "shared", "--identity", "user:k") for _ in range(45)]
    for i, p in enumerate(started):  # a third of them is killed while it is at it
        if i % 3 == 0:
            p.send_signal(signal.SIGKILL)
    passed = sum(p.wait() == 0 for p in started)
    killed = sum(p.returncode == -signal.SIGKILL for p in started)
    o = json.loads(lab.run("limit", "peek", "shared", "--identity", "user:k", "--json").stdout)["policies"][0]
    assert passed <= 30 and passed <= 30 - o["remaining"] <= passed + killed, (passed, killed, o)
    # As after another boot: the table is gone, the copy is not.
    os.unlink(os.path.join(lab.store, "run", "limits"))
    again = json.loads(lab.run("limit", "peek", "shared", "--identity", "user:k", "--json").stdout)["policies"][0]
    assert again["remaining"] == o["remaining"], (o, again)
    lab.verify()


@check
def a_batch_counts_against_its_owner(lab):
    f = lines(lab, 10)
    lab.run("limit", "set", "BATCH_OPERATIONS", "--limit", "2")
    a = lab.load(f, "--format", "lines", "--limits", "--owner", "ann")
    # The same one again is no new batch.
    assert lab.load(f, "--format", "lines", "--limits", "--owner", "ann")["batch"] == a["batch"]
    lab.run("submit", f, "--format", "lines", "--into", "b", "--limits", "--owner", "ann")
    p = lab.run("run", f, "--format", "lines", "--into", "c", "--limits", "--owner", "ann", "--json", "--progress", "none", rc=6)
    o = json.loads(p.stdout)
    assert o["violated-policies"] == ["BATCH_OPERATIONS"] and o["identity"] == "user:ann" and 0 < o["retry_after"] <= 3600, o
    assert "PEN350" in p.err and "BATCH_OPERATIONS" in p.err and "Retry-After" in p.err, p.err
    p = lab.run("submit", f, "--format", "lines", "--into", "c", "--limits", "--owner", "ann", rc=6)
    assert not p.stdout and "BATCH_OPERATIONS" in p.err
    assert "c" not in [d["dataset"] for d in lab.lines("datasets")]
    lab.load(f, "--format", "lines", "--into", "c", "--limits", "--owner", "bob")
    lab.load(f, "--format", "lines", "--into", "d", "--owner", "ann")  # without --limits
    spent = json.loads(lab.run("limit", "peek", "BATCH_ITEM_PROCESSING", "--identity", "user:ann", "--json").stdout)
    assert spent["policies"][0]["remaining"] == 100000 - 10, spent
    # What passes shares transactions, as without limits.
    lab.run("limit", "set", "BATCH_OPERATIONS", "--limit", "20")
    lab.load(lines(lab, 90000), "--format", "lines", "--into", "many", "--limits", "--owner", "eve")
    assert json.loads(lab.run("status", "@last", "--json").stdout)["groups"] < 45
    lab.run("limit", "set", "BATCH_OPERATIONS", "--limit", "2")
    # From the configuration file.
    f = lines(lab, 10)
    lab.path("penstock.toml", "limits = true\n")
    lab.run("run", f, "--format", "lines", "--into", "e", "--owner", "ann", rc=6, cwd=lab.dir)
    lab.path("penstock.toml", "limits = perhaps\n")
    lab.run("run", f, "--format", "lines", "--into", "e", "--owner", "ann", rc=2, cwd=lab.dir)
    lab.verify()


def stamps(lab, path):
    with open(path) as f:
        return sorted(float(x) for x in f)


def never_more(times, n, window):
    """At most n in any window. The children's clocks come a little later than the decision."""
    worst = max((sum(1 for t in times if a <= t < a + window - 0.8) for a in times), default=0)
    assert worst <= n, (worst, times)


@check
def a_rate_holds_for_jobs_and_over_processes(lab):
    f, log = lines(lab, 24), lab.path("log", "")
    job = ["--format", "lines", "--processor", "exec:date +%%s.%%N >> %s" % log, "--jobs", "4", "--rate", "8/3s"]
    job[3] = job[3].replace("%%", "%")
    p = lab.start("run", f, *job)
    # Killed in the middle of the second window: the next process goes on in the same window.
    end = time.monotonic() + 30
    while len(stamps(lab, log)) < 12 and time.monotonic() < end:
        time.sleep(0.02)
    p.kill()
    p.wait()
    o = lab.load(f, *job)
    assert o["items"] == 24 and o["resumed"], o
    times = stamps(lab, log)
    never_more(times, 8, 3)
    assert 24 <= len(times) <= 32 and times[-1] - times[0] > 5.2, times
    lab.verify()


@check
def a_limited_batch_waits_and_says_so(lab):
    f = lines(lab, 30)
    b = lab.run("submit", f, "--format", "lines", "--processor", "exec:cat", "--rate", "5/min").stdout.decode().strip()
    p = lab.start("work")
    lab.until_counted(p, 5)
    time.sleep(0.5)
    assert "waits for its limit" in lab.run("why", b).stdout.decode()
    s = json.loads(lab.run("status", b, "--json").stdout)
    assert s["committed"] == 5 and s["state"] == "running" and (not s["ring"] or s["ring"]["rests_on"] == "PEN351"), s
    job = s.get("job") or {}
    assert job.get("tries", 5) == 5, s  # waiting spends none
    # It can be paused, resumed and cancelled while it waits.
    began = time.monotonic()
    lab.run("cancel", b)
    while json.loads(lab.run("status", b, "--json").stdout)["state"] != "cancelled":
        assert time.monotonic() - began < 60
        time.sleep(0.05)
    p.wait()
    lab.verify()


@check
def a_rate_cuts_plain_loads_exactly(lab):
    f = lines(lab, 60)
    # Interrupted while it waits: what was read ahead is not committed, and nothing is lost.
    p = lab.start("run", f, "--format", "lines", "--rate", "25/4s", "--progress", "none")
    lab.until_counted(p, 25)
    time.sleep(0.3)
    p.send_signal(signal.SIGINT)
    assert p.wait() == 130
    before = len(lab.dump())
    assert before == 25, before
    o = lab.load(f, "--format", "lines", "--rate", "25/4s")
    assert o["resumed"] and o["committed"] == 60 and len(lab.dump()) == 60, o
    assert [v for _, v in lab.dump()] == [b"%d" % i for i in range(60)]
    # And a rate that is none of its business: the whole at once.
    o = lab.load(f, "--format", "lines", "--into", "b", "--rate", "1000/s")
    assert o["seconds"] < 5, o
    plan = json.loads(lab.run("plan", f, "--format", "lines", "--into", "p", "--rate", "20/10s", "--json").stdout)
    assert [(x["limit"], x["code"]) for x in plan["limits"]] == [("rate", "PEN351")] and "20" in plan["limits"][0]["text"], plan
    for bad in ("10", "10/", "/min", "0/s", "10/fortnight", "-1/s", "1.5/s"):
        lab.run("run", f, "--rate", bad, rc=2)
    lab.run("submit", "--spec", "-", stdin=b'{"items":["a","b"],"format":"lines","into":"c","rate":"1/10s"}')
    lab.verify()


if __name__ == "__main__":
    sys.exit(run.main())
