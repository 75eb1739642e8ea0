# lab - a directory, a store and the command, for checks from outside; python3-lmdb is the independent witness
#
# run.py and the files of checks it imports share it: @check registers a function, whose argument is a Lab of its own.
# A check that the machine does not allow raises Skip with the reason.
import concurrent.futures
import hashlib
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import traceback

import lmdb

PENSTOCK = os.path.abspath(sys.argv[1])
WORD = sys.argv[2] if len(sys.argv) > 2 else ""
SEED = int(os.environ.get("PEN_SEED") or random.randrange(1 << 30))
CHECKS = []


class Skip(Exception):
    """The machine does not allow this check."""


def check(f):
    CHECKS.append(f)
    return f


class Lab:
    """A directory of its own, a store in it, and the command."""

    def __init__(self, name):
        self.dir = tempfile.mkdtemp(prefix="penstock-%s-" % name)
        self.store = os.path.join(self.dir, "store")
        self.random = random.Random(SEED)
        self.children = []

    def end(self):
        for p in self.children:
            if p.poll() is None:
                p.kill()
                p.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, name, data=None):
        p = os.path.join(self.dir, name)
        if data is not None:
            os.makedirs(os.path.dirname(p), exist_ok=True)
            with open(p, "wb") as f:
                f.write(data if isinstance(data, bytes) else data.encode())
        return p

    def command(self, user):
        """The command; for another user, who may not see where it was built, a copy in the laboratory."""
        if user is None:
            return PENSTOCK
        copy = os.path.join(self.dir, "penstock")
        if not os.path.exists(copy):
            shutil.copy(PENSTOCK, copy)
        return copy

    def run(self, *args, store=None, stdin=b"", rc=0, before=(), **kw):
        kw.setdefault("timeout", 120)
        p = subprocess.run([*before, self.command(kw.get("user")), "--store", store or self.store, *map(str, args)], input=stdin,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)
        expected = rc if isinstance(rc, tuple) else (rc,)
        assert p.returncode in expected, "%s: exit %d, expected %s\n%s" % (args, p.returncode, expected,
                                                                         p.stderr.decode("utf-8", "replace")[-1500:])
        p.err = p.stderr.decode("utf-8", "replace")
        return p

    def start(self, *args, store=None, before=(), **kw):
        """The command in the background; it ends with the check at the latest."""
        kw = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **kw}
        p = subprocess.Popen([*before, PENSTOCK, "--store", store or self.store, *map(str, args)], **kw)
        self.children.append(p)
        return p

    def until_counted(self, p, least=1, store=None):
        """Waits until the running batch has committed so many items; returns their number."""
        end = time.monotonic() + 60
        while p.poll() is None and time.monotonic() < end:
            q = subprocess.run([PENSTOCK, "--store", store or self.store, "status", "@running", "--json"],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            n = json.loads(q.stdout)["committed"] if q.returncode == 0 else 0
            if n >= least:
                return n
            time.sleep(0.01)
        raise AssertionError("the run is over (%s) before %d items counted" % (p.poll(), least))

    def load(self, *args, **kw):
        """run --json: the closing object, whose numbers must add up."""
        p = self.run("run", *args, "--json", "--progress", "none", **kw)
        o = json.loads(p.stdout)
        assert list(o) == ["batch", "state", "resumed", "items", "committed", "rejected", "failed", "skipped", "duplicates",
                           "bytes", "seconds", "items_per_s", "io", "correlation_id"], list(o)
        assert o["items"] == o["committed"] + o["rejected"] + o["failed"] + o["skipped"], o
        o["err"] = p.err
        return o

    def lines(self, *args, **kw):
        return [json.loads(x) for x in self.run(*args, "--json", **kw).stdout.splitlines()]

    def dump(self, dataset="default", store=None):
        env = lmdb.open(store or self.store, readonly=True, max_dbs=64, lock=False)
        with env.begin() as t:
            db = env.open_db(dataset.encode(), t, create=False)
            rows = list(t.cursor(db))
        env.close()
        return rows

    def digest(self, **kw):
        h = hashlib.sha256()
        for k, v in self.dump(**kw):
            h.update(struct.pack("<II", len(k), len(v)) + k + v)
        return h.hexdigest()

    def verify(self, store=None, rc=0, **kw):
        return self.run("verify", store=store, rc=rc, **kw)

    def records(self, n, start=0):
        return "".join('{"id":"%08x%04x","n":%d,"text":"%s"}\n' % (self.random.getrandbits(32), i & 0xFFFF, i,
                                                                    "x" * self.random.randrange(200))
                       for i in range(start, start + n))


def be(n):
    return struct.pack(">Q", n)


def judge(job):
    """A check's name, what went wrong, and why it was not carried out."""
    kind, f = job
    lab = None
    try:
        lab = kind(f.__name__)
        f(lab)
        return f.__name__, None, None
    except Skip as why:
        return f.__name__, None, str(why)
    except Exception:  # a check that cannot be carried out has failed too
        return f.__name__, traceback.format_exc(), None
    finally:
        if lab:
            lab.end()


def judge_all(kind=Lab):
    """Carries out the checks whose name contains WORD, each in a laboratory of that kind; 1 if one failed."""
    print("seed %d" % SEED, flush=True)
    bad = skipped = 0
    jobs = [(kind, f) for f in CHECKS if WORD in f.__name__]
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        for name, error, reason in pool.map(judge, jobs):
            print("%s %s%s" % ("FAIL" if error else "skip" if reason else "ok  ", name,
                               "\n" + error if error else ": " + reason if reason else ""), flush=True)
            bad += error is not None
            skipped += reason is not None
    print("%d passed, %d failed" % (len(jobs) - bad - skipped, bad))
    return 1 if bad else 0
