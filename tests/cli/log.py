#!/usr/bin/python3
# log - what commands log: lines, files by day, levels, the chain of audit lines, and the command that shows them
#
#   tests/cli/log.py PENSTOCK [WORD]      only checks whose name contains WORD
#
# Other days come from a clock that is loaded before the command (log_clock.c, built here).
import datetime
import glob
import json
import os
import re
import signal
import subprocess
import sys
import time

from lab import Lab, PENSTOCK, Skip, check, judge_all

HERE = os.path.dirname(os.path.abspath(__file__))
MEMBERS = ["time", "level", "kind", "module", "message", "correlationId", "userId", "batch", "item", "pid", "tid"]
SANITIZED = b"__asan_init" in open(PENSTOCK, "rb").read()


def days_ago(n):
    return (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=n)).strftime("%Y-%m-%d")


class Log(Lab):
    def __init__(self, name):
        super().__init__(name)
        self.logs = os.path.join(self.store, "logs")
        for variable in ("PENSTOCK_LOG", "PENSTOCK_LOG_DIR", "PENSTOCK_LOG_JOURNAL"):
            os.environ.pop(variable, None)

    def shown(self, *args):
        return self.lines("log", *args)

    def names(self):
        return sorted(n for n in os.listdir(self.logs) if n.endswith(".log"))

    def on_day(self, days, *args, **kw):
        """The command, that many days ago."""
        clock = self.path("clock.so")
        if not os.path.exists(clock):
            subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-o", clock, os.path.join(HERE, "log_clock.c")], check=True)
        env = dict(os.environ, LD_PRELOAD=clock, PEN_CLOCK_SHIFT=str(-86400 * days))
        if SANITIZED:
            env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        return self.run(*args, env=env, **kw)

    def small(self, *args, text="1\n2\n3\n", **kw):
        return self.run("run", self.path("in-%d" % len(text), text), "--format", "lines", *args, **kw)


@check
def a_run_leaves_a_handful_of_lines_that_belong_together(lab):
    o = lab.load(lab.path("in", "".join("%d\n" % i for i in range(20000))), "--format", "lines", "--owner", "ann")
    raw = lab.run("log", "--json").stdout.decode()
    lines = [json.loads(x) for x in raw.splitlines()]
    assert 2 <= len(lines) <= 8, raw
    for x in lines:
        assert list(x)[:len(MEMBERS)] == MEMBERS, x
        assert x["batch"] == o["batch"] and x["correlationId"] == o["correlation_id"] and x["userId"] == "ann", x
    assert [x["message"] for x in lines if x["kind"] == "event"] == ["batch.started", "batch.completed"], raw
    assert lines[-1]["fields"]["committed"] == 20000
    with open(os.path.join(lab.logs, lab.names()[0])) as f:
        assert f.read() == raw
    assert lab.names() == ["application-%s.log" % days_ago(0)]
    assert os.stat(os.path.join(lab.logs, lab.names()[0])).st_mode & 0o137 == 0 and os.stat(lab.logs).st_mode & 0o777 == 0o750
    people = lab.run("log").stdout.decode()
    assert len(people.splitlines()) == len(lines) and "batch.completed" in people and "\033" not in people
    assert "\033[" in lab.run("log", "--color", "always").stdout.decode()


@check
def first_rejects_are_named_and_the_others_counted(lab):
    o = lab.load(lab.path("in", "1\n" + "{\n" * 50), "--format", "ndjson", rc=1)
    lines = lab.shown("--level", "warn")
    named = [x for x in lines if x.get("code") == "PEN1043"]
    assert [x["item"] for x in named] == [1, 2, 3] and [x["fields"]["line"] for x in named] == [2, 3, 4], lines
    total = [x for x in lines if "rejected" in x.get("fields", {})]
    assert len(total) == 1 and total[0]["fields"]["rejected"] == 50 and total[0]["fields"]["named"] == 3 and o["rejected"] == 50
    assert len(lines) == 4
    assert len([x for x in lab.shown("--kind", "warn")]) == 4 and not lab.shown("--level", "error")


