#!/usr/bin/python3
# jobs - judges batches of commands from outside: a command per item, retries, batches that wait for each other, hooks
#
#   tests/cli/jobs.py PENSTOCK [WORD]      only checks whose name contains WORD
#
# Nothing here says how fast something has to be: times are only asked not to be too short. Every check ends with verify.
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time

from lab import PENSTOCK, Lab, be, check, judge_all

# A line a try: number, attempt, key, process. What it does is said by the item's first word.
SCRIPT = """
read -r what how || :
printf '%s %s %s %s\\n' "$PENSTOCK_ITEM_SEQ" "$PENSTOCK_ATTEMPT" "$(date +%s%N)" "$$" >> "$PEN_TEST_LOG"
case $what in
ok) echo "done $how";;
bad) echo "bad input $how" >&2; exit 65;;
fail) echo "line one" >&2; echo "boom $PENSTOCK_ATTEMPT" >&2; exit "${how:-1}";;
until) [ "$PENSTOCK_ATTEMPT" -ge "$how" ] || exit 7; echo "done at $PENSTOCK_ATTEMPT";;
sleep) sleep "$how"; echo slept;;
die) kill -"$how" $$;;
esac
"""


class Jobs(Lab):
    def __init__(self, name):
        super().__init__(name)
        self.log = self.path("log", "")
        os.environ["PEN_TEST_LOG"] = self.log
        self.script = "exec:sh " + self.path("item.sh", SCRIPT)
        self.number = 0

    def items(self, *texts):
        self.number += 1
        return self.path("items%d" % self.number, "".join(t + "\n" for t in texts))

    def job(self, f, *args, processor=None, **kw):
        return self.load(f, "--format", "lines", "--processor", processor or self.script, *args, **kw)

    def submit(self, f, *args, processor=None, **kw):
        p = self.run("submit", f, "--format", "lines", "--processor", processor or self.script, *args, **kw)
        return p.stdout.decode().strip()

    def tries(self):
        """(item, attempt) in the order they began."""
        with open(self.log) as f:
            return [tuple(map(int, x.split()[:2])) for x in f]

    def began(self):
        with open(self.log) as f:
            return {tuple(map(int, x.split()[:2])): int(x.split()[2]) for x in f}

    def state(self, batch):
        return json.loads(self.run("status", batch, "--json").stdout)["state"]

    def until(self, what, f):
        """Waits for a condition that must come about."""
        end = time.monotonic() + 60
        while not f():
            assert time.monotonic() < end, what
            time.sleep(0.02)

    def until_state(self, batch, *states):
        self.until("%s never is %s" % (batch, states), lambda: self.state(batch) in states)

    def rows(self, batch="@last", *args):
        return {r["seq"]: r for r in self.lines("items", batch, *args)}

    def events(self, batch, *types):
        return [e for e in self.lines("events", batch) if not types or e["type"] in types]

    def one_row_each(self, batch, count):
        rows = self.lines("items", batch)
        assert [r["seq"] for r in rows] == list(range(count)), rows
        return rows

    def file(self, name):
        with open(self.path(name)) as f:
            return f.read()


# ---- a command per item --------------------------------------------------------------------------


