#!/usr/bin/python3
# jobs - batches whose items are worked on one by one, against what people use for that today
#
#   jobs.py DIR [--smoke] [--only NAME]...      (bench/run.sh calls it; DIR is for the data and must be on a disk)
#
# exec_xargs       `run --processor exec:/bin/true` against `xargs -P2 -n1 /bin/true`, which keeps nothing
# exec_parallel    the same against GNU parallel -j2 with a joblog
# worker_bullmq    a C worker that gives items back, window 64, against a BullMQ processor that does nothing, concurrency 64, on a
#                  local Redis (its defaults: snapshots, no AOF). Both: items a second from a full queue to the last result
# submit_bullmq    a batch of 100,000 items into a queue: `submit -` (durable when it returns) against addBulk of 1,000 each
# failing          the C worker with 1 % of the items failing once (back-off 1 s), against none failing: what the others keep
# queued           `status` and the first 20 `items` beside a batch of 1,000,000 queued ones
# hold             the longest write lock of a job batch of 300,000 items, as commit.p99_us of the run and `hold_last_ms`
#
# penstock's runs are durable at every result (--durability commit). A rival that is not installed is skipped, and the line says why.
import json
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import time

from measure import B, DIR, ONLY, PENSTOCK, RIVAL, SMOKE, STORE, pairs, report, settle, sig

HERE = os.path.dirname(os.path.abspath(__file__))
NPM = os.path.join(B, "bench-npm")
BULLMQ = ["bullmq@6.7.0", "ioredis@5"]
ECHO = os.path.join(B, "tests/hostile/echo_worker")


class Absent(Exception):
    pass


def need(program, package):
    if not shutil.which(program):
        raise Absent("no %s (Debian: %s)" % (program, package))


def lines(name, n):
    path = os.path.join(DIR, name)
    with open(path, "w") as f:
        for i in range(n):
            f.write('{"n":%d}\n' % i)
    return path


def timed(argv, **kw):
    began = time.monotonic()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **kw)
    return time.monotonic() - began


def penstock(path, *more):
    settle(path)
    return timed([PENSTOCK, "--quiet", "--store", STORE, "run", path, "--progress", "none", *more])


def exec_against(name, argv, items, does):
    path = lines("exec.ndjson", items)

    def rival():
        settle(path)
        with open(path) as f:
            return items / timed(argv, stdin=f)

    pairs(name, path, lambda: items / penstock(path, "--processor", "exec:/bin/true", "--jobs", "2"), rival,
          "penstock run FILE --processor exec:/bin/true --jobs 2", dict(items=items, rival=" ".join(argv), does=does))


def exec_xargs():
    exec_against("exec_xargs", ["xargs", "-P2", "-n1", "-d", "\n", "/bin/true"], 50 if SMOKE else 5000, "keeps nothing")


def exec_parallel():
    need("parallel", "parallel")
    log = os.path.join(DIR, "joblog")
    exec_against("exec_parallel", ["parallel", "-j2", "--joblog", log, "/bin/true"], 50 if SMOKE else 1000,
                 "a joblog, not synced")