@check
def workers_and_tries_are_told_and_items_only_at_debug(lab):
    command = 'exec:read x; [ "$x" != 2 ] || exit 1; echo $x'
    args = ("--processor", command, "--max-retries", "1", "--backoff", "20ms", "--cache")
    lab.small(*args, rc=1)
    lines = lab.shown()
    assert [x["fields"]["operation"] for x in lines if x["module"] == "crew"] == ["crew.started", "crew.ended"], lines
    tries = [x for x in lines if "tries" in x.get("fields", {})]
    assert len(tries) == 1 and tries[0]["fields"]["retries"] == 1 and tries[0]["fields"]["tries"] == 4, tries
    cache = [x["fields"] for x in lines if x["kind"] == "cache"]
    assert cache == [{"hits": 0, "misses": 3}], cache
    items = [x for x in lines if x["item"] is not None]
    assert len(items) == 1 and items[0]["level"] == "warn" and items[0]["item"] == 1, items
    lab.small(*args, "--fresh", rc=1, env=dict(os.environ, PENSTOCK_LOG="foreman=debug"))
    debug = lab.shown("--batch", "@last", "--kind", "external")
    assert {x["fields"].get("state") for x in debug} >= {"committed", "retrying", "failed"}, debug
    assert [x["fields"]["hits"] for x in lab.shown("--kind", "cache", "--batch", "@last")] == [2]


@check
def control_is_audited_with_who_and_why(lab):
    lab.run("submit", lab.path("in", "1\n"), "--format", "lines")
    for verb in ("pause", "resume", "cancel"):
        lab.run(verb, "@last", "--reason", "because token=s3cr3t")
    lab.run("clean", "--older-than", "0s")
    lines = lab.shown("--kind", "audit")
    assert [x["message"] for x in lines] == ["pause", "resume", "cancel", "clean"], lines
    assert all(x["userId"] for x in lines) and lines[0]["fields"]["reason"] == "because token=[redacted]"
    assert all(len(x["prev"]) == len(x["hash"]) == 64 for x in lines)
    assert [x["prev"] for x in lines[1:]] == [x["hash"] for x in lines[:-1]]
    lab.verify()


@check
def a_chain_that_was_broken_by_hand_is_found(lab):
    lab.small()
    lab.run("submit", lab.path("in", "1\n"), "--format", "lines", "--into", "x")
    for verb in ("pause", "resume", "pause", "resume"):
        lab.run(verb, "@last")
    path = glob.glob(os.path.join(lab.logs, "audit-*.log"))[0]
    with open(path) as f:
        whole = f.read()
    lines = whole.splitlines(True)
    lab.verify()

    def verify(text, want):
        with open(path, "w") as f:
            f.write(text)
        p = lab.verify(rc=65)
        assert re.search(want, p.stdout.decode()) and "PEN362" in p.err, (want, p.stdout, p.err)
        found = lab.run("verify", "--json", rc=65).stdout.splitlines()
        assert all(json.loads(x)["invariant"] == 30 for x in found)

    verify(whole.replace('"action":"pause"', '"action":"cause"', 1), "line 1 is not what was sealed")
    verify("".join(lines[:1] + lines[2:]), "line 2 does not follow")
    verify("".join(lines[1:]), "line 1 does not follow")
    verify("".join(lines[:2] + [lines[1]] + lines[2:]), "line 3 does not follow")
    verify("".join(lines[:-1]), "the last line that was written is missing")
    with open(path, "w") as f:
        f.write(whole)
    lab.verify()


@check
def days_have_files_of_their_own_and_old_ones_go(lab):
    for days in (16, 15, 2, 1, 0):
        lab.on_day(days, "run", lab.path("in", "1\n"), "--format", "lines", "--into", "d%d" % days)
        if days == 16:
            assert lab.names() == ["application-%s.log" % days_ago(16)], lab.names()
    assert lab.names() == ["application-%s.log" % days_ago(d) for d in (2, 1, 0)], lab.names()
    lines = lab.shown()
    assert [x["time"] for x in lines] == sorted(x["time"] for x in lines)
    assert {x["time"][:10] for x in lines} == {days_ago(d) for d in (2, 1, 0)}
    assert {x["time"][:10] for x in lab.shown("--since", "1h")} == {days_ago(0)}
    assert {x["time"][:10] for x in lab.shown("--since", "36h")} == {days_ago(1), days_ago(0)}
    for name in ("error", "security", "audit"):
        for days in (13, 20, 40):
            open(os.path.join(lab.logs, "%s-%s.log" % (name, days_ago(days))), "w").close()
    lab.small("--into", "last")
    there = lab.names()
    assert [n for n in there if n.startswith("error")] == ["error-%s.log" % days_ago(13)], there
    assert [n for n in there if n.startswith("security")] == ["security-%s.log" % days_ago(d) for d in (20, 13)], there
    assert len([n for n in there if n.startswith("audit")]) == 3, there


