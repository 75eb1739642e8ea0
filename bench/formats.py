#!/usr/bin/python3
# formats - whole runs over every kind of input: against NDJSON of the same records, on two processors, in bounded memory
#
#   formats.py DIR [--smoke] [--only NAME]...      (bench/run.sh calls it; DIR is for the data and must be on a disk)
#
# Environment: as for ingest.py. The CSV has PEN_BENCH_MIB; all other inputs hold its records, so they are larger or, packed,
# smaller. Pairs and memory are measure.py's. What threads did is sampled from /proc every 10 ms in runs of their own.
import json
import os
import subprocess
import tarfile
import time
import zipfile

from measure import DIR, MIB, ONLY, SMOKE, command, files_of, generate, memory, mib_of, ours, pairs, report, settle, sig

made = {}


def once(make):
    """Inputs are made when the first series asks for them."""
    def get(*args):
        if (make, args) not in made:
            made[make, args] = make(*args)
        return made[make, args]
    return get


@once
def table():
    return generate("in.csv", str(MIB), "csv")


@once
def plain(form):
    path, records = table()
    return path if form == "csv" else generate("in." + form, "%dr" % records, form)[0]


@once
def packed(form, packer):
    path = plain(form)
    if packer == "gz":
        with open(path + ".gz", "wb") as to:
            subprocess.run(["gzip", "-c", path], stdout=to, check=True)
        return path + ".gz"
    subprocess.run(["zstd", "-qf", path, "-o", path + ".zst"], check=True)
    return path + ".zst"


@once
def tree():
    """Files of 4 KiB, 20,480 of them beside an input of 1 GiB, 100 in a directory."""
    root = os.path.join(DIR, "tree")
    with open(plain("ndjson"), "rb") as f:
        for i in range(MIB * 20):
            if i % 100 == 0:
                os.makedirs(os.path.join(root, "%03d" % (i // 100)))
            with open(os.path.join(root, "%03d" % (i // 100), "%05d.txt" % i), "wb") as to:
                to.write(f.read(4096))
    return root


@once
def archive(kind):
    root, path = tree(), os.path.join(DIR, "tree." + kind)
    names = sorted(files_of(root))
    if kind == "tar":
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for name in names:
                tar.add(name, os.path.relpath(name, root))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
            for name in names:
                z.write(name, os.path.relpath(name, root))
    return path


def against(bench, path, base, more=(), base_more=(), key="@seq"):
    """A run on path and one on base; when both hold the same records, the ratio says what the form costs."""
    say = "penstock run %s --key %s"
    pairs(bench, path, lambda: ours(path, key, *more), lambda: ours(base, key, *base_more),
          "; ".join(" ".join([say % (os.path.basename(p), key), *m]) for p, m in ((path, more), (base, base_more))),
          {"rival_input_mib": mib_of(base)})


def times_of(pid):
    """{thread: (name, seconds on a processor, seconds ready to run but waiting for one)}"""
    at, found = "/proc/%d/task" % pid, {}
    try:
        for tid in os.listdir(at):
            with open("%s/%s/comm" % (at, tid)) as name, open("%s/%s/schedstat" % (at, tid)) as stat:
                on, ready, _ = stat.read().split()
                found[tid] = (name.read().strip(), int(on) / 1e9, int(ready) / 1e9)
    except (OSError, ValueError):
        pass  # it has ended, in the middle of our look at it
    return found


def threads(bench, path, *more):
    settle(path)
    p = subprocess.Popen(command(path, "@seq", *more), stdout=subprocess.PIPE)
    seen, over = {}, False
    while not over:
        over = os.waitid(os.P_PID, p.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        seen.update(times_of(p.pid))
        time.sleep(0.01)
    o = json.loads(p.stdout.read())
    _, _, usage = os.wait4(p.pid, 0)
    p.returncode = 0
    busy, waiting = {}, {}
    for name, on, ready in seen.values():
        name = "kernel workers" if name.startswith("iou-") else "main" if name.startswith("penstock") else name
        busy[name] = busy.get(name, 0) + on
        waiting[name] = waiting.get(name, 0) + ready

    def per(times, whole):
        return {name: sig(times[name] / whole) for name in sorted(times)}

    report(bench, busy=per(busy, o["seconds"]), waiting=per(waiting, o["seconds"]), cpu_ns_per_item=per(busy, o["items"] / 1e9),
           seconds=o["seconds"], cpu_s=sig(usage.ru_utime + usage.ru_stime), seen_cpu_s=sig(sum(busy.values())),
           items_per_s=round(o["items"] / max(o["seconds"], 1e-9)),
           command=" ".join(["penstock run", os.path.basename(path), "--key @seq", *more]))


def cores():
    for form in ("ndjson", "csv"):
        path = plain(form)
        against("cores_" + form, path, path, ("--jobs", "2"), ("--jobs", "1"))
    for form in ("ndjson", "csv"):
        for jobs in ("1", "2"):
            threads("threads_%s_%s" % (form, jobs), plain(form), "--jobs", jobs)
    threads("threads_gzip_1", packed("csv", "gz"), "--jobs", "1")


def packings(bench, packer):
    for form in ("ndjson", "csv", "json"):
        against("%s_%s" % (bench, form), packed(form, packer), plain(form))


def tree_tar():
    for kind in ("tar", "zip"):
        against(kind + "_vs_tree", archive(kind), tree(), key="@path")


def memory_formats():
    memory("memory_csv", plain("csv"), "@seq", 256)
    memory("memory_json_line", plain("json"), "@seq", 256)
    memory("memory_gzip", packed("ndjson", "gz"), "@seq", 256)
    memory("memory_gzip_csv", packed("csv", "gz"), "@seq", 256)
    size = (1 if SMOKE else 60) << 20
    many = 10000  # columns
    forms = (("one_cell", b"id,text\n", b"1," + b"c" * size),
             ("quotes", b"id,text\n", b'1,"' + b'""' * (size // 2) + b'"'),
             ("many_cells", b",".join(b"c%d" % i for i in range(many)) + b"\n", b",".join([b"c" * (size // many)] * many)),
             ("escapes", b"id,text\n", b"1," + b"\1" * size))
    path = os.path.join(DIR, "row.csv")
    for name, head, row in forms:
        with open(path, "wb") as f:
            f.write(head + row + b"\n")
        memory("memory_row_" + name, path, "@seq", 256 + 3 * (size >> 20), "--allow-rejects")
    os.unlink(path)


def main():
    series = (
        ("csv_vs_ndjson", lambda: against("csv_vs_ndjson", plain("csv"), plain("ndjson"))),
        ("csv_raw", lambda: against("csv_raw_vs_ndjson", plain("csv"), plain("ndjson"), ("--value", "raw"))),
        ("json_vs_ndjson", lambda: against("json_vs_ndjson", plain("json"), plain("ndjson"))),
        ("lines", lambda: against("lines_vs_ndjson", plain("ndjson"), plain("ndjson"), ("--format", "lines"))),
        ("gzip", lambda: packings("gzip", "gz")),
        ("zstd", lambda: packings("zstd", "zst")),
        ("tree_tar", tree_tar),
        ("cores", cores),
        ("memory_formats", memory_formats),
    )
    for name, run in series:
        if not ONLY or name in ONLY:
            run()


main()
