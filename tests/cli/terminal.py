#!/usr/bin/python3
# terminal - the progress line from outside: every kind of stream, width, locale and end
#
#   tests/cli/terminal.py PENSTOCK [WORD]      only checks whose name contains WORD
import itertools
import json
import os
import re
import signal
import sys
import time

from lab import PENSTOCK, Skip, check, judge_all
from pty_screen import Screen, Terminal

SLOW = ("--chunk", "100", "--pause-ms", "20")  # 5,000 items a second at most
KINDS = ("tty", "pipe", "file", "closed")
FIELDS = ["v", "batch", "state", "items", "committed", "rejected", "failed", "skipped", "duplicates", "bytes", "bytes_total",
          "items_total", "rate", "eta_s", "eta_lo", "eta_hi", "stage", "bottleneck", "reason"]


def environment(**more):
    env = {k: v for k, v in os.environ.items()
           if k not in ("NO_COLOR", "CLICOLOR_FORCE", "LC_ALL", "LC_CTYPE", "LANG", "TERM", "PENSTOCK_STORE")}
    return {**env, "TERM": "xterm", "LANG": "C.UTF-8", **{k: v for k, v in more.items() if v is not None}}


def start(lab, *args, store=None, **kw):
    kw.setdefault("env", environment())
    return Terminal([PENSTOCK, "--store", store or lab.store, *args], **kw)


def numbers(lab, n, name="numbers"):
    return lab.path(name, "".join("%d\n" % i for i in range(n)))


def is_bar(line):
    return re.search(r"\d+%", line) is not None


@check
def every_kind_of_stream(lab):
    """All 64 ways to have stdin, stdout and stderr: the data arrives, stdout holds data only, the bar is for terminals."""
    f = numbers(lab, 100)
    for i, streams in enumerate(itertools.product(KINDS, KINDS, KINDS)):
        t = start(lab, "run", f, "--format", "lines", "--into", "d%d" % i, "--json", streams=streams, file=lab.path("out%d-" % i))
        assert t.end() == 0, (streams, t.raw, t.err)
        shown = t.raw.decode()
        if streams[1] in ("pipe", "file"):
            assert json.loads(t.out)["committed"] == 100 and t.out.count(b"\n") == 1, (streams, t.out)
        elif streams[1] == "tty":
            assert '"committed":100' in shown, (streams, shown)
        else:
            assert '"committed"' not in shown and b'"committed"' not in t.err, (streams, shown)
        if streams[2] in ("pipe", "file"):
            assert b"\x1b" not in t.err and b"committed" not in t.err.replace(b"100 committed", b""), (streams, t.err)
        assert Screen(80).feed(shown).usable(), streams
        assert t.before == t.after, streams
    entries = {d["dataset"]: d["entries"] for d in lab.lines("datasets")}
    assert [entries["d%d" % i] for i in range(64)] == [100] * 64
    lab.verify()


@check
def every_mode_on_every_kind_of_stream(lab):
    f = numbers(lab, 6000)
    runs = []
    for mode in ("auto", "bar", "plain", "json", "none"):
        for kind in KINDS:
            name = "%s-%s" % (mode, kind)
            runs.append((mode, kind, start(lab, "run", f, "--format", "lines", *SLOW, "--progress", mode, store=lab.path(name),
                                           streams=("tty", "pipe", kind), file=lab.path(name + "."))))
    for mode, kind, t in runs:
        assert t.end() == 0 and t.out == b"", (mode, kind, t.out)
        said = t.raw if kind == "tty" else t.err
        bar, objects = b"\x1b[?7l" in said, re.findall(rb'^\{"v":1.*\}\r?$', said, re.M)
        # The control: on a terminal the bar was there.
        assert bar == (kind != "closed" and (mode == "bar" or (mode, kind) == ("auto", "tty"))), (mode, kind, said)
        assert (len(objects) > 1) == (mode == "json" and kind != "closed"), (mode, kind, said)
        assert (kind == "closed") == (b"committed" not in said.replace(b'"committed"', b"")), (mode, kind, said)