@check
def fates(lab):
    o = lab.job(lab.items("ok a", "bad b", "fail 3", "until 3", "die KILL", "ok z"), "--max-retries", "2", "--backoff", "0.05s", rc=1)
    assert (o["state"], o["items"], o["committed"], o["rejected"], o["failed"]) == ("completed", 6, 3, 1, 2), o
    rows = lab.one_row_each("@last", 6)
    assert [r["state"] for r in rows] == ["committed", "rejected", "failed", "committed", "failed", "committed"], rows
    assert [r["attempts"] for r in rows] == [1, 1, 3, 3, 3, 1], rows
    assert [r["code"] for r in rows] == [None, "PEN1080", "PEN1081", None, "PEN1082", None], [r["code"] for r in rows]
    assert "bad input b" in rows[1]["message"] and "status 3" in rows[2]["message"] and "boom 3" in rows[2]["message"]
    assert rows[2]["raw"] == "fail 3" and rows[2]["line"] == 3, rows[2]
    assert [v for _, v in lab.dump()] == [b"done a\n", b"done at 3\n", b"done z\n"]
    assert sorted(lab.tries()) == sorted([(0, 1), (1, 1), (2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (3, 3), (4, 1), (4, 2), (4, 3), (5, 1)])
    said = lab.run("why", "@last", "2").stdout.decode()
    assert "3 tries" in said and "line one\nboom 3" in said, said
    assert len(lab.events("@last", "dead_lettered")) == 2 and len(lab.events("@last", "retry")) == 6
    assert lab.job(lab.path("items1"), "--max-retries", "2", "--backoff", "0.05s", rc=1)["batch"] == o["batch"]
    assert len(lab.tries()) == 12, "the same command again does nothing"
    assert lab.job(lab.path("items1"), "--max-retries", "0", "--fresh", rc=1)["batch"] != o["batch"]
    lab.verify()


@check
def delays_are_what_was_asked(lab):
    lab.job(lab.items("until 4"), "--backoff", "0.2s,0.4s,0.6s")
    began = lab.began()
    for n, least in ((1, 0.2), (2, 0.4), (3, 0.6)):
        assert began[0, n + 1] - began[0, n] >= least * 1e9 - 1e6, (n, began)
    # What is written beside the failure: never later than that from there, and the next try not before.
    for n, e in enumerate(lab.events("@last", "retry")):
        assert e["due_ms"] - e["time_ms"] <= 200 * (n + 1) + 1 and began[0, n + 2] >= (e["due_ms"] - 1) * 1e6, (e, began)
    lab.job(lab.items("until 3"), "--backoff", "exp:0.1s", "--fresh")
    lab.verify()


@check
def no_retry_is_passed_over(lab):
    """Failures become durable later than the next try of others is due."""
    f = lab.items(*["until %d" % (2 + i % 2) for i in range(60)])
    o = lab.job(f, "--backoff", "0.001s,0.02s", "--pause-ms", "50", "--chunk", "7", "--jobs", "2")
    assert o["committed"] == 60 and [r["attempts"] for r in lab.one_row_each(o["batch"], 60)] == [2 + i % 2 for i in range(60)]
    assert len(lab.tries()) == 150, "none twice"
    lab.verify()


@check
def time_for_tries_is_over(lab):
    """The second retry would begin 0.1 s + 60 s after the first try: it fails after its second one, and says why."""
    f = lab.items("until 2", "fail 7", "ok x")
    o = lab.job(f, "--backoff", "0.1s,60s", "--retry-for", "20s", rc=1)
    assert (o["committed"], o["failed"]) == (2, 1), o
    (row,) = lab.lines("items", "@last", "--state", "failed")
    assert row["attempts"] == 2 and row["exit_status"] == 7 and row["code"] == "PEN1081" and row["due"] is None, row
    assert ": given up, because the time of --retry-for is over before its next try: status 7" in row["message"], row
    assert "--retry-for" in lab.run("why", "@last", "1").stdout.decode()
    lab.verify()
    # It gets its time again with a retry, and a worker that takes the batch up knows of the limit.
    b = lab.submit(f, "--into", "b", "--max-retries", "9", "--backoff", "0.1s,60s", "--retry-for", "20s")
    lab.run("work", rc=1)
    assert [r["attempts"] for r in lab.lines("items", b, "--state", "failed")] == [2]
    lab.run("retry", b)
    assert "20.000 s after its first" in lab.run("why", b).stdout.decode()
    lab.run("work", rc=1)
    assert [r["attempts"] for r in lab.lines("items", b, "--state", "failed")] == [3]
    lab.run("run", f, "--retry-for", "0", rc=2)
    lab.verify()


@check
def nothing_is_retried(lab):
    o = lab.job(lab.items("fail 1", "ok x"), "--max-retries", "0", rc=1)
    assert (o["failed"], o["committed"]) == (1, 1) and sorted(lab.tries()) == [(0, 1), (1, 1)], o
    lab.job(lab.items("fail 1", "ok x"), "--max-retries", "0", "--allow-rejects")
    lab.verify()


@check
def a_slow_item_is_ended(lab):
    o = lab.job(lab.items("sleep 60", "ok x", "fail 1"), "--timeout", "0.3s", "--max-retries", "1", "--backoff", "0.01s", rc=1)
    rows = lab.one_row_each("@last", 3)
    assert rows[0]["code"] == "PEN1083" and rows[0]["attempts"] == 2 and o["failed"] == 2, rows
    f = lab.items("ignores")
    lab.job(f, "--timeout", "0.2s", "--max-retries", "0", rc=1,
            processor="exec:sh -c 'sleep 47.11 & trap \"\" TERM; kill -STOP $$; sleep 60'")
    assert b"47.11" not in subprocess.run(["ps", "-eo", "args"], stdout=subprocess.PIPE).stdout, "what it left is gone too"
    lab.verify()


@check
def places_of_the_command(lab):
    f = lab.path("f.ndjson", '{"id":"k-1"}\n{"id":"k 2; touch evil"}\n{"id":"$(touch evil) `touch evil` \'\\"&|"}\n{"id":"-n"}\n{"id":"a\\nb"}\n')
    keys = ["k-1", "k 2; touch evil", "$(touch evil) `touch evil` '\"&|", "-n", "a\nb"]
    o = lab.load(f, "--key", "/id", "--into", "direct", "--processor", "exec:printf '%s\\0' {key} {seq} 'x{seq}y'", cwd=lab.dir)
    assert o["committed"] == 5, o
    got = dict(lab.dump("direct"))
    for i, k in enumerate(keys):
        assert got[k.encode()] == ("%s\0%d\0x%dy\0" % (k, i, i)).encode(), (k, got)
    lab.load(f, "--key", "/id", "--into", "shell", "--processor", "exec:printf '%s\\0' {key} \"{key}\" {seq} | cat; cat < {}; true", cwd=lab.dir)
    got = dict(lab.dump("shell"))
    lines = lab.file("f.ndjson").splitlines()
    for i, k in enumerate(keys):
        assert got[k.encode()] == ("%s\0%s\0%d\0%s" % (k, k, i, lines[i])).encode(), (k, got)
    assert not os.path.exists(lab.path("evil"))
    lab.verify()


@check
def the_item_is_stdin(lab):
    big = "x" * 3000000
    f = lab.items(big, "", "small")
    assert lab.job(f, processor="exec:cat", rc=0)["committed"] == 3
    assert [v for _, v in lab.dump()] == [big.encode(), b"", b"small"]
    lab.job(f, "--into", "n", processor="exec:wc -c")
    assert [int(v) for _, v in lab.dump("n")] == [3000000, 0, 5]
    # What waits for its next try is kept, however long it is.
    lab.job(lab.items("y" * 300000), "--into", "r", "--backoff", "0.01s", processor="exec:sh -c 'test $PENSTOCK_ATTEMPT = 3 && exec wc -c'")
    assert int(lab.dump("r")[0][1]) == 300000
    # One that does not read it is nobody's fault.
    assert lab.job(f, "--into", "t", processor="exec:true")["committed"] == 3
    assert [v for _, v in lab.dump("t")] == [b"", b"", b""]
    lab.job(f, "--into", "file", processor="exec:sh -c 'cat \"$1\"; test -s \"$1\" || echo empty' x {}")
    assert [v for _, v in lab.dump("file")] == [big.encode(), b"empty\n", b"small"]
    lab.verify()


@check
def files_with_any_name(lab):
    names = ["plain", "with space", "quote'", 'quote"', "-rf", "$(touch evil)", ";touch evil", "new\nline", "*", "{}", "{key}", "é"]
    for n in names:
        lab.path("t/" + n, "in " + n)
    o = lab.load(lab.path("t"), "--format", "files", "--key", "@path", "--into", "a", "--processor", "exec:cat {}", cwd=lab.dir)
    assert o["committed"] == len(names), o
    assert dict(lab.dump("a")) == {n.encode(): ("in " + n).encode() for n in names}
    lab.load(lab.path("t"), "--format", "files", "--key", "@path", "--into", "b", "--processor",
             "exec:cat < {} && echo \" {key}\" && cat", cwd=lab.dir)
    # The file is its stdin as well.
    assert dict(lab.dump("b")) == {n.encode(): ("in %s %s\nin %s" % (n, n, n)).encode() for n in names}
    assert not os.path.exists(lab.path("evil"))
    # A retry reads the file as it is then: it was repaired meanwhile.
    lab.path("u/x", "bad")
    fix = lab.path("fix.sh", 'grep -q bad "$1" && { echo good > "$1"; exit 1; }; cat "$1"')
    lab.load(lab.path("u"), "--format", "files", "--key", "@path", "--into", "c", "--backoff", "0.01s", "--processor", "exec:sh %s {}" % fix)
    assert lab.dump("c") == [(b"x", b"good\n")]
    lab.verify()


@check
def the_environment(lab):
    o = lab.job(lab.items("x"), "--owner", "ann", "--key", "@content", processor="exec:env")
    env = dict(x.split("=", 1) for x in lab.dump()[0][1].decode().splitlines() if "=" in x)
    assert env["PENSTOCK_BATCH"] == o["batch"] and env["PENSTOCK_OWNER"] == "ann", env
    assert env["PENSTOCK_CORRELATION_ID"] == o["correlation_id"] and env["PENSTOCK_ATTEMPT"] == "1" and env["PENSTOCK_ITEM_SEQ"] == "0", env
    assert env["PENSTOCK_ITEM_KEY"] == lab.dump()[0][0].hex(), env
    lab.verify()


@check
def results_are_kept_for_the_same_bytes(lab):
    ran = lab.path("ran", "")
    command = 'exec:sh -c \'read x; echo "$x" >> "%s"; [ "$x" != bad ] && echo "did $x"\'' % ran
    f = lab.path("f", "a\nb\na\nbad\n")
    args = ("--format", "lines", "--processor", command, "--max-retries", "0", "--jobs", "1", "--cache")
    o = lab.load(f, *args, rc=1)
    s = json.loads(lab.run("status", "@last", "--json").stdout)
    first = sorted(open(ran).read().split())
    assert (o["committed"], o["failed"]) == (3, 1) and s["cache_hits"] + s["cache_misses"] == 4, s
    assert len(first) == s["cache_misses"] and set(first) == {"a", "b", "bad"}, (first, s)
    # Elsewhere, in another order: what ended well is not done again, what failed is.
    lab.path("ran", "")
    g = lab.path("g", "bad\nc\nb\na\n")
    o = lab.load(g, *args, "--into", "other", rc=1)
    s = json.loads(lab.run("status", "@last", "--json").stdout)
    assert sorted(open(ran).read().split()) == ["bad", "c"], open(ran).read()
    assert (s["cache_hits"], s["cache_misses"], o["committed"], o["failed"]) == (2, 2, 3, 1), (s, o)
    assert [v for _, v in lab.dump("other")] == [b"did c\n", b"did b\n", b"did a\n"], lab.dump("other")
    # Another command is another result; without --cache none is taken.
    lab.path("ran", "")
    lab.load(g, "--format", "lines", "--processor", command + " ", "--max-retries", "0", "--into", "third", rc=1)
    assert sorted(open(ran).read().split()) == ["a", "b", "bad", "c"]
    lab.verify()


@check
def halts(lab):
    f = lab.items(*["ok %d" % i for i in range(30)], "fail 1", *["ok %d" % i for i in range(300)])
    o = lab.job(f, "--halt", "soon,fail=1", "--max-retries", "0", "--jobs", "2", rc=4)
    assert o["state"] == "stopped" and o["failed"] == 1 and 30 <= o["items"] < 331, o
    lab.verify()
    o = lab.job(f, "--max-retries", "0", "--jobs", "2", rc=1)
    assert o["resumed"] and (o["items"], o["committed"], o["failed"]) == (331, 330, 1), o
    assert sorted(lab.tries()) == [(i, 1) for i in range(331)], "every item once"
    lab.one_row_each(o["batch"], 331)
    # now: what runs is ended, and is no try.
    f = lab.items("sleep 60", "fail 1", "ok 1")
    o = lab.job(f, "--into", "n", "--halt", "now,fail=1", "--max-retries", "0", "--jobs", "2", rc=4)
    assert (o["state"], o["failed"]) == ("stopped", 1), o
    assert 0 not in lab.rows(o["batch"]), "it has not ended"
    lab.verify()
    lab.path("item.sh", 'echo "$PENSTOCK_ATTEMPT"')
    o = lab.job(f, "--into", "n", "--jobs", "2", rc=1)
    assert (o["committed"], o["failed"]) == (2, 1) and dict(lab.dump("n"))[be(0)] == b"1\n", o
    lab.verify()


@check
def too_many_rejects(lab):
    f = lab.items(*["bad x" if i % 3 == 0 else "ok %d" % i for i in range(300)])
    o = lab.job(f, "--max-rejects", "9", rc=4)
    assert o["state"] == "stopped" and 10 <= o["rejected"] < 100, o
    lab.verify()
    o = lab.job(f, "--max-rejects", "100", rc=1)
    assert o["resumed"] and (o["items"], o["rejected"]) == (300, 100), o
    assert sorted(lab.tries()) == [(i, 1) for i in range(300)], "every item once"
    lab.verify()


@check
def rows_that_are_kept(lab):
    texts = ["ok %d" % i if i % 5 else "bad %d" % i for i in range(100)]
    for mode in ("all", "auto"):
        o = lab.job(lab.items(*texts), "--results", mode, "--into", mode, rc=1)
        assert (o["committed"], o["rejected"]) == (80, 20) and len(lab.one_row_each(o["batch"], 100)) == 100, (mode, o)
    o = lab.job(lab.items(*texts), "--results", "exceptions", "--into", "few", rc=1)
    assert (o["committed"], o["rejected"]) == (80, 20) and len(lab.rows(o["batch"])) == 20, o
    lab.verify()


@check
def duplicates_of_commands(lab):
    text = '{"k":"a","v":1}\n{"k":"b","v":2}\n{"k":"a","v":3}\n'
    for policy, code, committed, other in (("replace", 0, 3, "duplicates"), ("keep", 0, 2, "skipped"), ("reject", 1, 2, "rejected")):
        o = lab.load(lab.path("f", text), "--format", "ndjson", "--key", "/k", "--on-duplicate", policy, "--into", policy, "--jobs", "1",
                     "--processor", "exec:cat", rc=code)
        assert o["committed"] == committed and o[other] == 1 and len(lab.dump(policy)) == 2, o
    lab.verify()


@check
def items_that_cannot_be_given(lab):
    """What is malformed is rejected before a command sees it."""
    f = lab.path("f.ndjson", '{"a":1}\nbroken\n{"a":2}\n')
    o = lab.load(f, "--processor", "exec:cat", rc=1)
    rows = lab.one_row_each(o["batch"], 3)
    assert [r["state"] for r in rows] == ["committed", "rejected", "committed"] and rows[1]["code"] == "PEN1042", rows
    assert lab.load(lab.path("none", ""), "--format", "lines", "--into", "e", "--processor", "exec:cat")["items"] == 0
    lab.verify()


# ---- interruptions -------------------------------------------------------------------------------


@check
def the_first_signal_drains(lab):
    f = lab.items(*["sleep 0.05"] * 100)
    p = lab.start("run", f, "--format", "lines", "--processor", lab.script, "--jobs", "2", "--progress", "none")
    lab.until_counted(p, 4)
    p.send_signal(signal.SIGINT)
    err = p.communicate(timeout=60)[1].decode()
    assert p.returncode == 130 and "resume with:" in err, (p.returncode, err)
    done = lab.rows()
    assert sorted(lab.tries()) == [(s, 1) for s in sorted(done)], "what ran has ended and counts"
    lab.verify()
    o = lab.job(f, "--jobs", "2")
    assert o["resumed"] and o["committed"] == 100, o
    assert sorted(lab.tries()) == [(i, 1) for i in range(100)], "every item once"
    lab.one_row_each(o["batch"], 100)
    lab.verify()


@check
def the_second_signal_ends_at_once(lab):
    f = lab.items(*["ok 1"] * 10, *["sleep 600.77"] * 4)
    p = lab.start("run", f, "--format", "lines", "--processor", lab.script, "--jobs", "2", "--progress", "none")
    lab.until_counted(p, 10)
    lab.until("the long ones have begun", lambda: len(lab.tries()) == 12)
    p.send_signal(signal.SIGINT)
    time.sleep(0.3)
    p.send_signal(signal.SIGINT)
    assert p.wait(60) == 130
    lab.until("children are gone", lambda: b"600.77" not in subprocess.run(["ps", "-eo", "args"], stdout=subprocess.PIPE).stdout)
    lab.verify()
    lab.path("item.sh", 'echo "$PENSTOCK_ATTEMPT"')
    o = lab.job(f, "--jobs", "2")
    assert o["resumed"] and o["committed"] == 14 and [v for _, v in lab.dump()][10:] == [b"1\n"] * 4, "an end of ours is no try"
    lab.verify()


@check
def items_that_wait_survive(lab):
    """An item waits for its next try while the run is killed: tries and due time are what they were."""
    f = lab.items("ok 1", "until 2", "ok 2")
    p = lab.start("run", f, "--format", "lines", "--processor", lab.script, "--backoff", "1.5s", "--progress", "none")
    lab.until_counted(p, 2)
    lab.until("it waits", lambda: lab.rows("@last", "--state", "retrying"))
    due = lab.events("@last", "retry")[0]["due_ms"]
    p.kill()
    p.wait()
    lab.verify()
    o = lab.job(f, "--backoff", "1.5s")
    assert o["resumed"] and o["committed"] == 3 and sorted(lab.tries()) == [(0, 1), (1, 1), (1, 2), (2, 1)], o
    assert lab.began()[1, 2] >= (due - 1) * 1e6
    lab.verify()


@check
def a_half_done_job_is_planned(lab):
    """Its place lags behind: what ended behind it, and what waits, is not counted twice."""
    f = lab.items(*["ok 1"] * 6, "sleep 600.78", *["ok 2"] * 20, "fail 1", *["ok 3"] * 4)
    p = lab.start("run", f, "--format", "lines", "--processor", lab.script, "--jobs", "2", "--backoff", "600s", "--chunk", "4", "--progress", "none")
    lab.until_counted(p, 30)
    lab.until("one waits", lambda: lab.rows("@last", "--state", "retrying"))
    p.kill()
    p.wait()
    said = json.loads(lab.run("plan", f, "--format", "lines", "--processor", lab.script, "--json", "--progress", "none").stdout)
    assert said["fate"] == "resume" and (said["items"], said["committed"]) == (32, 32), said
    assert said["resumed_items"] == 30 and said["sources"][0]["items"] == 1, said
    lab.verify()


@check
def sources_of_what_is_taken_up_again(lab):
    """All items were given out before the engine died; what another one ends is dealt with all the same."""
    def die_and_go_on(what, between=None):
        p = lab.start("work")
        lab.until_state(what, "waiting")
        p.kill()
        p.wait()
        if between:
            between()
        return lab.run("work").stderr.decode()

    f = lab.items("ok 1", "until 2")
    err = die_and_go_on(lab.submit(f, "--into", "a", "--backoff", "3s", "--on-success", "delete"))
    assert not os.path.exists(f) and "1 source file was deleted" in err, err
    tree = os.path.join(lab.dir, "tree")
    os.mkdir(tree)
    for name, text in (("a", "ok 1"), ("b", "until 2")):
        lab.path("tree/" + name, text)
    b = lab.run("submit", tree, "--format", "files", "--key", "@path", "--into", "b", "--processor", lab.script, "--backoff", "3s",
                "--on-success", "move:" + os.path.join(lab.dir, "done")).stdout.decode().strip()
    err = die_and_go_on(b)
    assert os.listdir(tree) == [] and "2 source files were moved" in err, err
    # It is not what was read any more: it stays, and that is said.
    f = lab.items("ok 1", "until 2")
    err = die_and_go_on(lab.submit(f, "--into", "c", "--backoff", "3s", "--on-success", "delete"), lambda: open(f, "a").write("ok 3\n"))
    assert os.path.exists(f) and "the source files will be kept: they changed since they were read" in err, err
    # Dead letters keep it, and it goes when they have ended well.
    f = lab.items("ok 1", "until 2")
    d = lab.submit(f, "--into", "d", "--max-retries", "0", "--on-success", "delete")
    lab.run("work", rc=1)
    assert os.path.exists(f)
    lab.run("retry", d)
    assert "1 source file was deleted" in lab.run("work").stderr.decode() and not os.path.exists(f)
    lab.verify()


@check
def a_changed_source_is_refused(lab):
    f = lab.items("ok 1", "fail 1")
    lab.job(f, "--halt", "soon,fail=1", "--max-retries", "0", rc=4)
    with open(f, "a") as g:
        g.write("ok 2\n")
    lab.run("run", f, "--format", "lines", "--processor", lab.script, rc=3)
    o = lab.job(f, "--fresh", "--max-retries", "0", rc=1)
    assert o["items"] == 3
    lab.verify()


# ---- submit and work -----------------------------------------------------------------------------


@check
def the_same_request_is_one_batch(lab):
    f = lab.items("ok 1", "ok 2")
    a = lab.submit(f)
    p = lab.run("submit", f, "--format", "lines", "--processor", lab.script, "--json")
    o = json.loads(p.stdout)
    assert o == {"batch": a, "deduplicated": True, "replaced": None}, o
    assert lab.state(a) == "queued" and not lab.tries()
    lab.run("work")
    assert lab.state(a) == "completed" and len(lab.tries()) == 2
    assert lab.submit(f) == a, "done and unchanged"
    lab.run("work")
    assert len(lab.tries()) == 2
    b = lab.submit(f, "--fresh")
    assert b != a
    lab.run("pause", b)
    c, b = b, lab.submit(f, "--fresh")
    assert lab.state(c) == "cancelled"
    lab.verify()
    assert lab.submit(lab.items("ok 3")) not in (a, b)
    lab.run("work")
    assert len(lab.tries()) == 5 and len(lab.dump()) == 5
    lab.verify()


@check
def many_for_one_dataset(lab):
    """@seq allows one at a time: the others wait for it, and none is left behind."""
    ids = [lab.submit(lab.items("ok %d" % i)) for i in range(6)]
    lab.run("work")
    assert [lab.state(b) for b in ids] == ["completed"] * 6 and len(lab.dump()) == 6
    lab.verify()


@check
def stdin_is_kept(lab):
    a = lab.submit("-", stdin=b"ok 1\nok 2\nfail 1\n", rc=0)
    staging = os.path.join(lab.store, "staging")
    assert any(n.startswith("items.") for n in os.listdir(staging))
    lab.run("work", rc=1)
    rows = lab.one_row_each(a, 3)
    assert [r["state"] for r in rows] == ["committed", "committed", "failed"], rows
    b = lab.submit("-", stdin=b"ok 1\nok 2\nfail 1\n")
    assert b != a, "a stream has no identity"
    c = lab.submit("-", "--idempotency-key", "k", "--into", "c", stdin=b"ok 5\n")
    n = len(os.listdir(staging))
    assert lab.submit("-", "--idempotency-key", "k", "--into", "c", stdin=b"ok 5\n") == c and len(os.listdir(staging)) == n
    lab.run("submit", "-", lab.items("ok 1"), "--format", "lines", stdin=b"x\n", rc=2)
    assert not [x for x in os.listdir(staging) if x.startswith("part.")]
    lab.run("cancel", "--all")
    lab.verify()


@check
def lists_of_items(lab):
    p = lab.run("submit", "--items", "-", "-0", "--into", "a", "--processor", "exec:cat", stdin=b"one\ntwo\0three\0")
    lst = lab.path("list", "a\nb\n")
    lab.run("submit", "--items", lst, "--into", "b", "--processor", "exec:tr a-z A-Z")
    lab.run("work")
    assert lab.state(p.stdout.decode().strip()) == "completed"
    assert [v for _, v in lab.dump("a")] == [b"one\ntwo", b"three"] and [v for _, v in lab.dump("b")] == [b"A", b"B"]
    lab.verify()


@check
def plain_batches_are_taken_up_too(lab):
    f = lab.path("f.ndjson", lab.records(2000))
    a = lab.run("submit", "f.ndjson", "--key", "/id", "--label", "a=b", cwd=lab.dir).stdout.decode().strip()
    assert lab.state(a) == "queued"
    lab.run("work", cwd="/")
    s = json.loads(lab.run("status", a, "--json").stdout)
    assert (s["state"], s["committed"], s["labels"]) == ("completed", 2000, ["a=b"]), s
    assert lab.load(f, "--key", "/id", "--owner", "root")["items"] == 2000
    lab.verify()


@check
def a_source_that_is_gone(lab):
    f = lab.items("ok 1")
    a = lab.submit(f)
    b = lab.submit(lab.items("ok 2"), "--into", "b")
    os.rename(f, f + ".away")
    p = lab.run("work", rc=(1, 3))
    assert "items1" in p.err and lab.state(b) == "completed", p.err
    assert p.err.count("error[") == 1, p.err
    os.rename(f + ".away", f)
    lab.run("work")
    assert lab.state(a) == "completed"
    lab.verify()


@check
def two_workers_share(lab):
    ids = [lab.submit(lab.items(*["sleep 0.02"] * 20), "--into", "d%d" % i) for i in range(8)]
    workers = [lab.start("work", "--batches", "2") for _ in range(2)]
    for w in workers:
        err = w.communicate(timeout=120)[1].decode()
        assert w.returncode == 0, err
    lab.run("work")
    assert [lab.state(b) for b in ids] == ["completed"] * 8
    assert len(lab.tries()) == 160, "each item once"
    pids = {json.loads(lab.run("status", b, "--json").stdout)["runner_pid"] for b in ids}
    assert pids == {0}, pids
    lab.verify()


@check
def a_killed_worker_is_replaced(lab):
    a = lab.submit(lab.items(*["sleep 0.05"] * 40, "until 2"), "--backoff", "0.1s", "--jobs", "2")
    for _ in range(3):
        p = lab.start("work")
        before = len(lab.tries())
        lab.until("it works", lambda: p.poll() is not None or len(lab.tries()) >= before + 5)
        p.kill()
        p.wait()
        lab.verify()
    lab.run("work")
    rows = lab.one_row_each(a, 41)
    assert lab.state(a) == "completed" and all(r["state"] == "committed" for r in rows), rows
    assert [r["attempts"] for r in rows] == [1] * 40 + [2], "its death is no try"
    lab.verify()


@check
def workers_stop_at_a_signal(lab):
    a = lab.submit(lab.items(*["sleep 0.05"] * 60), "--jobs", "1")
    p = lab.start("work", "--forever")
    lab.until("it works", lambda: len(lab.tries()) > 3)
    p.send_signal(signal.SIGTERM)
    assert p.wait(60) == 143
    assert lab.state(a) == "interrupted"
    lab.verify()
    lab.run("work")
    assert lab.state(a) == "completed" and sorted(lab.tries()) == [(i, 1) for i in range(60)]
    lab.verify()


@check
def work_forever_waits_for_more(lab):
    lab.submit(lab.items("ok 0"))
    p = lab.start("work", "--forever")
    ids = []
    for i in range(3):
        ids.append(lab.submit(lab.items("ok %d" % i), "--into", "d%d" % i))
        lab.until_state(ids[-1], "completed")
    p.send_signal(signal.SIGINT)
    assert p.wait(60) == 130
    lab.verify()


@check
def a_worker_leaves_what_waits(lab):
    a = lab.submit(lab.items("until 2", "ok 1"), "--backoff", "3s", "--into", "a")
    b = lab.submit(lab.items("ok 1"), "--into", "b", "--not-before", "+1h")
    p = lab.run("work")
    assert lab.state(a) == "completed" and lab.state(b) == "queued" and "not due" in p.err, p.err
    began = lab.began()
    assert lab.events(a, "retry") and (0, 2) in began and began[0, 2] - began[0, 1] >= 3e9 - 1e6
    assert "not to run before its time" in lab.run("why", b).stdout.decode()
    lab.verify()


# ---- order ---------------------------------------------------------------------------------------


def order_of(lab, ids):
    began = {e["batch"]: e["seq"] for e in lab.lines("events") if e["type"] == "started"}
    return sorted(ids, key=lambda b: began[b])


@check
def not_before_its_time(lab):
    at = time.time() + 1.5
    a = lab.submit(lab.items("ok 1"), "--not-before", "+1.5s")
    lab.run("work")
    assert lab.state(a) == "completed" and min(lab.began().values()) >= (at - 0.05) * 1e9
    lab.submit(lab.items("ok 2"), "--into", "x", "--not-before", "2020-01-01T00:00:00Z")
    lab.run("work")
    assert len(lab.tries()) == 2
    for wrong in ("yesterday", "2026-13-01T00:00:00Z", "+", "", "-5", "+1parsec", "99999999999999999999999"):
        lab.run("submit", lab.items("ok 3"), "--not-before", wrong, rc=2)
    lab.verify()


@check
def priorities(lab):
    ids = [lab.submit(lab.items("ok %d" % n), "--into", "d%d" % (n + 9), "--priority", n) for n in (-9, 0, 5, 9, 1)]
    lab.run("work", "--batches", "1")
    assert order_of(lab, ids) == [ids[3], ids[2], ids[4], ids[1], ids[0]], order_of(lab, ids)
    for wrong in ("10", "-10", "high", ""):
        lab.run("submit", lab.items("ok"), "--priority", wrong, rc=2)
    lab.verify()


@check
def owners_take_turns(lab):
    many = [lab.submit(lab.items("ok %d" % n), "--into", "m%d" % n, "--owner", "ann", "--priority", "9") for n in range(6)]
    few = [lab.submit(lab.items("ok %d" % n), "--into", "f%d" % n, "--owner", "bob") for n in range(2)]
    lab.run("work", "--batches", "1")
    got = order_of(lab, many + few)
    assert set(got[:4]) & set(few) == set(few), "who came later with less does not wait for all of it: %s" % [b in few for b in got]
    lab.verify()


@check
def why_it_waits(lab):
    a = lab.submit(lab.items("ok 1"), "--into", "a")
    b = lab.submit(lab.items("ok 2"), "--into", "b", "--after", a)
    c = lab.submit(lab.items("ok 3"), "--into", "c")
    assert "next that a worker takes up" in lab.run("why", a).stdout.decode()
    assert "waits for batch " + a in lab.run("why", b).stdout.decode()
    assert a in lab.run("why", c).stdout.decode(), lab.run("why", c).stdout
    lab.run("why", a, "0")
    lab.run("why", a, "x", rc=2)
    lab.run("why", a, "-1", rc=2)
    lab.run("why", "ffffffffffffffff", rc=5)
    lab.run("work")
    assert "completed" in lab.run("why", b).stdout.decode()
    lab.verify()


# ---- dependencies --------------------------------------------------------------------------------


@check
def a_diamond(lab):
    top = lab.submit(lab.items("sleep 0.3"), "--into", "t")
    left = lab.submit(lab.items("ok l"), "--into", "l", "--after", top + ":ok")
    right = lab.submit(lab.items("fail 1"), "--into", "r", "--after", top, "--max-retries", "0")
    env = "exec:printf %s \"$PENSTOCK_PARENTS\""
    end = lab.submit(lab.items("x"), "--into", "e", "--after", left, "--after", right + ":any", processor=env)
    lab.run("work", rc=1)
    assert [lab.state(b) for b in (top, left, right, end)] == ["completed"] * 4
    parents = json.loads(lab.dump("e")[0][1])
    assert [(p["batch"], p["committed"], p["failed"], p["state"]) for p in parents] == [(left, 1, 0, "completed"), (right, 0, 1, "completed")], parents
    order = order_of(lab, (end, right, left, top))
    assert order[0] == top and order[3] == end, order
    assert lab.events(end, "dependency_ready")
    lab.verify()


@check
def a_failed_parent(lab):
    parent = lab.submit(lab.items("fail 1"), "--into", "p", "--max-retries", "0")
    ok = lab.submit(lab.items("ok 1"), "--into", "ok", "--after", parent + ":ok")
    any_ = lab.submit(lab.items("ok 2"), "--into", "any", "--after", parent + ":any")
    grandchild = lab.submit(lab.items("ok 3"), "--into", "g", "--after", ok + ":ok")
    witness = lab.submit(lab.items("ok 4"), "--into", "w", "--after", ok)
    lab.run("work", rc=1)
    assert [lab.state(b) for b in (parent, ok, any_, grandchild, witness)] == ["completed", "cancelled", "completed", "cancelled", "completed"]
    said = lab.run("why", ok).stdout.decode()
    assert parent in said and "needed to end well" in said, said
    assert ok in lab.run("why", grandchild).stdout.decode()
    assert len(lab.tries()) == 3
    lab.verify()


@check
def a_cancelled_parent(lab):
    parent = lab.submit(lab.items("ok 1"), "--into", "p")
    ok = lab.submit(lab.items("ok 1"), "--into", "ok", "--after", parent + ":ok")
    lab.run("pause", parent)  # what was wanted before is forgotten
    lab.run("cancel", parent)
    late = lab.submit(lab.items("ok 2"), "--into", "late", "--after", parent + ":ok")
    any_ = lab.submit(lab.items("ok 2"), "--into", "any", "--after", parent)
    lab.run("work", rc=(0, 1))
    assert [lab.state(b) for b in (parent, ok, late, any_)] == ["cancelled", "cancelled", "cancelled", "completed"]
    lab.verify()


@check
def run_waits_too(lab):
    """run takes what only a submission can say, and then waits for it."""
    parent = lab.submit(lab.items("ok 1"), "--into", "p")
    p = lab.start("run", lab.items("ok 2"), "--format", "lines", "--into", "c", "--processor", lab.script, "--after", parent, "--not-before", "+1s",
                  "--on-complete", "echo $PENSTOCK_STATE >> " + lab.path("hook"), "--progress", "none", "--json", stdout=subprocess.PIPE)
    begun = time.time()
    time.sleep(0.5)
    assert p.poll() is None
    lab.run("work")
    out = json.loads(p.communicate(timeout=60)[0])
    assert p.returncode == 0 and out["state"] == "completed" and out["committed"] == 1 and time.time() >= begun + 0.9, out
    assert lab.file("hook") == "completed\n"
    # A parent that did not end well.
    q = lab.submit(lab.items("fail 1"), "--into", "q", "--max-retries", "0")
    lab.run("work", rc=1)
    lab.run("run", lab.items("ok 3"), "--format", "lines", "--into", "n", "--processor", lab.script, "--after", q + ":ok", rc=1)
    # A signal while it waits.
    w = lab.submit(lab.items("ok 4"), "--into", "w")
    p = lab.start("run", lab.items("ok 5"), "--format", "lines", "--into", "x", "--after", w)
    lab.until("it waits", lambda: lab.run("status", "@last", "--json") and len(lab.lines("events")) and lab.state("@last") == "queued" and
              json.loads(lab.run("status", "@last", "--json").stdout)["batch"] != w)
    time.sleep(0.3)
    p.send_signal(signal.SIGINT)
    assert p.wait(60) == 130
    lab.run("work")
    assert lab.state("@last") == "completed"
    lab.verify()


# ---- hooks ---------------------------------------------------------------------------------------


@check
def hooks_run_once(lab):
    hook = "echo $PENSTOCK_BATCH $PENSTOCK_STATE >> %s; printf '%%s\\n' \"$PENSTOCK_SUMMARY\" >> %s" % (lab.path("hooks"), lab.path("sums"))
    want = {}
    want[lab.submit(lab.items("ok 1", "bad 1"), "--into", "a", "--on-complete", hook)] = "completed"
    want[lab.submit(lab.items(), "--into", "b", "--on-complete", hook)] = "completed"
    want[lab.submit(lab.items("fail 1"), "--into", "c", "--max-retries", "0", "--on-complete", hook)] = "completed"
    x = lab.submit(lab.items("ok 1"), "--into", "d", "--on-complete", hook)
    want[x] = "cancelled"
    parent = lab.submit(lab.items("fail 1"), "--into", "e", "--max-retries", "0")
    want[lab.submit(lab.items("ok 1"), "--into", "f", "--after", parent + ":ok", "--on-complete", hook)] = "cancelled"
    want[lab.submit(lab.items("ok 1"), "--into", "g", "--on-complete", hook, processor="exec:/nonexistent/command")] = None
    lab.run("cancel", x)
    for _ in range(3):
        lab.run("work", rc=(0, 1, 3))
    got = dict(line.split() for line in lab.file("hooks").splitlines())
    assert len(lab.file("hooks").splitlines()) == len(got), lab.file("hooks")
    for b, state in want.items():
        assert got.get(b) == (state or lab.state(b)), (b, state, got, lab.state(b))
    sums = [json.loads(s) for s in lab.file("sums").splitlines()]
    assert {s["batch"] for s in sums} == set(want), sums
    lab.run("work", rc=(0, 1, 3))
    assert len(lab.file("hooks").splitlines()) == len(want)
    lab.verify()


@check
def a_hook_that_fails(lab):
    a = lab.submit(lab.items("ok 1"), "--on-complete", "exit 9")
    p = lab.run("work")
    assert lab.state(a) == "completed" and "9" in p.err, p.err
    assert "9" not in lab.run("work").err
    lab.verify()


@check
def a_hook_survives_its_worker(lab):
    a = lab.submit(lab.items("ok 1"), "--on-complete", "echo x >> %s; sleep 30.5" % lab.path("hooks"))
    p = lab.start("work")
    lab.until("it runs", lambda: os.path.exists(lab.path("hooks")))
    lab.run("retry", a, "--where", "attempts>0", rc=(0, 75))
    p.kill()
    p.wait()
    lab.verify()
    # It did not end: whoever comes next runs it, once.
    q = lab.start("work")
    lab.until("it runs again", lambda: lab.file("hooks") == "x\nx\n")
    q.kill()
    q.wait()
    subprocess.run(["sh", "-c", "for p in $(pgrep -x -f 'sleep 30.5'); do kill $p; done"])
    lab.verify()


# ---- pause, resume, cancel -----------------------------------------------------------------------


@check
def what_is_queued_is_paused(lab):
    a = lab.submit(lab.items("ok 1"), "--into", "a", "--owner", "ann")
    b = lab.submit(lab.items("ok 2"), "--into", "b", "--owner", "bob")
    lab.run("pause", "--owner", "ann", "--reason", "the disk is\x1b[31m busy")
    lab.run("work")
    assert (lab.state(a), lab.state(b)) == ("paused", "completed")
    said = lab.run("why", a).stdout.decode()
    assert "the disk is" in said and "paused" in said, said
    lab.run("pause", a)
    lab.run("resume", "--all")
    assert lab.state(a) == "queued"
    lab.run("work")
    assert lab.state(a) == "completed"
    for word in ("pause", "resume", "cancel"):
        lab.run(word, a, rc=(2, 3, 75, 5))
        lab.run(word, "--all")
        lab.run(word, rc=2)
        lab.run(word, "--all", a, rc=2)
        lab.run(word, "--owner", "nobody here")
        lab.run(word, "ffffffffffffffff", rc=5)
    lab.verify()


@check
def what_runs_is_paused(lab):
    f = lab.items(*["sleep 0.05"] * 100)
    p = lab.start("run", f, "--format", "lines", "--processor", lab.script, "--jobs", "2", "--progress", "none", "--json", stdout=subprocess.PIPE)
    lab.until_counted(p, 2)
    lab.run("pause", "@running", "--reason", "lunch")
    lab.until_state("@last", "paused")
    time.sleep(0.3)
    n = len(lab.tries())
    time.sleep(0.4)
    assert len(lab.tries()) == n and p.poll() is None, "it rests"
    lab.verify()
    lab.run("resume", "@last")
    o = json.loads(p.communicate(timeout=60)[0])
    assert p.returncode == 0 and o["committed"] == 100 and sorted(lab.tries()) == [(i, 1) for i in range(100)], o
    lab.verify()


@check
def a_pause_outlives_the_run(lab):
    f = lab.items(*["sleep 0.05"] * 40)
    p = lab.start("run", f, "--format", "lines", "--processor", lab.script, "--jobs", "2", "--progress", "none")
    lab.until_counted(p, 2)
    lab.run("pause", "--all")
    lab.until_state("@last", "paused")
    p.kill()
    p.wait()
    lab.verify()
    assert lab.state("@last") == "paused"
    lab.run("work")
    n = len(lab.tries())
    assert lab.state("@last") == "paused"
    lab.run("resume", "@last")
    lab.run("work")
    assert lab.state("@last") == "completed" and len(lab.tries()) > n
    lab.one_row_each("@last", 40)
    lab.verify()


@check
def plain_ingest_is_paused_and_cancelled(lab):
    f = lab.path("f.ndjson", lab.records(40000))
    p = lab.start("run", f, "--key", "/id", "--chunk", "50", "--pause-ms", "20", "--progress", "none")
    lab.until_counted(p, 100)
    lab.run("pause", "@running")
    lab.until_state("@last", "paused")
    n = json.loads(lab.run("status", "@last", "--json").stdout)["committed"]
    time.sleep(0.3)
    assert json.loads(lab.run("status", "@last", "--json").stdout)["committed"] == n < 40000
    lab.run("resume", "@last")
    lab.until_counted(p, n + 50)
    lab.run("cancel", "@running", "--reason", "wrong file")
    err = p.communicate(timeout=60)[1].decode()
    assert p.returncode == 1 and lab.state("@last") == "cancelled", err
    assert "wrong file" in lab.run("why", "@last").stdout.decode()
    assert len(lab.dump()) == json.loads(lab.run("status", "@last", "--json").stdout)["committed"]
    lab.verify()


@check
def a_large_record_of_a_paused_batch_is_in_nobodys_way(lab):
    """A record that fits no chunk needs a buffer of which one is in use; a batch that rests keeps its own."""
    go = os.path.join(lab.dir, "go")
    large = "x" * 6000000
    command = "exec:sh -c 'read -r x; case $x in wait*) while [ ! -e %s ]; do sleep 0.05; done;; esac; echo ${#x}'" % go
    a = lab.submit(lab.items("wait", large), "--into", "a", "--jobs", "1", processor=command)
    w = lab.start("work", "--batches", "2")
    lab.until_state(a, "running")
    time.sleep(0.5)  # its large record is read, and waits behind the first item
    lab.run("pause", a)
    lab.until_state(a, "paused")
    b = lab.run("submit", lab.items(large, "y"), "--format", "lines", "--into", "b").stdout.decode().strip()
    lab.until_state(b, "completed")
    c = lab.run("submit", lab.items(large), "--format", "lines", "--into", "c").stdout.decode().strip()
    lab.until_state(c, "completed")
    lab.path("go", "")
    lab.run("resume", a)
    lab.until_state(a, "completed")
    w.communicate(timeout=60)
    assert [v for _, v in lab.dump("a")] == [b"4\n", b"6000000\n"]
    lab.verify()


@check
def what_is_read_to_its_end_is_paused_and_cancelled(lab):
    """All of it lies in buffers long before it is committed, fifty records a group."""
    def counted():
        return json.loads(lab.run("status", "@last", "--json").stdout)["committed"]

    def rests():
        lab.until_state("@last", "paused")
        n = counted()
        time.sleep(0.3)
        assert counted() == n < 3000, n
        return n

    f = lab.path("f.ndjson", lab.records(3000))
    words = ("run", f, "--key", "/id", "--chunk", "50", "--pause-ms", "40", "--progress", "none")
    p = lab.start(*words)
    lab.until_counted(p, 100)
    lab.run("pause", "@running")
    n = rests()
    lab.run("resume", "@last")
    lab.until_counted(p, n + 50)
    lab.run("cancel", "@running", "--reason", "wrong file")
    err = p.communicate(timeout=60)[1].decode()
    assert p.returncode == 1 and lab.state("@last") == "cancelled" and n < counted() < 3000, err
    assert len(lab.dump()) == counted()
    lab.verify()
    # What is paused is interrupted, and goes on where it was; the same while it is cancelled.
    p = lab.start(*words, "--into", "b")
    lab.until_counted(p, 100)
    lab.run("pause", "@running")
    n = rests()
    p.send_signal(signal.SIGTERM)
    p.communicate(timeout=60)
    assert p.returncode == 143 and (lab.state("@last"), counted()) == ("paused", n), (p.returncode, lab.state("@last"))
    lab.run("resume", "@last")
    lab.run("run", f, "--key", "/id", "--chunk", "50", "--into", "b")
    assert lab.state("@last") == "completed" and counted() == 3000
    p = lab.start(*words, "--into", "c")
    lab.until_counted(p, 100)
    lab.run("pause", "@running")
    n = rests()
    lab.run("cancel", "@running")
    p.communicate(timeout=60)
    assert p.returncode == 1 and (lab.state("@last"), counted()) == ("cancelled", n)
    lab.verify()


@check
def what_runs_is_cancelled(lab):
    f = lab.items("ok 1", *["sleep 600.91"] * 4)
    p = lab.start("run", f, "--format", "lines", "--processor", lab.script, "--jobs", "2", "--progress", "none",
                  "--owner", "ann")
    lab.until("children work", lambda: len(lab.tries()) == 3)
    lab.run("cancel", "--owner", "ann", "--reason", "no need")
    err = p.communicate(timeout=60)[1].decode()
    assert p.returncode == 1 and lab.state("@last") == "cancelled", err
    assert b"600.91" not in subprocess.run(["ps", "-eo", "args"], stdout=subprocess.PIPE).stdout, "its children end with it"
    assert [r["state"] for r in lab.lines("items", "@last")] == ["committed"]
    assert "no need" in lab.run("why", "@last").stdout.decode()
    lab.run("retry", "@last", rc=0)
    lab.verify()
    # In a worker: others go on.
    a = lab.submit(lab.items("sleep 600.92"), "--into", "x")
    b = lab.submit(lab.items("sleep 1"), "--into", "y")
    w = lab.start("work")
    lab.until_state(a, "running")
    lab.run("cancel", a)
    err = w.communicate(timeout=60)[1].decode()
    assert (lab.state(a), lab.state(b)) == ("cancelled", "completed"), err
    lab.verify()


# ---- dead letters --------------------------------------------------------------------------------


@check
def dead_letters_are_tried_again(lab):
    f = lab.items("fail 1", "bad 1", "ok 1", "die TERM", "fail 2")
    o = lab.job(f, "--max-retries", "1", "--backoff", "0.01s", rc=1)
    assert (o["failed"], o["rejected"], o["committed"]) == (3, 1, 1), o
    for where, n in ((None, 3), ("code=PEN1081", 2), ("state=rejected", 1), ("error~boom", 2), ("seq>=3", 2), ("attempts=2 and not code=PEN1082", 2),
                     ("seq=0 or seq=1", 2), ("line=1", 1)):
        p = lab.run("retry", o["batch"], "--dry-run", *(("--where", where) if where else ()))
        assert ": %d items would" % n in p.err, (where, p.err)
    assert lab.state(o["batch"]) == "completed"
    for wrong in ("", "code", "code=", "nonsense=1", "code=PEN1081 and", "(code=PEN1081", "seq=abc", "not"):
        lab.run("retry", o["batch"], "--where", wrong, rc=2)
    lab.run("retry", "ffffffffffffffff", rc=5)
    # The command is mended; what failed is tried again, its tries go on counting.
    lab.path("item.sh", 'echo "mended $PENSTOCK_ATTEMPT"')
    before = len(lab.dump())
    lab.run("retry", o["batch"], "--where", "code=PEN1081")
    assert lab.state(o["batch"]) == "queued"
    lab.verify()
    lab.run("work", rc=1)
    s = json.loads(lab.run("status", o["batch"], "--json").stdout)
    assert (s["state"], s["items"], s["committed"], s["failed"], s["rejected"]) == ("completed", 5, 3, 1, 1), s
    assert dict(lab.dump())[be(0)] == b"mended 3\n" and len(lab.dump()) == before + 2
    lab.verify()
    lab.run("retry", o["batch"])
    lab.run("retry", o["batch"], "--where", "state=rejected")
    lab.run("work")
    s = json.loads(lab.run("status", o["batch"], "--json").stdout)
    assert (s["state"], s["items"], s["committed"]) == ("completed", 5, 5), s
    lab.one_row_each(o["batch"], 5)
    lab.run("retry", o["batch"])
    assert lab.state(o["batch"]) == "completed", "nothing to try: nothing changes"
    lab.verify()


@check
def a_retry_does_not_need_the_source(lab):
    f = lab.items("ok 1", "fail 1")
    o = lab.job(f, "--max-retries", "0", rc=1)
    os.unlink(f)
    lab.path("item.sh", "cat")
    lab.job(lab.items("x"), processor="exec:cat")  # another one has appended meanwhile
    lab.run("retry", o["batch"])
    lab.run("work")
    assert lab.state(o["batch"]) == "completed" and [v for _, v in lab.dump()] == [b"done 1\n", b"fail 1", b"x"], lab.dump()
    # The next one appends behind both.
    lab.job(lab.items("y"), processor="exec:cat")
    assert [v for _, v in lab.dump()] == [b"done 1\n", b"fail 1", b"x", b"y"], lab.dump()
    lab.verify()


@check
def a_retry_of_what_runs(lab):
    f = lab.items("fail 1", *["sleep 0.05"] * 40)
    p = lab.start("run", f, "--format", "lines", "--processor", lab.script, "--jobs", "2", "--max-retries", "0", "--progress", "none")
    lab.until_counted(p, 1)
    lab.run("retry", "@running", rc=75)
    assert p.wait(60) == 1
    lab.run("retry", "@last")
    lab.run("work", rc=1)
    lab.verify()
    plain = lab.load(lab.path("g", "1\nbad\n"), "--format", "ndjson", "--into", "g", rc=1)
    p = lab.run("retry", plain["batch"], "--where", "state=rejected", rc=(0, 2))
    lab.verify()


# ---- wrong usage ---------------------------------------------------------------------------------


@check
def commands_that_cannot_be(lab):
    f = lab.items("ok 1")
    for wrong in ("exec:", "exec:   ", "exec", "exec:'unbalanced", "exec:\"", "nothing", "worker:", "exec:{nope}", ""):
        p = lab.run("run", f, "--format", "lines", "--processor", wrong, rc=(2, 3))
        assert "error[" in p.err, (wrong, p.err)
    p = lab.run("run", f, "--format", "lines", "--processor", "exec:no-such-command-here x", rc=3)
    assert "no-such-command-here" in p.err and "error[" in p.err, p.err
    p = lab.run("run", f, "--format", "lines", "--processor", "exec:" + lab.path("item.sh"), "--into", "b", rc=3)
    assert "item.sh" in p.err, p.err
    for option, wrong in (("--halt", "later,fail=1"), ("--halt", "now"), ("--halt", "now,fail=-1"), ("--halt", "now,fail=101%"), ("--backoff", "x"),
                          ("--backoff", ""), ("--backoff", "exp:"), ("--backoff", "1s,,2s"), ("--timeout", "0"), ("--jobs", "0"), ("--jobs", "1025"),
                          ("--max-retries", "-1"), ("--jitter", "some"), ("--results", "none"), ("--max-crashes", "0")):
        p = lab.run("run", f, "--format", "lines", "--processor", lab.script, option, wrong, rc=2)
        assert "error[" in p.err, (option, wrong, p.err)
    assert not lab.tries()
    lab.verify()


@check
def submissions_that_cannot_be(lab):
    f = lab.items("ok 1")
    a = lab.submit(f)
    for wrong in ("ffffffffffffffff", "zzzz", "", ":ok", a + ":sometimes", a + ":", "@nothing"):
        lab.run("submit", lab.items("ok 2"), "--format", "lines", "--after", wrong, rc=(2, 5))
    lab.run("submit", lab.items("ok 2"), "--format", "lines", "--after", a, "--after", a, rc=2)
    many = []
    for _ in range(257):
        many += ["--after", a]
    p = lab.run("submit", lab.items("ok 2"), "--format", "lines", *many, rc=2)
    assert "256" in p.err, p.err
    # What waits for itself would wait for ever: it is the same request, so it is there already.
    assert lab.submit(f, "--after", a) == a
    lab.run("work")
    assert lab.state(a) == "completed"
    lab.run("submit", rc=2)
    lab.run("submit", lab.path("nowhere"), "--format", "lines", rc=3)
    lab.run("work", "extra", rc=2)
    for word in (("pause", "@last"), ("why", "@last"), ("retry", "@last"), ("work",), ("cancel", "--all")):
        lab.run(*word, store=lab.path("no-store"), rc=3)
    lab.verify()


@check
def stdin_is_a_terminal(lab):
    ours, theirs = pty.openpty()
    p = subprocess.run([PENSTOCK, "--store", lab.store, "submit", "-", "--format", "lines"], stdin=theirs, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=60)
    os.close(ours)
    os.close(theirs)
    assert p.returncode == 2 and b"terminal" in p.stderr, p.stderr
    lab.run("status", rc=(0, 3))


@check
def two_hundred_parents(lab):
    ids = []
    for i in range(40):
        ids.append(lab.run("submit", lab.items(str(i)), "--format", "lines", "--into", "d%d" % i).stdout.decode().strip())
    args = []
    for i in ids:
        args += ["--after", i]
    child = lab.submit(lab.items("ok 1"), "--into", "c", *args)
    lab.run("work", "--batches", "4")
    assert lab.state(child) == "completed" and order_of(lab, ids + [child])[-1] == child
    lab.verify()


@check
def output_that_is_too_much(lab):
    o = lab.job(lab.items("x", "y"), "--max-retries", "0", processor="exec:sh -c 'read x; test $x = y && echo fine || exec yes'", rc=1)
    rows = lab.one_row_each(o["batch"], 2)
    assert [r["state"] for r in rows] == ["failed", "committed"] and rows[0]["code"] == "PEN1084", rows
    f = lab.items("x")
    o = lab.job(f, "--into", "l", "--max-record", "999", processor="exec:head -c 1000 /dev/zero", rc=1)
    assert lab.one_row_each(o["batch"], 1)[0]["code"] == "PEN1084" and o["failed"] == 1
    assert lab.job(f, "--into", "l", "--max-record", "1000", processor="exec:head -c 1000 /dev/zero")["committed"] == 1
    # It has a limit of its own, below or above that of records.
    o = lab.job(f, "--into", "m", "--output-max", "999", processor="exec:head -c 1000 /dev/zero", rc=1)
    assert lab.one_row_each(o["batch"], 1)[0]["code"] == "PEN1084"
    assert lab.job(f, "--into", "n", "--output-max", "1000", "--max-record", "9", processor="exec:head -c 1000 /dev/zero")["committed"] == 1
    o = lab.job(lab.items("x"), "--into", "e", "--max-retries", "0", processor="exec:sh -c 'yes | head -c 3000000 >&2; echo last >&2; exit 1'", rc=1)
    said = lab.run("why", o["batch"], "0").stdout
    assert b"last" in said and len(said) < 100000
    lab.verify()


@check
def memory_that_is_too_much(lab):
    grab = "import sys; n = int(sys.stdin.read()); x = bytearray(n << 20); print(len(x) >> 20)"
    command = "exec:/usr/bin/python3 -c '%s'" % grab
    f = lab.items("1", "900")
    o = lab.job(f, "--memory-max", "600MiB", "--max-retries", "0", processor=command, rc=1)
    rows = lab.one_row_each(o["batch"], 2)
    assert [r["state"] for r in rows] == ["committed", "failed"], rows
    assert "had 600 MiB of memory: --memory-max" in rows[1]["message"] and "MemoryError" in rows[1]["message"], rows
    assert lab.job(f, "--into", "b", "--memory-max", "8GiB", processor=command)["committed"] == 2
    # A worker that takes up a submitted batch knows of it.
    b = lab.submit(f, "--into", "c", "--memory-max", "600MiB", "--max-retries", "0", processor=command)
    lab.run("work", rc=1)
    assert [r["state"] for r in lab.one_row_each(b, 2)] == ["committed", "failed"]
    lab.run("run", f, "--memory-max", "1MiB", "--processor", command, rc=2)
    lab.verify()


if __name__ == "__main__":
    sys.exit(judge_all(Jobs))
