#!/usr/bin/python3
# suites - the long fault runs: each prints one line; the last one says N passed, N failed
#
#   tests/torture/suites.py PENSTOCK [SUITE]...     (run.sh calls this, in a mount namespace of its own)
#
#   kills     random SIGKILLs over real runs (PEN_KILLS, 500)
#   calls     SIGKILL, a full and a failed disk at each call that changes a file, of a run that makes its store and of one that
#             finds it
#   memory    each allocation fails, once, and with all behind it
#   refused   the Nth call of each kind fails, with each of six errors
#   jobs      PEN_JOB_KILLS (120) SIGKILLs of engines that run a command per item, of their launchers and commands
#   storm     several `work` on one store, batches of commands and of workers; engines, launchers and children are killed, at random
#             and at calls that change files, for PEN_SECS x 60 seconds (120)
#   disk      the disk fills up at random points (PEN_POINTS, 12) and has space again, or the run is stopped there
#   readers   PEN_FUZZ (100000) corrupted progress rings and PEN_SOAK (20000000) events past three readers
#   power     the power fails (PEN_CUTS, 60): the file system (PEN_FS, ext4 or xfs) is shut down under the run, mounted again,
#             verified
#   retain    SIGKILL at each call that writes, and a full or failed disk there, of a `clean` that takes several transactions,
#             with batches that were submitted
#   ring      the progress ring: PEN_EVENTS (100,000,000) events through tiny rings under readers that check each word, and its
#             writer killed at each step for PEN_RING_SECS (60); its controls are in tests/stress/controls.sh
#
# Every fault ends in a store that verifies and, after the same command was run again, equals the uninterrupted one: what
# was counted stays, what was not is done. Every suite has a control, which is a fault that must be noticed. PEN_SEED
# repeats the random choices. A suite that the machine does not allow is skipped with the reason.
import errno
import fcntl
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../cli"))
from lab import PENSTOCK, SEED, Lab, Skip  # noqa: E402

BUILD = os.path.join(os.path.dirname(PENSTOCK), "tests/torture")
HANG_S = 20


class Bad(Exception):
    """What a fault led to, and must not."""