@check
def widths(lab):
    f = numbers(lab, 6000, "a-name-that-is-long-enough-to-be-noticed.txt")
    runs = [(w, start(lab, "run", f, "--format", "lines", *SLOW, columns=w, store=lab.path("w%d" % w))) for w in (0, 20, 59, 60, 80, 300)]
    for width, t in runs:
        assert t.end() == 0, t.raw
        bars = [Screen(width).feed("\x1b[?7l" + x.split("\x1b[K")[0]) for x in t.text().split("\r\x1b[?7l")[1:]]
        assert len(bars) > 3 and all(b.wrapped == 0 for b in bars), (width, len(bars))
        last = bars[-2].lines()[0]
        assert len(last) <= (width or 80) - 1, (width, last)
        assert ("B/s" in last) == (width >= 100) and ("▕" in last) == (width >= 60 or not width), (width, last)
        assert ("a-name" in last) == (width >= 100), (width, last)
        assert re.search(r"/s  ETA \d" if width != 20 else r"ETA \d", last), (width, last)
        if 20 < width < 60:
            assert re.fullmatch(r"\d+%  [\d.]+k?/s  ETA \d+:\d\d", last), last
        assert t.screen(width).usable() and not any(is_bar(x) for x in t.screen(0).lines()), t.screen(0).lines()


@check
def locale_and_environment(lab):
    f = numbers(lab, 6000)
    for i, (env, escapes, utf8, color) in enumerate((
            ({}, True, True, True), ({"LANG": "C"}, True, False, True), ({"LANG": None, "LC_ALL": "C"}, True, False, True),
            ({"LC_ALL": "POSIX"}, True, False, True), ({"NO_COLOR": "1"}, True, True, False), ({"TERM": "dumb"}, False, True, False),
            ({"TERM": ""}, False, True, False), ({"CLICOLOR_FORCE": "1"}, True, True, True))):
        for mode in ("auto", "bar"):
            t = start(lab, "run", f, "--format", "lines", *SLOW, "--progress", mode, store=lab.path("s%d%s" % (i, mode)), env=environment(**env))
            assert t.end() == 0
            assert ("\x1b" in t.text()) == escapes, (env, t.text())
            assert any(ord(c) > 127 for c in t.text()) == utf8, (env, t.text())
            assert (re.search("\x1b\\[[0-9;]*m", t.text()) is not None) == color, (env, t.text())
            if escapes:
                assert ("▕" if utf8 else "[=") in t.text(), (env, t.text())


@check
def appears_late_and_seldom(lab):
    t = start(lab, "run", numbers(lab, 100, "few"), "--format", "lines", store=lab.path("quick"))
    assert t.end() == 0 and (t.reads[-1][0] > 0.5 or "\x1b[?7l" not in t.text()), t.text()
    t = start(lab, "run", numbers(lab, 12000), "--format", "lines", *SLOW)
    assert t.end() == 0
    times = [at for at, data in t.reads for _ in range(data.count(b"\x1b[?7l"))]
    assert times[0] >= 0.49, times
    assert 10 < len(times) <= (times[-1] - times[0]) * 10 + 3, (len(times), times[-1] - times[0])


@check
def plain_every_ten_seconds(lab):
    t = start(lab, "run", numbers(lab, 52000), "--format", "lines", *SLOW, streams=("closed", "pipe", "pipe"))
    at = None
    while t.p.poll() is None:
        t.pump(0.1)
        if at is None and b"ETA" in t.err:
            at = time.monotonic() - t.begun
    assert t.end() == 0
    lines = [x for x in t.err.decode().splitlines() if is_bar(x)]
    assert 1 <= len(lines) <= 2 and 9.9 < at < 12 and b"\x1b" not in t.err, (at, t.err)
    assert lines[0].isascii() and "ETA 0:" in lines[0], lines


@check
def json_lines(lab):
    t = start(lab, "run", numbers(lab, 20000), "--format", "lines", *SLOW, "--progress", "json", "--quiet", streams=("tty", "pipe", "pipe"))
    assert t.end() == 0
    rows = [json.loads(x) for x in t.err.splitlines()]
    assert all(list(r) == FIELDS and r["v"] == 1 for r in rows), rows[:1]
    seconds = t.reads[-1][0] if t.reads else 4
    assert 8 <= len(rows) <= seconds * 4 + 20, len(rows)
    assert [r["committed"] for r in rows] == sorted(r["committed"] for r in rows)
    assert rows[-1]["committed"] == rows[-1]["items"] == 20000 and rows[-1]["state"] == "completed" and rows[-1]["eta_s"] == 0, rows[-1]
    ranged = [r for r in rows if r["eta_lo"] is not None and r["eta_hi"] is not None]
    assert ranged and all(r["eta_lo"] <= r["eta_s"] <= r["eta_hi"] for r in ranged), rows[-3:]