@check
def two_processes_write_whole_lines_into_one_file(lab):
    lab.small()
    env = dict(os.environ, PENSTOCK_LOG="debug")
    runs = [lab.start("run", lab.path("in%d" % i, "{\n" * 3000), "--format", "ndjson", "--into", "d%d" % i, env=env,
                      stderr=subprocess.DEVNULL) for i in range(3)]
    assert [p.wait(60) for p in runs] == [1, 1, 1]
    with open(os.path.join(lab.logs, lab.names()[0])) as f:
        lines = [json.loads(x) for x in f]
    flaws = [x for x in lines if x.get("code") == "PEN1043"]
    assert len({x["pid"] for x in flaws}) == 3
    lost = sum(x["fields"].get("lost", 0) for x in lines if x["module"] == "log" and "fields" in x)
    # Among what was lost may be other lines of that level; what is more than debug is all there.
    assert 9000 <= len(flaws) + lost < 9100, (len(flaws), lost)
    assert len([x for x in lines if x["message"] == "batch.completed"]) == 4
    shown = lab.shown()
    assert len(shown) == len(lines) and [x["time"] for x in shown] == sorted(x["time"] for x in lines)


@check
def follow_goes_on_over_midnight(lab):
    lab.small()
    p = subprocess.Popen([PENSTOCK, "--store", lab.store, "log", "--follow", "--json", "--kind", "event"], stdout=subprocess.PIPE, text=True)
    lab.children.append(p)
    assert [json.loads(p.stdout.readline())["message"] for _ in range(2)] == ["batch.started", "batch.completed"]
    lab.small("--into", "x")
    assert json.loads(p.stdout.readline())["fields"]["dataset"] == "x"
    assert json.loads(p.stdout.readline())["message"] == "batch.completed"
    lab.on_day(-1, "run", lab.path("in", "1\n"), "--format", "lines", "--into", "tomorrow")
    x = json.loads(p.stdout.readline())
    assert x["fields"]["dataset"] == "tomorrow" and x["time"][:10] == days_ago(-1), x
    p.stdout.readline()
    # Half a line is not shown before its end is there.
    line = json.dumps({"time": days_ago(-1) + "T23:59:59.000Z", "level": "info", "kind": "event", "message": "by hand"})
    with open(os.path.join(lab.logs, "application-%s.log" % days_ago(-1)), "a") as f:
        f.write(line[:30])
        f.flush()
        time.sleep(0.6)
        f.write(line[30:] + "\n")
    assert json.loads(p.stdout.readline())["message"] == "by hand"
    p.send_signal(signal.SIGTERM)
    p.wait(20)


@check
def levels_change_while_an_engine_runs(lab):
    lab.small()
    assert lab.run("log", "--levels", "--json").stdout and json.loads(lab.run("log", "--levels", "--json").stdout)["foreman"] == "info"
    p = lab.start("run", lab.path("in", "".join("%d\n" % i for i in range(200))), "--format", "lines", "--into", "x", "--jobs", "1",
                  "--processor", "exec:sleep 0.05; cat")
    lab.until_counted(p)
    assert not [x for x in lab.shown() if x["level"] == "debug"]
    lab.run("log", "--set", "foreman=debug")
    assert p.wait(60) == 0
    assert len([x for x in lab.shown() if x["level"] == "debug" and x["module"] == "foreman"]) > 10
    assert json.loads(lab.run("log", "--levels", "--json").stdout)["foreman"] == "debug"
    assert "PEN361" in lab.run("log", "--set", "foreman=loud", rc=2).err
    lab.run("log", "--set", "off")
    before = len(lab.shown())
    lab.small("--into", "y")
    assert len(lab.shown()) == before


