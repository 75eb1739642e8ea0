#!/usr/bin/python3
# run - the measurements of `make bench`: one JSON line a result on stdout, a line for people on stderr
#
#   bench/run.sh [--smoke]        environment: B (build directory), PEN_BENCH_MIB (1024), PEN_BENCH_REPS (5)
#
# Both sides of a pair run one after the other on the same input, which is read again right before each run; after a
# warm-up pair the medians of PEN_BENCH_REPS pairs count, and so does the ratio of each pair. Both sides use LMDB's default
# flags. Nothing here is a test: no figure makes it fail.
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

SMOKE = "--smoke" in sys.argv or bool(os.environ.get("PEN_SMOKE"))
B = os.path.abspath(os.environ.get("B") or "build/release")
PENSTOCK = os.environ.get("PENSTOCK") or os.path.join(B, "penstock")
MIB = int(os.environ.get("PEN_BENCH_MIB") or (4 if SMOKE else 1024))
REPS = int(os.environ.get("PEN_BENCH_REPS") or (1 if SMOKE else 5))
COMMIT = subprocess.run(["git", "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode().strip()
MODEL = next((x.split(":")[1].strip() for x in open("/proc/cpuinfo") if x.startswith("model name")), platform.machine())
DIR = tempfile.mkdtemp(prefix="penstock-bench-", dir=os.environ.get("PEN_BENCH_DIR"))


def report(name, **kw):
    print(json.dumps(dict(bench=name, commit=COMMIT, machine=MODEL, cores=os.cpu_count(), kernel=platform.release(),
                          date=time.strftime("%Y-%m-%d"), **kw)), flush=True)
    print("%-28s %s" % (name, "  ".join("%s=%s" % (k, "%.3g" % v if isinstance(v, float) else v) for k, v in kw.items()
                                        if k not in ("all", "command"))), file=sys.stderr)


def warm(path):
    with open(path, "rb") as f:
        while f.read(1 << 20):
            pass
    os.sync()


def rss_anon(pid):
    try:
        for line in open("/proc/%d/status" % pid):
            if line.startswith("RssAnon"):
                return int(line.split()[1]) // 1024
    except OSError:
        pass
    return 0


def penstock(path, key, *more):
    """Records a second by the closing numbers, and the peak of anonymous memory in MiB."""
    store = os.path.join(DIR, "store")
    shutil.rmtree(store, ignore_errors=True)
    warm(path)
    p = subprocess.Popen([PENSTOCK, "--store", store, "run", path, "--key", key, "--json", "--progress", "none", *more],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    peak = 0
    while p.poll() is None:
        peak = max(peak, rss_anon(p.pid))
        time.sleep(0.02)
    o = json.loads(p.stdout.read())
    return o["committed"] / max(o["seconds"], 1e-9), peak


def other(mode, path, key):
    to = os.path.join(DIR, "other")
    shutil.rmtree(to, ignore_errors=True)
    warm(path)
    p = subprocess.run([os.path.join(B, "bench/bench_naive"), mode, path, to, key], stdout=subprocess.PIPE, check=True)
    return json.loads(p.stdout)["per_s"]


def pairs(name, path, ours, mode, key, reps):
    a, b, peak = [], [], 0
    penstock(path, ours)
    for i in range(reps):
        def one():
            nonlocal peak
            r, m = penstock(path, ours)
            peak = max(peak, m)
            return r
        def two():
            return other(mode, path, key)
        if i % 2:
            y, x = two(), one()
        else:
            x, y = one(), two()
        a.append(x)
        b.append(y)
    report(name, penstock_per_s=statistics.median(a), rival_per_s=statistics.median(b),
           ratio=statistics.median(x / y for x, y in zip(a, b)), peak_anon_mib=peak, mib=os.path.getsize(path) >> 20, reps=reps,
           all=[[round(x), round(y)] for x, y in zip(a, b)],
           command="penstock run FILE --key %s; bench_naive %s FILE DIR %s" % (ours, mode, key))


def resume(path):
    """From the start of the second process to its first new commit, by the store's own events."""
    store = os.path.join(DIR, "store")
    waits = []
    for i in range(REPS):
        shutil.rmtree(store, ignore_errors=True)
        p = subprocess.Popen([PENSTOCK, "--store", store, "run", path, "--progress", "none"], stderr=subprocess.DEVNULL)
        time.sleep(0.1 if SMOKE else 0.5)
        p.send_signal(signal.SIGKILL)
        p.wait()
        began = time.time()
        p = subprocess.Popen([PENSTOCK, "--store", store, "run", path, "--progress", "json"], stderr=subprocess.PIPE)
        before = None
        while p.poll() is None:
            s = subprocess.run([PENSTOCK, "--store", store, "status", "@last", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            o = json.loads(s.stdout or b"{}")
            if before is None:
                before = o.get("groups")
            elif o.get("groups") != before:
                waits.append(time.time() - began)
                break
        p.kill()
        p.wait()
    if waits:
        report("resume_first_commit", seconds=statistics.median(waits), all=[round(w, 4) for w in waits],
               command="SIGKILL after 0.5 s, the same command again, polled with `penstock status`")


def one_large_record():
    path = os.path.join(DIR, "large.ndjson")
    size = (1 if SMOKE else 60) << 20
    for name, text in (("string", b'"' + b"s" * size + b'"\n'), ("numbers", b"[" + b"1," * (size // 2) + b"1]\n")):
        with open(path, "wb") as f:
            f.write(text)
        _, peak = penstock(path, "@seq")
        report("memory_large_" + name, peak_anon_mib=peak, record_mib=size >> 20, command="one record of that size")
    os.unlink(path)


def programs():
    for name in ("bench_lane", "bench_json", "bench_io"):
        program = os.path.join(B, "bench", name)
        if os.path.exists(program) and not SMOKE:
            out = subprocess.run([program], stdout=subprocess.PIPE).stdout.decode()
            for line in out.splitlines():
                print(line, flush=True)
                print("%-28s %s" % (name, line), file=sys.stderr)


def main():
    try:
        path = os.path.join(DIR, "in.ndjson")
        subprocess.run([os.path.join(B, "bench/bench_gen"), path, str(MIB)], check=True)
        pairs("seq_vs_naive", path, "@seq", "naive", "seq", REPS)
        pairs("seq_vs_bare_append", path, "@seq", "bare", "seq", REPS)
        resume(path)
        small = os.path.join(DIR, "small.ndjson")
        subprocess.run([os.path.join(B, "bench/bench_gen"), small, str(max(1, MIB * 860 // 1024))], check=True)
        pairs("random_vs_naive", small, "/id", "naive", "id", min(REPS, 3))
        one_large_record()
        if os.environ.get("PEN_BENCH_8GIB"):
            big = os.path.join(DIR, "big.ndjson")
            subprocess.run([os.path.join(B, "bench/bench_gen"), big, "8192"], check=True)
            rate, peak = penstock(big, "@seq")
            report("memory_8gib", penstock_per_s=rate, peak_anon_mib=peak, command="penstock run FILE --key @seq")
        programs()
    finally:
        shutil.rmtree(DIR, ignore_errors=True)


main()