class Redis:
    def __enter__(self):
        need("redis-server", "redis-server")
        need("node", "nodejs")
        if not all(os.path.isdir(os.path.join(NPM, "node_modules", p)) for p in ("bullmq", "ioredis")):
            if SMOKE:
                raise Absent("%s is not in %s, and a smoke run fetches nothing" % (BULLMQ[0], os.path.relpath(NPM)))
            need("npm", "npm")
            subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", NPM, *BULLMQ], check=True, timeout=600,
                           stdout=subprocess.DEVNULL)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.dir = tempfile.mkdtemp(dir=DIR)
        self.p = subprocess.Popen(["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.dir],
                                  stdout=subprocess.DEVNULL)
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                break
            except OSError:
                time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self.p.terminate()
        self.p.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def run(self, what, items):
        env = dict(os.environ, NODE_PATH=os.path.join(NPM, "node_modules"))
        out = subprocess.run(["node", os.path.join(HERE, "rival_bullmq.js"), what, str(self.port), str(items)], env=env, check=True,
                             stdout=subprocess.PIPE, text=True).stdout
        return json.loads(out)["seconds"]


def worker_bullmq():
    ours, theirs = (200, 200) if SMOKE else (500000, 20000)
    path = lines("worker.ndjson", ours)
    with Redis() as redis:
        pairs("worker_bullmq", path, lambda: ours / penstock(path, "--processor", "worker:" + ECHO, "--window", "64"),
              lambda: theirs / redis.run("work", theirs), "penstock run FILE --processor worker:echo_worker --window 64",
              dict(items=ours, rival_items=theirs, rival=BULLMQ[0] + ", Redis on loopback",
                   does="Redis: in memory, a snapshot now and then; penstock: every result committed to disk"))


def submit_bullmq():
    items = 200 if SMOKE else 100000
    path = lines("submit.ndjson", items)

    def ours():
        settle(path)
        subprocess.run([PENSTOCK, "--quiet", "--store", STORE, "submit", path], check=True, stdout=subprocess.DEVNULL)
        with open(path) as f:
            return items / timed([PENSTOCK, "--quiet", "--store", STORE, "submit", "-", "--into", "two"], stdin=f)

    with Redis() as redis:
        pairs("submit_bullmq", path, ours, lambda: items / redis.run("add", items), "penstock submit - < FILE (a process; durable)",
              dict(items=items, rival=BULLMQ[0], does="addBulk of 1,000 each, time of the calls alone; in memory"))


def failing():
    items = 400 if SMOKE else 300000
    path = lines("failing.ndjson", items)
    worker = os.path.join(HERE, "flaky_worker.py")
    rates = {}
    for share in (0, 100):
        got = []
        for _ in range(1 if SMOKE else 5):
            settle(path)
            p = subprocess.run([PENSTOCK, "--quiet", "--store", STORE, "run", path, "--json", "--progress", "none", "--backoff", "1s",
                                "--processor", "worker:python3 %s %d" % (worker, share)], stdout=subprocess.PIPE)
            o = json.loads(p.stdout)
            assert o["committed"] == items, o
            events = subprocess.run([PENSTOCK, "--store", STORE, "events", "@last", "--json"], stdout=subprocess.PIPE, text=True).stdout
            times = [json.loads(x) for x in events.splitlines()]
            got.append((o["seconds"], times))
        rates[share] = statistics.median(s for s, _ in got)
    # The last retry waits a second after the last first try: that second is not work.
    report("failing", items=items, seconds_none=sig(rates[0]), seconds_one_percent=sig(rates[100]), backoff_s=1,
           kept=sig(rates[0] / max(rates[100] - 1, 1e-9)), wanted=0.95,
           command="penstock run FILE --processor worker:flaky_worker.py --backoff 1s")


def queued():
    items = 1000 if SMOKE else 1000000
    path = lines("queued.ndjson", items)
    settle(path)
    subprocess.run([PENSTOCK, "--quiet", "--store", STORE, "submit", path, "--processor", "exec:/bin/true"], check=True,
                   stdout=subprocess.DEVNULL)
    for what in (["status"], ["status", "@last"], ["items", "@last", "--limit", "20"]):
        got = [timed([PENSTOCK, "--quiet", "--store", STORE, *what]) * 1000 for _ in range(1 if SMOKE else 9)]
        report("queued", items=items, command="penstock " + " ".join(what), ms=sig(statistics.median(got)), ms_max=sig(max(got)),
               wanted_ms=50)


def hold():
    items = 1000 if SMOKE else 300000
    path = lines("hold.ndjson", items)
    worst = []
    for _ in range(1 if SMOKE else 5):
        settle(path)
        p = subprocess.Popen([PENSTOCK, "--quiet", "--store", STORE, "run", path, "--progress", "none", "--processor", "worker:" + ECHO])
        most = 0
        while p.poll() is None:
            s = subprocess.run([PENSTOCK, "--store", STORE, "status", "@last", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            if s.returncode == 0 and s.stdout:
                most = max(most, json.loads(s.stdout).get("hold_last_ms", 0))
            time.sleep(0.02)
        worst.append(most)
    report("hold", items=items, longest_ms=max(worst), wanted_ms=100, command="penstock run FILE --processor worker:echo_worker")


SERIES = [exec_xargs, exec_parallel, worker_bullmq, submit_bullmq, failing, queued, hold]
for series in SERIES:
    if ONLY and series.__name__ not in ONLY:
        continue
    try:
        series()
    except Absent as why:
        report(series.__name__, skipped=str(why))
    for to in (STORE, RIVAL):
        shutil.rmtree(to, ignore_errors=True)