@check
def lines_are_shown_to_people_only_when_levels_are_named(lab):
    quiet = lab.small()
    assert "batch.started" not in quiet.err
    p = lab.small("--into", "a", "--log-level", "info")
    assert "batch.started" in p.err and "batch.completed" in p.err and "\033" not in p.err, p.err
    p = lab.small("--into", "b", "--log-level", "info", "--color", "always")
    assert "\033[32m" in p.err
    p = lab.small("--into", "c", "--log-level", "info", "--quiet")
    assert p.err == "", p.err
    assert "PEN361" in lab.small("--into", "d", "--log-level", "loud", rc=2).err
    p = lab.small("--into", "e", env=dict(os.environ, PENSTOCK_LOG="/tmp/a.file"))
    assert "left aside" in p.err, p.err
    before = len(lab.shown())
    lab.small("--into", "f", "--log-level", "off")
    assert len(lab.shown()) == before


@check
def another_directory_may_be_named(lab):
    where = lab.path("elsewhere")
    lab.small("--log-dir", where)
    assert lab.names() == [] and os.listdir(where)
    assert lab.shown("--log-dir", where)
    env = dict(os.environ, PENSTOCK_LOG_DIR=where)
    before = len(lab.shown("--log-dir", where))
    lab.small("--into", "x", env=env)
    assert len(lab.shown("--log-dir", where)) > before and lab.names() == []
    lab.run("log", "--log-dir", lab.path("nowhere"), rc=5)
    os.symlink(where, lab.path("link"))
    assert "PEN360" in lab.small("--into", "y", "--log-dir", lab.path("link"), rc=3).err
    # Where nobody asked for it, work goes on without.
    os.rmdir(lab.logs) if not os.listdir(lab.logs) else [os.unlink(os.path.join(lab.logs, n)) for n in os.listdir(lab.logs)]
    if os.path.isdir(lab.logs):
        os.rmdir(lab.logs)
    os.symlink(where, lab.logs)
    assert "PEN360" in lab.small("--into", "z").err


@check
def no_control_byte_or_secret_gets_through(lab):
    f = lab.path("in\x1b[31m\n", "1\n")
    lab.run("run", f, "--format", "lines", "--owner", "eve\x1b[2J", "--processor", "exec:cat; : https://u:hunter2@host API_TOKEN=hunter2")
    for args in ([], ["--json"]):
        out = lab.run("log", *args).stdout
        assert b"\x1b" not in out and b"hunter2" not in out and out.count(b"[redacted]") >= 2, out
    with open(os.path.join(lab.logs, lab.names()[0]), "rb") as f:
        raw = f.read()
    assert b"\x1b" not in raw and b"hunter2" not in raw and json.loads(raw.splitlines()[0])["userId"] == "eve\x1b[2J"


@check
def a_crash_leaves_what_was_logged(lab):
    p = lab.start("run", lab.path("in", "".join("%d\n" % i for i in range(500))), "--format", "lines", "--processor", "exec:sleep 0.05; cat")
    lab.until_counted(p)
    p.send_signal(signal.SIGSEGV)
    status = p.wait(30)
    if not SANITIZED:
        assert status == -signal.SIGSEGV, status
    last = lab.shown()[-1]
    assert last["kind"] == "fault" and last["fields"]["signal"] == "SIGSEGV" and last["trace"], last
    assert lab.shown("--level", "error")
    lab.run("run", lab.path("in"), "--format", "lines", "--processor", "exec:sleep 0.05; cat", timeout=120)
    lab.verify()


@check
def no_journal_is_said_once(lab):
    if os.path.exists("/run/systemd/journal/socket"):
        raise Skip("there is a journal")
    p = lab.small("--log-journal")
    assert p.err.count("no system journal") == 1, p.err
    assert "journal" not in lab.small("--into", "x", env=dict(os.environ, PENSTOCK_LOG_JOURNAL="0")).err


@check
def reading_makes_nothing(lab):
    lab.run("log", rc=5)
    lab.small()
    before = lab.names(), [os.stat(os.path.join(lab.logs, n)).st_size for n in lab.names()]
    for args in (["status"], ["items", "@last"], ["log"], ["verify"], ["log", "--levels"]):
        lab.run(*args)
    assert before == (lab.names(), [os.stat(os.path.join(lab.logs, n)).st_size for n in lab.names()])
    assert lab.run("log", "--batch", "nonsense", rc=(2, 5)).stdout == b""
    assert lab.shown("--correlation", lab.shown()[0]["correlationId"]) == lab.shown()
    assert not lab.shown("--correlation", "none")


if __name__ == "__main__":
    sys.exit(judge_all(Log))
