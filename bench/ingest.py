#!/usr/bin/python3
# ingest - penstock against the loader that people write themselves; memory, resume and the waiting of other writers
#
#   ingest.py DIR [--smoke] [--only NAME]...      (bench/run.sh calls it; DIR is for the data and must be on a disk)
#
# Environment: B (build directory), PENSTOCK, PEN_BENCH_MIB (1024), PEN_BENCH_REPS (5), PEN_BENCH_RECORDS (3,000,000: of
# the input with random keys), PEN_BENCH_8GIB (0: leave the input of 8 x PEN_BENCH_MIB out).
#
# One JSON line a result on stdout. The two sides of a pair take turns at being first; the old stores are removed, the input
# is read again and the disk is synced before each run; one pair warms up and does not count. ratio is the median of
# the ratios of the pairs, not the ratio of the medians. Both sides use LMDB's default flags. Anonymous memory is sampled
# from /proc in runs of its own (RssAnon, every 5 ms), so that the sampling costs the timed ones nothing.
import json
import os
import shutil
import signal
import statistics
import subprocess
import time

from measure import (DIR, MIB, ONLY, PENSTOCK, REPS, RIVAL, SMOKE, STORE, command, generate, memory, ours, pairs, report, setting,
                     settle, sig, tool)

RECORDS = setting("PEN_BENCH_RECORDS", MIB * 3000000 // 1024, 5000)


def rival(mode, path, key):
    settle(path)
    p = subprocess.run(tool("naive", mode, path, RIVAL, key), stdout=subprocess.PIPE, check=True)
    return json.loads(p.stdout)["per_s"]


def killed_run(path, share):
    """Starts a run and kills it when about `share` of its input is committed; False when it had ended before."""
    settle(path)
    p = subprocess.Popen(command(path, "@seq"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while p.poll() is None:
        s = subprocess.run([PENSTOCK, "--store", STORE, "status", "@last", "--json"], stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL)
        try:
            o = json.loads(s.stdout)
        except ValueError:
            continue
        if o.get("bytes", 0) >= share * os.path.getsize(path):
            break
        time.sleep(0.005)
    over = p.poll() is not None
    p.send_signal(signal.SIGKILL)
    p.wait()
    return not over


def resume(path):
    for share in (0.1, 0.6):
        waits = []
        for _ in range(REPS * 3):
            if len(waits) == REPS:
                break
            if not killed_run(path, share):
                continue
            watcher = subprocess.Popen(tool("store", "watch", STORE), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            watcher.stdout.readline()
            began = time.monotonic()
            p = subprocess.Popen(command(path, "@seq"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            out = watcher.communicate()[0]
            p.wait()
            if watcher.returncode == 0:
                waits.append(json.loads(out)["at_ns"] / 1e6 - began * 1e3)
        if waits:
            report("resume_first_commit", first_commit_ms=sig(statistics.median(waits)), worst_ms=sig(max(waits)),
                   killed_at_share=share, runs=len(waits), all=[sig(w) for w in waits],
                   command="penstock run FILE --key @seq; SIGKILL; the same; bench_store watch STORE")
        else:
            report("resume_first_commit", skipped="every run ended before it was killed: the input is too small",
                   killed_at_share=share)


def foreign(bench, path, key):
    """How long another process's small write takes while a run is at full speed."""
    ms, budget, alone = [], 0, []
    for _ in range(REPS):
        settle(path)
        p = subprocess.Popen(command(path, key, "--into", "bulk"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        while p.poll() is None and subprocess.run([PENSTOCK, "--store", STORE, "status", "@last", "--json"],
                                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
            time.sleep(0.005)
        w = subprocess.run(tool("store", "write", STORE), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        out = p.communicate()[0]
        if w.returncode == 0:
            o = json.loads(w.stdout)
            ms += o["ms"]
            budget = max(budget, o["budget_ms"])
            r = json.loads(out)
            alone.append(r["committed"] / max(r["seconds"], 1e-9))
    if not ms:
        report(bench, skipped="every run ended before a foreign write: the input is too small")
        return
    ms.sort()
    report(bench, p50_ms=sig(ms[len(ms) // 2]), p99_ms=sig(ms[min(len(ms) - 1, len(ms) * 99 // 100)]), worst_ms=sig(ms[-1]),
           writes=len(ms), hold_budget_ms=budget, run_items_per_s=round(statistics.median(alone)),
           command="penstock run FILE --into bulk --key %s; meanwhile bench_store write STORE" % key)


def large_records():
    size = (1 if SMOKE else 60) << 20
    path = os.path.join(DIR, "large.ndjson")
    many = b"s" * 1022
    forms = (("one_string", b'"' + b"s" * size + b'"\n'),
             ("many_strings", b"[" + b",".join([b'"' + many + b'"'] * (size // 1025)) + b"]\n"),
             ("dense_numbers", b"[" + b"1," * (size // 2) + b"1]\n"))
    for name, text in forms:
        with open(path, "wb") as f:
            f.write(text)
        memory("memory_record_" + name, path, "@seq", 256 + 3 * (size >> 20))
    os.unlink(path)


def eight():
    if os.environ.get("PEN_BENCH_8GIB") == "0":
        report("memory_8x", skipped="PEN_BENCH_8GIB=0")
        return
    need = 8 * MIB * 3 << 20
    if shutil.disk_usage(DIR).free < need:
        report("memory_8x", skipped="needs %d MiB of disk" % (need >> 20))
        return
    path, _ = generate("big.ndjson", str(8 * MIB))
    memory("memory_8x", path, "@seq", 256)
    os.unlink(path)


def main():
    path, _ = generate("in.ndjson", str(MIB))
    by_id, _ = generate("by_id.ndjson", "%dr" % RECORDS)
    series = (
        ("memory_1x", lambda: memory("memory_1x", path, "@seq", 256)),
        ("seq_vs_naive", lambda: pairs("seq_vs_naive", path, lambda: ours(path, "@seq"), lambda: rival("naive", path, "seq"),
                                       "penstock run FILE --key @seq; bench_naive naive FILE DIR seq")),
        ("seq_vs_bare", lambda: pairs("seq_vs_bare", path, lambda: ours(path, "@seq"), lambda: rival("bare", path, "seq"),
                                      "penstock run FILE --key @seq; bench_naive bare FILE DIR seq")),
        ("uring_vs_threads", lambda: pairs("uring_vs_threads", path, lambda: ours(path, "@seq"),
                                           lambda: ours(path, "@seq", "--io", "threads"),
                                           "penstock run FILE --key @seq; the same with --io threads")),
        ("resume", lambda: resume(path)),
        ("foreign_seq", lambda: foreign("foreign_write_seq", path, "@seq")),
        ("memory_record", large_records),
        ("memory_random", lambda: memory("memory_random", by_id, "/id", 256)),
        ("foreign_random", lambda: foreign("foreign_write_random", by_id, "/id")),
        ("random_vs_naive", lambda: pairs("random_vs_naive", by_id, lambda: ours(by_id, "/id"),
                                          lambda: rival("naive", by_id, "id"),
                                          "penstock run FILE --key /id; bench_naive naive FILE DIR id")),
        ("memory_8x", eight),
    )
    for name, run in series:
        if not ONLY or name in ONLY:
            run()


main()