@check
def every_end_leaves_a_usable_terminal(lab):
    f = numbers(lab, 300000)
    ends = [((signal.SIGINT, signal.SIGINT), 130), ((signal.SIGTERM, signal.SIGTERM), 143), ((signal.SIGINT, signal.SIGTERM), 143),
            ((signal.SIGTERM,), 143), ((signal.SIGHUP,), -1), ((signal.SIGABRT,), -6), ((signal.SIGQUIT,), -3), ((signal.SIGKILL,), -9)]
    if "ASAN_OPTIONS" not in os.environ:  # a sanitizer keeps these for itself
        # A page that cannot be had is the disk's failure, and told as one.
        ends += [((signal.SIGBUS,), 74), ((signal.SIGFPE,), -8), ((signal.SIGSEGV,), -11)]
    runs = [(sigs, status, start(lab, "run", f, "--format", "lines", *SLOW, store=lab.path("s%d" % i)))
            for i, (sigs, status) in enumerate(ends)]
    for sigs, status, t in runs:
        t.pump(1.0)
        end = time.monotonic() + 20
        while b"\x1b[?7l" not in t.raw and time.monotonic() < end:
            t.pump(0.1)
        assert b"\x1b[?7l" in t.raw, (sigs, t.raw)  # the control: a line stood there
        for s in sigs:
            t.p.send_signal(s)
            t.pump(0.1)
        got = t.end(60)
        # One that had drained by then ends with the first signal.
        assert got in (status, 128 + sigs[0] if len(sigs) > 1 else status), (sigs, got)
        assert t.before == t.after, sigs
        screen = t.screen()
        assert screen.usable(), (sigs, t.raw[-300:])
        # Nobody can clean up behind SIGKILL; but what is typed next overwrites the line.
        assert screen.x == 0 and (sigs == (signal.SIGKILL,) or not any(is_bar(x) for x in screen.lines())), (sigs, screen.lines())


@check
def control_c_at_the_keyboard(lab):
    t = start(lab, "run", numbers(lab, 60000), "--format", "lines", *SLOW)
    t.pump(1.5)
    t.type(b"\x03")
    t.pump(0.3)
    t.type(b"\x03")
    assert t.end() in (130,) and t.screen().usable() and "penstock" in t.text(), t.text()
    lab.verify()


@check
def not_in_the_background(lab):
    f = numbers(lab, 6000)
    script = 'set -m; "$0" --store "$1" run "$2" --format lines --chunk 100 --pause-ms 20 & wait'
    t = Terminal(["sh", "-c", script, PENSTOCK, lab.store, f], env=environment())
    assert t.end() == 0 and "6,000" in t.text() and "\x1b[?7l" not in t.text(), t.text()


@check
def a_full_disk_says_it_rests(lab):
    mount = lab.path("m")
    os.mkdir(mount)
    if os.getuid() or os.system("mount -t tmpfs -o size=6m tmpfs '%s' 2>/dev/null" % mount):
        raise Skip("a tmpfs cannot be mounted here")
    try:
        f = lab.path("f.ndjson", lab.records(60000))
        t = start(lab, "run", f, store=os.path.join(mount, "store"), columns=120)
        end = time.monotonic() + 30
        while "⏸ paused" not in t.text() and time.monotonic() < end:
            t.pump(0.2)
        assert re.search("⏸ paused 0:\\d\\d: ", t.text()), t.text()
        os.system("mount -o remount,size=64m '%s'" % mount)
        assert t.end() == 0 and t.screen(120).usable() and "60,000" in t.text(), t.text()
    finally:
        os.system("umount -l '%s'" % mount)


if __name__ == "__main__":
    sys.exit(judge_all())
