# measure - what the series of whole runs share: settings, inputs, pairs that take turns, memory
#
# Settings come from the environment (ingest.py lists them), DIR, --smoke and --only from the command line.
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

SMOKE = "--smoke" in sys.argv
ONLY = [b for a, b in zip(sys.argv, sys.argv[1:]) if a == "--only"]
DIR = sys.argv[1]
B = os.path.abspath(os.environ.get("B") or "build/release")
PENSTOCK = os.path.abspath(os.environ.get("PENSTOCK") or os.path.join(B, "penstock"))


def setting(name, default, smoke):
    return int(os.environ.get(name) or (smoke if SMOKE else default))


MIB = setting("PEN_BENCH_MIB", 1024, 4)
REPS = setting("PEN_BENCH_REPS", 5, 1)
STORE = os.path.join(DIR, "store")
RIVAL = os.path.join(DIR, "rival")


def report(bench, **kw):
    print(json.dumps(dict(bench=bench, **kw)), flush=True)


def sig(x):
    return float("%.4g" % x)


def tool(name, *args):
    return [os.path.join(B, "bench", "bench_" + name), *args]


def files_of(path):
    if not os.path.isdir(path):
        return [path]
    return [os.path.join(at, name) for at, _, names in os.walk(path) for name in names]


def mib_of(path):
    return sig(sum(map(os.path.getsize, files_of(path))) / 1048576)


def settle(*paths):
    """No old stores, the input in the page cache, nothing left to be written."""
    for to in (STORE, RIVAL):
        shutil.rmtree(to, ignore_errors=True)
    block = bytearray(1 << 20)
    for path in paths:
        for file in files_of(path):
            with open(file, "rb", buffering=0) as f:
                while f.readinto(block):
                    pass
    os.sync()


def command(path, key, *more):
    return [PENSTOCK, "--quiet", "--store", STORE, "run", path, "--key", key, "--json", "--progress", "none", *more]


def generate(name, amount, form="ndjson"):
    """The file, and how many records it holds."""
    path = os.path.join(DIR, name)
    p = subprocess.run(tool("gen", path, amount, "1", form), check=True, stderr=subprocess.PIPE)
    return path, int(p.stderr.split()[0])


def ours(path, key, *more):
    """The closing numbers of a run into a fresh store."""
    settle(path)
    p = subprocess.run(command(path, key, *more), stdout=subprocess.PIPE, check=True)
    o = json.loads(p.stdout)
    return o["committed"] / max(o["seconds"], 1e-9)


def anon_mib(pid):
    try:
        with open("/proc/%d/status" % pid) as f:
            for line in f:
                if line.startswith("RssAnon"):
                    return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0


def memory(bench, path, key, bound, *more, **kw):
    settle(path)
    p = subprocess.Popen(command(path, key, *more), stdout=subprocess.PIPE)
    peak = 0
    while p.poll() is None:
        peak = max(peak, anon_mib(p.pid))
        time.sleep(0.005)
    o = json.loads(p.stdout.read())
    report(bench, peak_anon_mib=sig(peak), bound_mib=bound, input_mib=mib_of(path),
           items=o["items"], committed=o["committed"], items_per_s=round(o["items"] / max(o["seconds"], 1e-9)),
           command=" ".join(["penstock run FILE --key", key, *more]), **kw)


def pairs(bench, path, one, two, command, also={}):
    """one and two: callables that give records a second. also: what else to say, looked at when all is done."""
    one(), two()
    a, b = [], []
    for i in range(REPS):
        if i % 2:
            b.append(two())
            a.append(one())
        else:
            a.append(one())
            b.append(two())
    ratios = [x / y for x, y in zip(a, b)]
    report(bench, penstock_per_s=round(statistics.median(a)), rival_per_s=round(statistics.median(b)),
           ratio=sig(statistics.median(ratios)), ratio_min=sig(min(ratios)), ratio_max=sig(max(ratios)), pairs=REPS,
           input_mib=mib_of(path), all=[[round(x), round(y)] for x, y in zip(a, b)],
           command=command, **also)