def verify_refused(penstock, store):
    """
    Verifies behind a fault. A meta page that the disk refused is one that looks altered where the file did not grow in the
    two last transactions: verify cannot tell, and says so until the next commit. Nothing else may be said.
    """
    p = subprocess.run([penstock, "--store", store, "verify"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    said = p.stdout.decode("utf-8", "replace").splitlines()
    if p.returncode and not (p.returncode == 65 and len(said) == 1 and "is altered: it hides transaction" in said[0]):
        raise Bad("verify: exit %d\n%s%s" % (p.returncode, "\n".join(said), p.stderr.decode("utf-8", "replace")))
    return p.returncode == 0


class Suite(Lab):
    def __init__(self, name):
        super().__init__("torture-" + name)
        self.points = 0
        self.bad = []
        self.kinds = {}

    def note(self, kind):
        self.kinds[kind] = self.kinds.get(kind, 0) + 1

    def point(self, what, f, *args):
        """One fault; counts it, and what went wrong with it."""
        self.points += 1
        try:
            return f(*args)
        except (Bad, AssertionError, subprocess.TimeoutExpired) as why:
            self.bad.append("%s: %s" % (what, why))
            return None

    def small(self, n=3000):
        """A run that is quick, has rejects, and several transactions."""
        f = self.path("in.ndjson", "".join('{"id":"%d","n":%d}\n' % (i * 7919 % (n + 1), i) + ("bad\n" if i % 1000 == 500 else "")
                                           for i in range(n)))
        self.args = ("run", f, "--key", "/id", "--into", "d", "--chunk", str(min(n // 10, 2000)), "--progress", "none")
        self.whole = os.path.join(self.dir, "whole")
        self.command(self.args, self.whole, rc=1)
        self.want = self.digest(dataset="d", store=self.whole)

    def command(self, args, store, rc=(0, 1), **kw):
        p = subprocess.run([PENSTOCK, "--store", store, *args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=120, **kw)
        if p.returncode not in (rc if isinstance(rc, tuple) else (rc,)):
            raise Bad("%s: exit %d\n%s" % (args[0], p.returncode, p.stderr.decode("utf-8", "replace")[-600:]))
        return p.stderr.decode("utf-8", "replace")

    def fresh(self, made):
        """No store, or one in which something lies already."""
        shutil.rmtree(self.store, ignore_errors=True)
        if made:
            if not hasattr(self, "template"):
                self.template = os.path.join(self.dir, "template")
                self.command(("run", self.path("g", "1\n"), "--format", "lines"), self.template)
            shutil.copytree(self.template, self.store)

    def entries(self, store):
        """Records of the dataset: keys are never there twice, so these are the items committed."""
        p = subprocess.run([PENSTOCK, "--store", store, "datasets", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if p.returncode:
            raise Bad("datasets: exit %d\n%s" % (p.returncode, p.stderr.decode("utf-8", "replace")))
        return sum(json.loads(x)["entries"] for x in p.stdout.splitlines() if json.loads(x)["dataset"] == "d")

    def source_was_refused(self, store):
        """A source that could not be opened or read is an item of a batch that is complete: said, and done."""
        p = subprocess.run([PENSTOCK, "--store", store, "items", "@last", "--json"], stdout=subprocess.PIPE)
        return any(json.loads(x)["code"] in ("PEN1041", "PEN1047", "PEN1048", "PEN1049") for x in p.stdout.splitlines())

    def settled(self, store=None):
        """The store verifies, the command goes on, and the result is that of a run nobody disturbed."""
        store = store or self.store
        if os.path.exists(os.path.join(store, "data.mdb")):
            if not verify_refused(PENSTOCK, store):
                self.note("meta pages refused")
        self.command(self.args, store, rc=1)
        self.command(("verify",), store, rc=0)
        if self.source_was_refused(store):
            self.note("sources refused")
            self.command((*self.args, "--fresh"), store, rc=1)
            self.command(("verify",), store, rc=0)
        if self.digest(dataset="d", store=store) != self.want:
            raise Bad("the store differs from the uninterrupted one")

    def faulted(self, before, **kw):
        """A run under a fault: exit status and message. It must end, not by a signal, and not without a word."""
        p = subprocess.run([*before, PENSTOCK, "--store", self.store, *self.args], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                           timeout=HANG_S, **kw)
        err = p.stderr.decode("utf-8", "replace")
        return p.returncode, err


def needs(*tools):
    for tool in tools:
        if not shutil.which(tool):
            raise Skip("there is no " + tool)


def strace(*options):
    return ("strace", "-f", "-qq", *options)


def tracing(suite):
    needs("strace")
    if subprocess.run(strace("-o", "/dev/null", "true"), stderr=subprocess.DEVNULL).returncode:
        raise Skip("strace cannot trace here")


# ---- kills ---------------------------------------------------------------------------------------


def kills(suite):
    env = dict(os.environ, PEN_KILLS=os.environ.get("PEN_KILLS") or "500", PEN_SEED=str(SEED))
    p = subprocess.run(["/usr/bin/python3", os.path.join(HERE, "../cli/run.py"), PENSTOCK, "kill_storm"], stdout=subprocess.PIPE, env=env)
    text = p.stdout.decode("utf-8", "replace")
    suite.points = int(env["PEN_KILLS"])
    if p.returncode or not re.search(r"^[1-9]\d* passed, 0 failed", text, re.M):
        suite.bad.append(text)


WRITES = "pwrite64,pwritev,pwritev2,writev,fdatasync,fsync,ftruncate,rename,renameat,renameat2,linkat,mkdirat,unlinkat"


# What call_preload counts.
CHANGES = WRITES + ",mkdir,unlink,rmdir,link,fallocate,fchmod,fchmodat"


def calls(suite):
    """SIGKILL, a full and a failed disk at each single call that changes a file, whichever thread makes it."""
    preload = os.path.join(BUILD, "call_preload.so")
    if not os.path.exists(preload):
        raise Skip("there is no %s" % preload)
    tracing(suite)
    suite.small(1200)
    suite.args = (*suite.args, "--chunk", "300")  # a few transactions: each of their calls is a point
    log = suite.path("log")

    def under(n, how):
        """A run under a fault: what was hit (or how many calls there were), exit status, message."""
        if os.path.exists(log):
            os.unlink(log)
        env = dict(os.environ, LD_PRELOAD=preload, CALL_LOG=log, CALL_AT=str(n), **({"CALL_ERRNO": str(how)} if how else {}))
        status, err = suite.faulted((), env=env)
        with open(log) as f:
            return f.read().strip(), status, err

    def hit(n, how, made):
        suite.fresh(made)
        what, status, err = under(n, how)
        if what.isdigit():
            if status != 1:
                raise Bad("exit %d, and nothing was hit\n%s" % (status, err[-600:]))
            return False
        if not how and status != -signal.SIGKILL:
            raise Bad("exit %d after SIGKILL at %s" % (status, what))
        if how and (status not in (0, 1, 2, 3, 74, 75) or not err):
            raise Bad("exit %d after %s failed\n%s" % (status, what, err[-600:]))
        suite.note("kills" if not how else "tolerated" if status in (0, 1) else "exit %d" % status)
        suite.settled()
        return True

    for made in (False, True):
        suite.fresh(made)
        traced = suite.path("traced")
        subprocess.run([*strace("-o", traced, "-e", "trace=" + CHANGES), PENSTOCK, "--store", suite.store, *suite.args],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(traced) as f:
            seen = len(re.findall(r"^\d+ +(\w+)\(", f.read(), re.M))
        suite.fresh(made)
        counted = int(under(0, 0)[0])
        # Nothing reaches the kernel past the preload. What threads do at once differs by a few from run to run.
        if abs(counted - seen) > 4 or counted < 30:
            suite.bad.append("the control: %d calls are counted, strace sees %d" % (counted, seen))
        for how in (0, errno.ENOSPC, errno.EIO):
            for n in range(1, 2000):
                what = "%s at call %d of a run that %s its store" % (errno.errorcode.get(how, "SIGKILL"), n, "finds" if made else "makes")
                if suite.point(what, hit, n, how, made) is False:
                    suite.points -= 1
                    break
            else:
                suite.bad.append("no end after 2000 calls")
            if n < counted - 4:
                suite.bad.append("the control: the run ended at call %d of %d" % (n, counted))
    if suite.kinds.get("exit 74", 0) < 5:
        suite.bad.append("the control: %s: commits that fail were not reached" % suite.kinds)
    missing_record(suite)


def missing_record(suite):
    """The control: a store that lacks one record is told apart, by the comparison and by verify."""
    import lmdb
    env = lmdb.open(suite.store, max_dbs=64)
    with env.begin(write=True) as t:
        c = t.cursor(env.open_db(b"d", t, create=False))
        assert c.first() and c.delete()
    env.close()
    suite.command(("verify",), suite.store, rc=65)
    if suite.digest(dataset="d") == suite.want:
        suite.bad.append("the control: a missing record is not noticed")


# ---- retention -----------------------------------------------------------------------------------


def submitted(suite, store):
    """
    A stream, a batch that waited for it and had a hook, and one that was cancelled while its items waited for another try.
    Returns the name of the kept stream, which is made to look two days old.
    """
    def submit(*args, **kw):
        p = subprocess.run([PENSTOCK, "--store", store, "submit", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, **kw)
        if p.returncode:
            raise Bad("submit: exit %d\n%s" % (p.returncode, p.stderr.decode("utf-8", "replace")))
        return p.stdout.decode().strip()

    a = submit("-", "--format", "lines", "--into", "s1", "--processor", "exec:cat", "--owner", "ann", input=b"one\ntwo\nthree\n")
    b = submit(suite.path("two", "1\n2\n"), "--format", "ndjson", "--into", "s2", "--after", a + ":ok", "--on-complete", "true")
    c = submit(suite.path("three", "1\n2\n3\n"), "--format", "lines", "--into", "s3", "--processor", "exec:false", "--backoff", "1h")
    suite.command(("work",), store, rc=(0, 1))
    suite.command(("cancel", c), store, rc=0)
    suite.command(("verify",), store, rc=0)
    if retrying(store) != 3:
        raise Bad("the cancelled batch has %d items that wait" % retrying(store))
    streams = [x for x in os.listdir(os.path.join(store, "staging")) if x.startswith("items.")]
    if len(streams) != 1:
        raise Bad("the streams are %s" % streams)
    os.utime(os.path.join(store, "staging", streams[0]), (time.time() - 2 * 86400,) * 2)
    return streams[0]


def retrying(store):
    """Rows that wait for another try, as the index knows them."""
    import lmdb
    env = lmdb.open(store, max_dbs=64, readonly=True, lock=False)
    with env.begin() as t:
        n = sum(k[0] == 5 for k, _ in t.cursor(env.open_db(b"penstock.index", t, create=False)))
    env.close()
    return n


def not_empty(store):
    """Of what hangs on batches, what is still there."""
    import lmdb
    env = lmdb.open(store, max_dbs=64, readonly=True, lock=False)
    with env.begin() as t:
        left = [name for name in ("orders", "jobs", "controls", "edges", "index", "items", "identity")
                if t.stat(env.open_db(b"penstock." + name.encode(), t, create=False))["entries"]]
    env.close()
    return left


def retain(suite):
    """A clean that removes two batches and a few thousand rows, and three that were submitted, hit at each call that writes."""
    import lmdb
    tracing(suite)
    suite.small()
    full = suite.path("full")
    bad = suite.path("bad.ndjson", "{}\n" + "".join("bad %060d\n" % i for i in range(3500)))
    suite.command(suite.args, full, rc=1)
    suite.command(("run", bad, "--format", "ndjson", "--key", "@offset", "--into", "d2", "--progress", "none"), full, rc=1)
    want = suite.digest(dataset="d2", store=full)
    stream = submitted(suite, full)
    clean = ("clean", "--older-than", "0s")
    half = []

    def hit(call, n, how):
        shutil.rmtree(suite.store, ignore_errors=True)
        shutil.copytree(full, suite.store)
        p = subprocess.run([*strace("-o", "/dev/null", "-e", "trace=" + call, "-e", "inject=%s:%s:when=%d" % (call, how, n)),
                            PENSTOCK, "--store", suite.store, *clean], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                           timeout=HANG_S)
        if p.returncode not in (0, 3, 74, -signal.SIGKILL):
            raise Bad("exit %d" % p.returncode)
        verify_refused(PENSTOCK, suite.store)
        env = lmdb.open(suite.store, max_dbs=64, readonly=True, lock=False)
        with env.begin() as t:
            rows = t.stat(env.open_db(b"penstock.items", t, create=False))["entries"]
            trimmed = [k for k, _ in t.cursor(env.open_db(b"penstock.meta", t, create=False)) if k.startswith(b"trimmed")]
            needed = any(stream.encode() in v for _, v in t.cursor(env.open_db(b"penstock.batches", t, create=False)))
        env.close()
        kept = os.path.exists(os.path.join(suite.store, "staging", stream))
        if needed and not kept:
            raise Bad("a stream went before its batch")
        if kept and not needed:
            suite.note("streams that outlived their batch")
        if trimmed and not half:
            half.append(shutil.copytree(suite.store, suite.path("half")))
        suite.note("half-way" if trimmed else "before" if rows > 3500 else "behind")
        suite.command(clean, suite.store, rc=0)
        suite.command(("verify",), suite.store, rc=0)
        status = subprocess.run([PENSTOCK, "--store", suite.store, "status", "--json"], stdout=subprocess.PIPE)
        if json.loads(status.stdout)["batches_total"]:
            raise Bad("the next clean left a batch")
        if os.path.exists(os.path.join(suite.store, "staging", stream)):
            raise Bad("the next clean left a stream")
        if not_empty(suite.store):
            raise Bad("the next clean left %s" % not_empty(suite.store))
        if (suite.digest(dataset="d"), suite.digest(dataset="d2")) != (suite.want, want):
            raise Bad("records were touched")

    shutil.copytree(full, suite.store)
    log = suite.path("log")
    subprocess.run([*strace("-o", log, "-e", "trace=" + WRITES), PENSTOCK, "--store", suite.store, *clean], check=True,
                   stderr=subprocess.DEVNULL)
    with open(log) as f:
        made = re.findall(r"^\d+ +(\w+)\(", f.read(), re.M)
    count = len(made)
    # strace counts each kind of call by itself.
    for how in ("signal=SIGKILL", "error=ENOSPC", "error=EIO"):
        for call in sorted(set(made)):
            for n in range(1, made.count(call) + 1):
                suite.point("%s at %s %d of %d" % (how, call, n, made.count(call)), hit, call, n, how)
    if count < 10:
        suite.bad.append("the control: %d calls that write are too few to be all" % count)
    if not suite.kinds.get("streams that outlived their batch"):
        suite.bad.append("the control: no fault hit a clean between a batch's end and its stream's")
    # The control: a half-cleaned store whose note of what was taken is lost does not verify.
    if not half:
        suite.bad.append("the control: no fault hit a clean half-way")
        return
    env = lmdb.open(half[0], max_dbs=64)
    with env.begin(write=True) as t:
        meta = env.open_db(b"penstock.meta", t, create=False)
        for key in [k for k, _ in t.cursor(meta) if k.startswith(b"trimmed")]:
            t.delete(key, db=meta)
    env.close()
    suite.command(("verify",), half[0], rc=65)


# ---- memory --------------------------------------------------------------------------------------


def memory(suite):
    preload = os.path.join(BUILD, "oom_preload.so")
    if not os.path.exists(preload):
        raise Skip("there is no %s" % preload)
    suite.small(1000)
    log = suite.path("log")

    def starved(n, sticky, made):
        suite.fresh(made)
        env = dict(os.environ, LD_PRELOAD=preload, OOM_AT=str(n), OOM_LOG=log)
        if sticky:
            env["OOM_STICKY"] = "1"
        status, err = suite.faulted((), env=env)
        if status < 0 or status not in (0, 1, 3, 74, 75, 127):
            raise Bad("exit %d\n%s" % (status, err[-600:]))
        if status not in (0, 1) and not err:
            raise Bad("exit %d without a word" % status)
        suite.note("tolerated" if status in (0, 1) else "exit %d" % status)
        suite.settled()

    for made in (False, True):
        suite.fresh(made)
        suite.faulted((), env=dict(os.environ, LD_PRELOAD=preload, OOM_LOG=log))
        with open(log) as f:
            count = int(f.read())
        for sticky in (False, True):
            for n in range(1, count + 1, 2 if sticky else 1):
                suite.point("allocation %d of %d%s, %s store" % (n, count, " and all behind it" if sticky else "",
                                                               "old" if made else "new"), starved, n, sticky, made)
    if suite.kinds.get("exit 3", 0) < 20:
        suite.bad.append("the control: %s: allocations that matter did not fail" % suite.kinds)


# ---- refused system calls ------------------------------------------------------------------------

REFUSED = ("openat", "openat2", "pwrite64", "writev", "fdatasync", "fsync", "ftruncate", "fcntl", "fstatfs", "statfs", "newfstatat", "read",
           "pread64", "mmap", "madvise", "lseek", "mkdirat", "rename", "flock", "getrandom", "clone3", "socket",
           "io_uring_setup", "io_uring_enter", "io_uring_register", "mprotect", "close", "fchmod")
# Not among them, because they fail only where a strace says so: write (of an eventfd: a wake that gets lost; messages are
# tests/cli's), futex (the same), munmap of what was mapped.
ERRORS = ("EIO", "ENOSPC", "EINTR", "ENOMEM", "EMFILE", "EAGAIN")


def traced_calls(suite, command):
    """How often each call is made by the first thread of a command that does nothing: those are the loader's."""
    log = suite.path("loader.log")
    subprocess.run([*strace("-o", log), PENSTOCK, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    n = {}
    with open(log) as f:
        for call in re.findall(r"^\d+ +(\w+)\(", f.read(), re.M):
            n[call] = n.get(call, 0) + 1
    return n


def refused(suite):
    tracing(suite)
    suite.small(1000)
    log = suite.path("strace.log")
    loader = traced_calls(suite, ("version",))
    most = int(os.environ.get("PEN_CALLS") or 6)
    budget = time.monotonic() + int(os.environ.get("PEN_REFUSED_SECS") or 420)

    def one(call, error, n, made):
        suite.fresh(made)
        status, err = suite.faulted(strace("-o", log, "-e", "trace=" + call, "-e", "signal=none", "-e",
                                           "inject=%s:error=%s:when=%d" % (call, error, n)))
        with open(log) as f:
            hit = f.read().count("INJECTED")
        if not hit:
            return False
        early = n <= loader.get(call, 0)  # the loader died, or a library's start: before anything of ours ran
        if status not in (0, 1, 2, 3, 74, 75) and not early:
            raise Bad("exit %d\n%s" % (status, err[-600:]))
        if status not in (0, 1) and not err and not early:
            raise Bad("exit %d without a word" % status)
        suite.note("tolerated" if status in (0, 1) else "the loader's" if early and status not in (2, 3, 74, 75) else "exit %d" % status)
        suite.settled()
        return True

    # In random order, so that what time does not allow today is tried another day.
    combinations = [(call, error, made) for call in REFUSED for error in ERRORS for made in (True, False)]
    suite.random.shuffle(combinations)
    for call, error, made in combinations:
        first = loader.get(call, 0)
        if time.monotonic() > budget:
            suite.note("combinations not tried")
            continue
        # From the loader's last call on; threads count their own from 1.
        for n in sorted({*range(1, most + 1), *range(first + 1, first + most + 1)}):
            if suite.point("%s call %d: %s, %s store" % (call, n, error, "old" if made else "new"), one, call, error, n, made) is False:
                suite.points -= 1
                break
    if suite.kinds.get("exit 74", 0) < 5 or suite.kinds.get("exit 3", 0) < 10:
        suite.bad.append("the control: %s: commits and openings that fail were not reached" % suite.kinds)


# ---- jobs ----------------------------------------------------------------------------------------

# A line when a try begins, with its process: number, attempt.
JOB = """
read -r what how || :
printf '%s %s\\n' "$PENSTOCK_ITEM_SEQ" "$PENSTOCK_ATTEMPT" >> "$TRIES"
case $what in
ok) sleep "$how"; echo "$how";;
bad) exit 65;;
fail) sleep "$how"; exit 1;;
until) [ "$PENSTOCK_ATTEMPT" -ge "$how" ] || exit 7; echo "$how";;
esac
"""
JOB_ENDS = {"ok": "committed", "bad": "rejected", "fail": "failed", "until": "committed"}
TRIES_MAX = 3


class Batch:
    """Items of a command, each with an end that is known; what has ended must not be tried again."""

    def __init__(self, suite, number, penstock):
        rnd = suite.random
        self.suite, self.penstock = suite, penstock
        self.texts = [rnd.choice(("ok 0.0%d" % rnd.randrange(1, 6), "ok 0", "bad x", "fail 0.01", "until 2", "until 3"))
                      for _ in range(rnd.randrange(20, 90))]
        self.file = suite.path("jobs%d.txt" % number, "".join(t + "\n" for t in self.texts))
        self.tries = suite.path("tries%d" % number, "")
        # A program of another name does not take itself for a launcher.
        self.env = dict(os.environ, TRIES=self.tries, PENSTOCK_LAUNCHER=penstock)
        self.seen = 0        # lines of tries that were looked at
        self.ended = set()   # items with a row that is final
        self.disturbed = False  # children were killed: that counts as a try
        self.options = (self.file, "--format", "lines", "--into", "d%d" % number, "--processor",
                        "exec:sh " + suite.path("job.sh", JOB), "--max-retries", str(TRIES_MAX - 1), "--backoff", "0.02s,0.1s",
                        "--jobs", str(rnd.choice((1, 2, 4))), *(("--chunk", "10") if rnd.random() < 0.5 else ()))
        self.into, self.id = "d%d" % number, None
        self.submitted = rnd.random() < 0.5
        if self.submitted:
            self.call("submit", *self.options)

    def call(self, *args, rc=0):
        p = subprocess.run([self.penstock, "--store", self.suite.store, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, env=self.env, timeout=120)
        if p.returncode not in (rc if isinstance(rc, tuple) else (rc,)):
            raise Bad("%s: exit %d\n%s%s" % (args[0], p.returncode, p.stdout.decode("utf-8", "replace")[-600:],
                                             p.stderr.decode("utf-8", "replace")[-600:]))
        return p.stdout

    def command(self):
        # One that a command began goes on with either.
        if self.submitted or (self.id and self.suite.random.random() < 0.3):
            return ("work",)
        return ("run", *self.options, "--progress", "none")

    def rows(self):
        return [json.loads(x) for x in self.call("items", self.id, "--json").splitlines()]

    def check(self):
        """After a kill: the store verifies, no item has two rows or too many tries, none that ended was tried again."""
        if not os.path.exists(os.path.join(self.suite.store, "data.mdb")):
            return
        self.call("verify")
        if not self.id:
            newest = json.loads(self.call("status", "--json"))["batches"]
            if not newest:
                return
            self.id = newest[0]["batch"] if isinstance(newest[0], dict) else newest[0]
            if json.loads(self.call("status", self.id, "--json"))["dataset"] != self.into:
                self.id = None
                return
        rows = self.rows()
        seqs = [r["seq"] for r in rows]
        if seqs != sorted(set(seqs)):
            raise Bad("two rows of one item: %s" % seqs)
        if any(r["attempts"] > TRIES_MAX for r in rows):
            raise Bad("more tries than allowed: %s" % rows)
        with open(self.tries) as f:
            lines = [tuple(map(int, x.split())) for x in f.read().splitlines()]
        for seq, attempt in lines[self.seen:]:
            if seq in self.ended:
                raise Bad("item %d was tried again (attempt %d) though it had ended" % (seq, attempt))
            if attempt > TRIES_MAX:
                raise Bad("item %d: try %d of %d" % (seq, attempt, TRIES_MAX))
        self.seen = len(lines)
        self.ended = {r["seq"] for r in rows if r["state"] != "retrying"}

    def complete(self):
        """Undisturbed to its end; then each item has one row, the record that belongs to it, and no other."""
        self.call(*self.command(), rc=(0, 1))
        self.check()
        status = json.loads(self.call("status", self.id, "--json"))
        rows = self.rows()
        if status["state"] != "completed" or [r["seq"] for r in rows] != list(range(len(self.texts))):
            raise Bad("%s with rows %s of %d items" % (status["state"], [r["seq"] for r in rows], len(self.texts)))
        kept = {struct.unpack(">Q", k)[0]: v for k, v in self.suite.dump(dataset=self.into)}
        for r, text in zip(rows, self.texts):
            what, how = text.split()
            allowed = {JOB_ENDS[what]} | ({"failed"} if self.disturbed else set())
            tries = {"ok": 1, "bad": 1, "fail": TRIES_MAX, "until": int(how) if what == "until" else 0}[what]
            if r["state"] not in allowed or (r["attempts"] != tries and not self.disturbed):
                raise Bad("item %d (%s) is %s after %d tries" % (r["seq"], text, r["state"], r["attempts"]))
            if kept.get(r["seq"]) != (how.encode() + b"\n" if r["state"] == "committed" else None):
                raise Bad("item %d (%s) has the record %s" % (r["seq"], text, kept.get(r["seq"])))
        if any(status[k] != sum(r["state"] == k for r in rows) for k in ("committed", "rejected", "failed")):
            raise Bad("counters %s" % status)
        if len(kept) != status["committed"]:
            raise Bad("%d records of %d items" % (len(kept), status["committed"]))


def offspring(pid):
    found, todo = [], [pid]
    while todo:
        for tid in os.listdir("/proc/%d/task" % todo[-1]) if os.path.isdir("/proc/%d/task" % todo[-1]) else ():
            try:
                with open("/proc/%d/task/%s/children" % (todo[-1], tid)) as f:
                    found.append([int(x) for x in f.read().split()])
            except OSError:
                continue
        todo.pop()
        if found and found[-1]:
            todo += found[-1]
    return [x for some in found for x in some]


def left_behind(batch):
    """Processes of the batch that outlive their engine: told by their environment."""
    mark, found = ("TRIES=" + batch.tries).encode(), []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/environ" % pid, "rb") as f:
                if mark in f.read().split(b"\0"):
                    found.append(int(pid))
        except OSError:
            continue
    return found


def killed_job(suite, batch):
    """One kill: of the engine, of its launcher, or of a command. False: it was over before."""
    p = subprocess.Popen([batch.penstock, "--store", suite.store, *batch.command()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.PIPE, env=batch.env)
    time.sleep(suite.random.choice((0.02, 0.1, 0.3, 0.8)) * suite.random.random())
    whom = suite.random.choice(("engine", "engine", "engine", "launcher", "command"))
    below = offspring(p.pid)
    try:
        if p.poll() is None and whom == "engine":
            p.kill()
        elif p.poll() is None and below:
            launcher = whom == "launcher"
            os.kill(below[0] if launcher else suite.random.choice(below[1:] or below), signal.SIGKILL)
            batch.disturbed = True
        else:
            whom = "nobody"
    except ProcessLookupError:
        whom = "nobody"
    try:
        err = p.communicate(timeout=HANG_S)[1].decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        p.kill()
        p.wait()
        raise Bad("no end after the %s was killed" % whom) from None
    over = time.monotonic() + HANG_S
    while left_behind(batch):
        if time.monotonic() > over:
            raise Bad("processes outlive the %s: %s" % (whom, left_behind(batch)))
        time.sleep(0.005)
    if p.returncode < 0 and whom != "engine" or p.returncode not in (0, 1, 3, -signal.SIGKILL):
        raise Bad("exit %d after the %s was killed\n%s" % (p.returncode, whom, err[-600:]))
    suite.note("kills of the " + whom if whom != "nobody" else "ends before the kill")
    batch.check()
    return p.returncode not in (0, 1) or whom != "nobody"


def jobs(suite, penstock=PENSTOCK, kills=None):
    kills = kills or int(os.environ.get("PEN_JOB_KILLS") or 120)
    number = done = 0
    while done < kills:
        shutil.rmtree(suite.store, ignore_errors=True)
        batch = Batch(suite, number, penstock)
        number += 1
        for _ in range(suite.random.randrange(3, 10)):
            done += 1
            what = "kill %d, items %s" % (done, batch.file)
            if suite.point(what, killed_job, suite, batch) is not True:
                break
        if suite.point("the end of %s" % batch.file, batch.complete) is None and suite.bad and penstock != PENSTOCK:
            return
    if penstock != PENSTOCK:
        return
    planted = os.path.join(BUILD, "penstock_early")
    if not os.path.exists(planted):
        suite.bad.append("the control: there is no %s" % planted)
        return
    control = Suite("jobs-control")
    try:
        # Undisturbed it does what it should: what is noticed below is what kills bring to light.
        suite.point("the control without kills", Batch(control, 0, planted).complete)
        shutil.rmtree(control.store, ignore_errors=True)
        jobs(control, planted, 60)
    finally:
        control.end()
    suite.note("controls noticed") if control.bad else suite.bad.append("the control: chunks that pass before their results are not noticed")


# ---- storm ---------------------------------------------------------------------------------------

# Both write a line when a try begins and one when it ends: batch, what, number, attempt.
STORM_COMMAND = """
read -r line || :
what=${line#*do\\":\\"} what=${what%%\\"*} how=${what#* } what=${what%% *}
said() { printf '%s %s %s %s\\n' "$PENSTOCK_BATCH" "$1" "$PENSTOCK_ITEM_SEQ" "$PENSTOCK_ATTEMPT" >> "$STORM/tries"; }
said began
case $what in
ok) sleep "$how"; said ended; echo "$how";;
bad) said ended; exit 65;;
fail) sleep "$how"; said ended; exit 1;;
until) said ended; [ "$PENSTOCK_ATTEMPT" -ge "$how" ] || exit 7; echo "$how";;
die) said ended; kill -9 $$;;
esac
"""
STORM_WORKER = """
import json, os, sys, time
to = os.open(os.environ["STORM"] + "/tries", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def said(what, r):
    os.write(to, b"%s %s %d %d\\n" % (os.environb[b"PENSTOCK_BATCH"], what, r["seq"], r["attempt"]))
for line in sys.stdin.buffer:
    r = json.loads(line)
    what, how = r["item"]["do"].split()
    said(b"began", r)
    reply = {"id": r["id"]}
    if what in ("ok", "fail"):
        time.sleep(float(how))
    said(b"ended", r)
    if what == "die":
        os._exit(3)
    elif what == "ok" or what == "until" and r["attempt"] >= int(how):
        reply.update(value_text=how + "\\n", put=[{"dataset": "side", "key": r["item"]["id"], "value_text": how}])
    else:
        reply["error"] = {"bad": "reject", "drop": "drop"}.get(what, "retry")
    sys.stdout.write(json.dumps(reply) + "\\n")
    sys.stdout.flush()
"""
STORM_RETRIES = 2


class StormBatch:
    """A submitted batch: what its items are, what must become of them."""

    def __init__(self, storm, number):
        rnd, suite = storm.suite.random, storm.suite
        self.storm, self.number = storm, number
        self.worker = number % 2 == 1
        kinds = ["ok 0.0%d" % rnd.randrange(1, 5), "ok 0", "ok 0.002", "bad x", "fail 0.01", "until 2", "until 3"]
        rare = ["die x"] + (["drop x"] if self.worker else [])
        self.items = [rnd.choice(rare) if rnd.random() < 0.03 else rnd.choice(kinds) for _ in range(rnd.randrange(30, 120))]
        self.disturbed = False  # a child of it was killed: that counts as a try, or as a crash
        self.ended, self.seen = set(), 0
        # Some have a dataset of their own, which allows one of them at a time; the others share one.
        self.shared = rnd.random() < 0.5
        self.into = "shared" if self.shared else "own%d" % (number % 3)
        program = "worker:/usr/bin/python3 -S " + storm.worker if self.worker else "exec:sh " + storm.command
        file = suite.path("storm/%s.ndjson" % storm.name(number),
                          "".join('{"id":"%s","do":"%s"}\n' % (self.key(i), x) for i, x in enumerate(self.items)))
        self.id = storm.call("submit", file, "--into", self.into, "--processor", program, "--max-retries", str(STORM_RETRIES),
                             "--backoff", rnd.choice(("0.01s", "0.02s,0.2s", "exp:0.05s")), "--jobs", str(rnd.choice((1, 2, 3))),
                             "--durability", rnd.choice(("commit", "commit", "group")), "--on-complete", storm.hook,
                             *(("--key", "/id") if self.shared else ()), *(("--chunk", "7") if rnd.random() < 0.4 else ()),
                             *(("--window", "3") if self.worker else ())).decode().strip()

    def key(self, i):
        return "%d-%d" % (self.number, i)

    def fate(self, what, how):
        """State, tries, and how many of them were followed by another one."""
        most = STORM_RETRIES + 1
        if what == "die" and self.worker:
            return "quarantined", 0, 2  # a crash is no try; the third one is the last
        return {"ok": ("committed", 1, 0), "bad": ("rejected", 1, 0), "drop": ("skipped", 1, 0), "die": ("failed", most, most - 1),
                "fail": ("failed", most, most - 1), "until": ("committed", int(how), int(how) - 1) if what == "until" else None}[what]

    def rows(self):
        return [json.loads(x) for x in self.storm.call("items", self.id, "--json").splitlines()]

    def check(self):
        """At any time: one row an item, no try of what had ended before, none before the end of the one before."""
        rows = self.rows()
        seqs = [r["seq"] for r in rows]
        if seqs != sorted(set(seqs)):
            raise Bad("batch %d: two rows of one item: %s" % (self.number, seqs))
        tries = self.storm.tries(self.id)
        for what, seq, attempt in tries[self.seen:]:
            if what == "began" and seq in self.ended:
                raise Bad("batch %d: item %d was tried again though it had ended" % (self.number, seq))
        # Tries that began while the rows were read may be of items that ended in that moment: not held against anyone.
        self.seen = len(self.storm.tries(self.id))
        self.ended = {r["seq"] for r in rows if r["state"] != "retrying"}
        if self.disturbed:
            return
        done = set()
        for what, seq, attempt in tries:
            if attempt > STORM_RETRIES + 1:
                raise Bad("batch %d, item %d: try %d" % (self.number, seq, attempt))
            if what == "began" and attempt > 1 and (seq, attempt - 1) not in done:
                raise Bad("batch %d, item %d: try %d began, and no try %d had ended" % (self.number, seq, attempt, attempt - 1))
            if what == "ended":
                done.add((seq, attempt))

    def complete(self):
        self.check()
        status = json.loads(self.storm.call("status", self.id, "--json"))
        rows = self.rows()
        if status["state"] != "completed" or [r["seq"] for r in rows] != list(range(len(self.items))):
            raise Bad("batch %d is %s with %d rows of %d items" % (self.number, status["state"], len(rows), len(self.items)))
        retries = 0
        for r, text in zip(rows, self.items):
            state, tries, again = self.fate(*text.split())
            retries += again
            if self.disturbed:
                if r["state"] not in (state, "failed", "quarantined") or r["attempts"] > STORM_RETRIES + 1:
                    raise Bad("batch %d, item %d (%s) is %s after %d tries" % (self.number, r["seq"], text, r["state"], r["attempts"]))
            elif (r["state"], r["attempts"]) != (state, tries):
                raise Bad("batch %d, item %d (%s) is %s after %d tries" % (self.number, r["seq"], text, r["state"], r["attempts"]))
        n = {k: sum(r["state"] == k for r in rows) for k in ("committed", "rejected", "failed", "skipped", "quarantined")}
        n["failed"] += n.pop("quarantined")
        if any(status[k] != v for k, v in n.items()) or status["items"] != len(self.items):
            raise Bad("batch %d: rows say %s, counters %s" % (self.number, n, status))
        events = [json.loads(x) for x in self.storm.call("events", self.id, "--json").splitlines()]
        said = {t: sum(e["type"] == t for e in events) for t in ("retry", "dead_lettered", "completed", "queued")}
        # Of single items, a transaction tells a dozen; the counters, which are of the same transactions, know all.
        if said["completed"] != 1 or said["queued"] != 1 or said["dead_lettered"] > n["failed"] or said["retry"] > retries and not self.disturbed:
            raise Bad("batch %d: the journal says %s, %d failed, %d retries" % (self.number, said, n["failed"], retries))
        counted = self.storm.counted(self.id)
        dies = sum(x.startswith("die") for x in self.items) if self.worker else 0
        if counted[0] or not self.disturbed and counted != (0, retries + len(self.items), retries, 3 * dies):
            raise Bad("batch %d: %s are waiting, tries, retries, crashes; not 0, %d, %d, %d" % (self.number, counted, retries + len(self.items),
                                                                                             retries, 3 * dies))
        return {i: x.split()[1] for i, (r, x) in enumerate(zip(rows, self.items)) if r["state"] == "committed"}


class Storm:
    """Several `work` on one store, and what is killed of them."""

    def __init__(self, suite, penstock, number, rough):
        self.suite, self.penstock, self.number, self.rough = suite, penstock, number, rough
        shutil.rmtree(suite.store, ignore_errors=True)
        self.dir = suite.path("storm")
        shutil.rmtree(self.dir, ignore_errors=True)
        os.makedirs(self.dir)
        suite.path("storm/tries", "")
        suite.path("storm/hooks", "")
        self.command, self.worker = suite.path("storm.sh", STORM_COMMAND), suite.path("storm.py", STORM_WORKER)
        self.hook = "printf '%s %s %s\\n' \"$PENSTOCK_BATCH\" \"$PENSTOCK_STATE\" \"$PPID\" >> \"$STORM/hooks\""
        # A program of another name does not take itself for a launcher.
        self.env = dict(os.environ, STORM=self.dir, PENSTOCK_LAUNCHER=penstock)
        self.workers, self.killed = [], set()
        self.batches = [StormBatch(self, i) for i in range(suite.random.randrange(4, 8))]

    def name(self, number):
        return "%d-%d" % (self.number, number)

    def call(self, *args, rc=0):
        p = subprocess.run([self.penstock, "--store", self.suite.store, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, env=self.env, timeout=120)
        if p.returncode not in (rc if isinstance(rc, tuple) else (rc,)):
            raise Bad("%s: exit %d\n%s%s" % (args[0], p.returncode, p.stdout.decode("utf-8", "replace")[-600:],
                                             p.stderr.decode("utf-8", "replace")[-600:]))
        return p.stdout

    def tries(self, batch):
        with open(os.path.join(self.dir, "tries")) as f:
            lines = [x.split() for x in f.read().split("\n")[:-1]]
        return [(what, int(seq), int(attempt)) for b, what, seq, attempt in lines if b == batch]

    def counted(self, batch):
        """Of the job, as the store has it: items that wait, tries, retries, crashes."""
        import lmdb
        env = lmdb.open(self.suite.store, max_dbs=64, readonly=True, lock=False)
        with env.begin() as t:
            row = t.get(struct.pack(">Q", int(batch, 16)), db=env.open_db(b"penstock.jobs", t, create=False))
        env.close()
        waiting, _, tries, retries, crashes = struct.unpack_from("<5Q", row, 24)
        return waiting, tries, retries, crashes

    def start(self):
        """A worker; every second one has a call that changes a file as its last one."""
        env = dict(self.env)
        if self.suite.random.random() < 0.5:
            env.update(LD_PRELOAD=os.path.join(BUILD, "call_preload.so"), CALL_AT=str(self.suite.random.randrange(3, 160)))
        said = open(os.path.join(self.dir, "said"), "a+b")
        p = subprocess.Popen([self.penstock, "--store", self.suite.store, "work", "--batches", str(self.suite.random.choice((1, 2, 3)))],
                             stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=env)
        said.close()
        self.workers.append(p)

    def reap(self):
        for p in [p for p in self.workers if p.poll() is not None]:
            self.workers.remove(p)
            if p.returncode == -signal.SIGKILL:
                if p.pid not in self.killed:
                    self.suite.note("kills at a call")
                self.killed.add(p.pid)
            elif p.returncode not in (0, 1, 3, 75):
                with open(os.path.join(self.dir, "said"), "rb") as f:
                    raise Bad("a worker ends with %d\n%s" % (p.returncode, f.read()[-1500:].decode("utf-8", "replace")))

    def kill(self):
        p = self.suite.random.choice(self.workers)
        whom = self.suite.random.choice(("engine", "engine", "launcher", *(("command",) * 6 if self.rough else ())))
        try:
            if whom == "engine":
                self.killed.add(p.pid)
                p.kill()
            else:
                engines = {w.pid for w in self.workers}
                below = [(pid, *told(pid)) for engine in engines for pid in offspring(engine)]
                # A process that is about to become another one still bears the name of who starts it: none of those.
                wanted = [(pid, batch) for pid, name, parent, batch, hook in below
                          if (name == "penstock-launch" and parent in engines if whom == "launcher" else
                              batch and not hook and not name.startswith("penstock"))]
                if not wanted:
                    return
                pid, batch = self.suite.random.choice(wanted)
                for b in self.batches:
                    # Before it dies: its end may be in the store a moment later.
                    b.disturbed |= whom == "command" and b.id == batch
                os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.suite.note("kills of the " + whom)

    def rage(self, kills):
        over = time.monotonic() + 60
        for n in range(kills):
            self.reap()
            while len(self.workers) < 3:
                self.start()
            time.sleep(self.suite.random.choice((0.02, 0.1, 0.4)) * self.suite.random.random())
            self.kill()
            if n % 8 == 7:
                self.call("verify")
                for b in self.batches:
                    b.check()
            if time.monotonic() > over or n % 8 == 7 and self.all_over():
                break

    def all_over(self):
        return all(json.loads(self.call("status", b.id, "--json"))["state"] == "completed" for b in self.batches)

    def left(self):
        mark, found = ("STORM=" + self.dir).encode(), []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/environ" % pid, "rb") as f:
                    if mark in f.read().split(b"\0"):
                        found.append(int(pid))
            except OSError:
                continue
        return found

    def calm(self):
        """Nobody is killed any more: all ends, nobody is left."""
        over = time.monotonic() + 120
        while self.workers:
            self.reap()
            if time.monotonic() > over:
                raise Bad("a worker does not end")
            time.sleep(0.01)
        self.call("verify")
        for _ in range(5):
            self.call("work", rc=(0, 1, 75))
            if self.all_over():
                break
        over = time.monotonic() + HANG_S
        while self.left():
            if time.monotonic() > over:
                raise Bad("processes are left: %s" % self.left())
            time.sleep(0.01)

    def hooks(self):
        """Each ran once; again only where the process that ran it was killed."""
        with open(os.path.join(self.dir, "hooks")) as f:
            lines = [x.split() for x in f.read().splitlines()]
        for b in self.batches:
            mine = [(state, int(pid)) for batch, state, pid in lines if batch == b.id]
            if not mine or {state for state, _ in mine} != {"completed"}:
                raise Bad("batch %d: its hook was run for %s" % (b.number, mine))
            for _, pid in mine[:-1]:
                if pid not in self.killed and pid != 1:
                    raise Bad("batch %d: its hook was run %d times, by %s; killed were %s" % (b.number, len(mine), mine, sorted(self.killed)))
                self.suite.note("hooks of killed workers")
        if len(lines) < len(self.batches):
            raise Bad("%d hooks of %d batches" % (len(lines), len(self.batches)))

    def judge(self):
        want, side = {}, {}
        for b in self.batches:
            done = b.complete()
            if b.worker:
                side.update({b.key(i).encode(): how.encode() for i, how in done.items()})
            if b.shared:
                want.setdefault("shared", []).extend((b.key(i).encode(), how.encode() + b"\n") for i, how in done.items())
            else:
                want.setdefault(b.into, []).extend((b, how.encode() + b"\n") for how in done.values())
        for name, records in want.items():
            got = self.suite.dump(dataset=name)
            if name == "shared" and sorted(got) != sorted(records) or sorted(v for _, v in got) != sorted(v for _, v in records):
                raise Bad("dataset %s has %d records, and not those of %d items" % (name, len(got), len(records)))
        if side and dict(self.suite.dump(dataset="side")) != side:
            raise Bad("what workers put elsewhere is not what was committed")
        self.hooks()
        self.call("verify")
        n = len(self.tries(self.batches[0].id))
        self.call("work")
        if len(self.tries(self.batches[0].id)) != n:
            raise Bad("what is done is done again")

    def end(self):
        for p in self.workers:
            p.kill()
            p.wait()


def told(pid):
    """A process's name, its parent, its batch, whether it is a hook."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            stat = f.read()
        with open("/proc/%d/environ" % pid, "rb") as f:
            env = f.read().split(b"\0")
    except OSError:
        return "", 0, "", True
    name, fields = stat[stat.index("(") + 1:stat.rindex(")")], stat[stat.rindex(")") + 2:].split()
    return (name, int(fields[1]), next((x[15:].decode() for x in env if x.startswith(b"PENSTOCK_BATCH=")), ""),
            any(x.startswith(b"PENSTOCK_STATE=") for x in env))


def stormed(suite, penstock, number, rough, kills=None):
    storm = Storm(suite, penstock, number, rough)
    try:
        storm.rage(suite.random.randrange(20, 60) if kills is None else kills)
        storm.calm()
        storm.judge()
    finally:
        storm.end()
    return True


def storm(suite):
    """Several workers, batches of commands and of workers, kills of anything: PEN_SECS x 60 seconds of it."""
    if not os.path.exists(os.path.join(BUILD, "call_preload.so")):
        raise Skip("there is no call_preload.so")
    over = time.monotonic() + 60 * int(os.environ.get("PEN_SECS") or 2)
    number = 0
    while number < 2 or time.monotonic() < over:
        rough = number % 2 == 1
        suite.point("storm %d%s" % (number, ", children too" if rough else ""), stormed, suite, PENSTOCK, number, rough)
        number += 1
    for needed in ("kills of the engine", "kills of the launcher", "kills of the command", "kills at a call"):
        if not suite.kinds.get(needed):
            suite.bad.append("the control: there were no %s" % needed)
    # The controls: each bug is one that only kills bring to light.
    for planted in ("penstock_early", "penstock_charge"):
        program = os.path.join(BUILD, planted)
        if not os.path.exists(program):
            suite.bad.append("the control: there is no %s" % program)
            continue
        control = Suite("storm-control")
        try:
            suite.point("%s without kills" % planted, stormed, control, program, 0, False, 0)
            for n in range(30):
                control.point("storm %d" % n, stormed, control, program, n, False)
                if control.bad:
                    break
        finally:
            control.end()
        suite.note("controls noticed") if control.bad else suite.bad.append("the control: %s is not noticed" % planted)


# ---- a full disk ---------------------------------------------------------------------------------


def disk(suite):
    suite.small(60000)
    mount = suite.path("m")
    os.mkdir(mount)
    size = os.path.getsize(os.path.join(suite.whole, "data.mdb"))

    def filled(kib, stop):
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dk" % kib, "tmpfs", mount], stderr=subprocess.DEVNULL).returncode:
            raise Skip("nothing can be mounted here")
        store = os.path.join(mount, "store")
        try:
            p = suite.start(*suite.args, store=store)
            time.sleep(1.2)
            if p.poll() is None:
                suite.note("paused")
                if stop:
                    p.send_signal(signal.SIGINT)
                else:
                    subprocess.run(["mount", "-o", "remount,size=256m", mount], check=True)
            err = p.communicate(timeout=60)[1].decode("utf-8", "replace")
            if p.returncode not in (1, 3, 130) or (p.returncode == 1) == stop or "PEN410" not in err:
                raise Bad("exit %d\n%s" % (p.returncode, err[-600:]))
            subprocess.run(["mount", "-o", "remount,size=256m", mount], check=True)
            suite.settled(store)
        finally:
            subprocess.run(["umount", "-l", mount])

    for i in range(int(os.environ.get("PEN_POINTS") or 12)):
        kib = suite.random.randrange(size // 10, size * 9 // 10) // 1024
        suite.point("a disk of %d KiB" % kib, filled, kib, i % 2 == 1)
    if not suite.kinds.get("paused"):
        suite.bad.append("the control: the disk was never full")


# ---- power ---------------------------------------------------------------------------------------


class Disk:
    """A file system on a file; what is not on the disk yet goes with the power. Its loop device goes with its mount."""

    def __init__(self, suite):
        make = "mkfs." + (os.environ.get("PEN_FS") or "ext4")
        needs(make, "mount")
        self.image, self.mount = suite.path("image"), suite.path("m")
        with open(self.image, "wb") as f:
            f.truncate(400 << 20)
        subprocess.run([make, "-q", *(("-F",) if make == "mkfs.ext4" else ()), self.image], check=True)
        os.mkdir(self.mount)
        self.on()

    def on(self):
        p = subprocess.run(["mount", "-o", "loop", self.image, self.mount], stderr=subprocess.PIPE)
        if p.returncode:
            raise Skip("no loop device can be mounted here: " + p.stderr.decode("utf-8", "replace").strip())

    def cut(self):
        fd = os.open(self.mount, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, 0x8004587D, struct.pack("I", 2))  # FS_IOC_SHUTDOWN, journal not flushed
        except OSError as why:
            raise Skip("the file system cannot be shut down: %s" % why) from why
        finally:
            os.close(fd)

    def off(self):
        subprocess.run(["umount", self.mount], check=True)


def last_counted(err):
    rows = [json.loads(x) for x in err.splitlines() if x.startswith("{") and x.endswith("}")]
    return max([r["committed"] for r in rows if "committed" in r] or [0])


def power(suite):
    suite.small(60000)
    disk = Disk(suite)
    store = os.path.join(disk.mount, "store")

    def one(durability, slow, env):
        """Cuts the power under a run; the items that were counted before it."""
        args = ("run", suite.args[1], "--key", "/id", "--into", "d", "--durability", durability, "--chunk", "500", "--pause-ms", str(slow))
        # What is said must be read while the power is on: from a file beside the disk.
        with open(suite.path("err"), "w+b") as said:
            p = suite.start(*args, "--progress", "json", store=store, stderr=said, env=env)
            time.sleep(suite.random.uniform(0, 0.2) if suite.random.random() < 0.2 else suite.random.uniform(0.3, 1.5))
            disk.cut()
            try:
                with open(suite.path("err"), errors="replace") as f:
                    counted = last_counted(f.read())
                p.wait(HANG_S)
                said.seek(0)
                err = said.read().decode("utf-8", "replace")
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
                raise Bad("the run hangs on a dead disk") from None
            finally:
                disk.off()
                disk.on()
        if p.returncode < 0 or (p.returncode not in (0, 1) and not err):
            raise Bad("exit %d on a dead disk\n%s" % (p.returncode, err[-600:]))
        return counted

    def survives(durability, slow, env):
        counted, there = one(durability, slow, env), 0
        if os.path.exists(os.path.join(store, "data.mdb")):
            suite.command(("verify",), store, rc=0)
            there = suite.entries(store)
        if durability != "relaxed" and there < counted:
            raise Bad("%d records were counted, %d are there; %s holds %s" % (counted, there, disk.mount, sorted(os.listdir(disk.mount))))
        suite.note("counted before the cut" if counted else "nothing counted yet")

    try:
        cuts = int(os.environ.get("PEN_CUTS") or 60)
        for i in range(cuts):
            durability = ("commit", "group", "relaxed")[i % 3]
            slow = suite.random.choice((5, 15, 30))
            what = "cut %d, durability %s, pauses of %d ms" % (i, durability, slow)
            suite.point(what, survives, durability, slow, None)
            if i // 3 % 3 == 2:  # every third store goes on to its end; the others are cut again where they are
                suite.point(what, suite.settled, store)
                suite.points -= 1
                shutil.rmtree(store, ignore_errors=True)
        # The control: the same with syncs that do nothing.
        noticed = 0
        preload = os.path.join(BUILD, "nosync_preload.so")
        if not os.path.exists(preload):
            raise Skip("there is no %s" % preload)
        for _ in range(8):
            shutil.rmtree(store, ignore_errors=True)
            os.sync()
            try:
                survives("commit", 15, dict(os.environ, LD_PRELOAD=preload))
            except Bad:
                noticed += 1
        suite.kinds["lying disks noticed"] = noticed
        if not noticed:
            suite.bad.append("the control: syncs that do nothing are not noticed")
    finally:
        subprocess.run(["umount", "-l", disk.mount], stderr=subprocess.DEVNULL)


# ---- ring ----------------------------------------------------------------------------------------


def ring(suite):
    stress = os.path.join(os.path.dirname(PENSTOCK), "tests/stress")
    jobs = (("cast", dict(PEN_EVENTS=os.environ.get("PEN_EVENTS") or "100000000")),
            ("cast_kill", dict(PEN_SECS=os.environ.get("PEN_RING_SECS") or "60")))

    def soak(name, settings):
        env = dict(os.environ, PEN_SEED=str(SEED), **settings)
        p = subprocess.run([os.path.join(stress, name)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=3600, env=env)
        text = p.stdout.decode("utf-8", "replace")
        if p.returncode == 77:
            raise Skip(text.strip())
        if p.returncode:
            raise Bad("%s: exit %d\n%s" % (name, p.returncode, text[-600:]))
        for number, kind in re.findall(r"(\d+) (events published|accepted by threads|gauges read|kills)", text):
            suite.kinds[kind] = int(number)

    for name, settings in jobs:
        if not os.path.exists(os.path.join(stress, name)):
            raise Skip("there is no %s" % os.path.join(stress, name))
        suite.point(name, soak, name, settings)


# ---- readers -------------------------------------------------------------------------------------


def readers(suite):
    env = dict({"PEN_FUZZ": "100000", "PEN_SOAK": "20000000", "PEN_SEED": str(SEED)}, **os.environ)
    p = subprocess.run([sys.executable, os.path.join(HERE, "../readers/run.py"), os.path.dirname(PENSTOCK), "fuzz", "torn"],
                       env=env, capture_output=True, text=True)
    suite.points = len(re.findall(r"^(?:ok  |FAIL) ", p.stdout, re.M))
    suite.bad += re.findall(r"^FAIL [^\0]*?(?=^ok  |^FAIL|\Z)", p.stdout, re.M)
    if p.returncode and not suite.bad or not suite.points:
        suite.bad.append("exit %d: %s" % (p.returncode, p.stderr[-2000:]))


SUITES = {"kills": kills, "calls": calls, "retain": retain, "memory": memory, "refused": refused, "jobs": jobs, "storm": storm, "disk": disk, "power": power,
          "ring": ring, "readers": readers}


def main():
    wanted = sys.argv[2:] or list(SUITES)
    for name in wanted:
        if name not in SUITES:
            sys.exit("there is no suite %s; there are %s" % (name, " ".join(SUITES)))
    if os.access("/dev/shm", os.W_OK):  # where syncs cost nothing
        tempfile.tempdir = "/dev/shm"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the suite in hand still clears up
    print("seed %d" % SEED, flush=True)
    passed = failed = 0
    for name in wanted:
        suite, begun, reason = Suite(name), time.monotonic(), None
        try:
            SUITES[name](suite)
        except Skip as why:
            reason = str(why)
        except Exception as why:  # a suite that cannot be carried out has failed too
            suite.bad.append("%s: %s" % (type(why).__name__, why))
        finally:
            suite.end()
        if reason and not suite.bad:
            print("skip %s: %s" % (name, reason), flush=True)
            continue
        kinds = ", ".join("%d %s" % (n, kind) for kind, n in sorted(suite.kinds.items()))
        print("%s %s: %d points, %d bad, %.0f s%s" % ("FAIL" if suite.bad else "ok  ", name, suite.points, len(suite.bad),
                                                      time.monotonic() - begun, "; " + kinds if kinds else ""), flush=True)
        for text in suite.bad[:20]:
            print("    | " + text.replace("\n", "\n    | "), flush=True)
        failed += len(suite.bad)
        passed += max(suite.points - len(suite.bad), 0)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
