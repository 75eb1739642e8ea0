#!/usr/bin/python3
# metrics - `status --metrics`: the grammar of both forms, and numbers that are those of the batches
#
#   tests/cli/metrics.py PENSTOCK [WORD]      only checks whose name contains WORD
#
# promtool and the Prometheus client library for Python are asked too, where they are installed.
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run
from run import Skip, check

run.CHECKS.clear()
SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? (-?[0-9.e+-]+)')
LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\.)*)"')


def families(text, strict):
    """{name: (type, [(sample name, labels, value)])}; anything that is not as both grammars want it is an error."""
    assert text.endswith("# EOF\n") and text.count("# EOF") == 1
    found, name = {}, None
    lines = text.splitlines()[:-1]
    for i, line in enumerate(lines):
        if line.startswith("# HELP "):
            name, text = line[7:].split(" ", 1)
            assert text.endswith(".") and name not in found, line
            assert lines[i + 1].startswith("# TYPE %s " % name), lines[i + 1]
            kind = lines[i + 1].rsplit(" ", 1)[1]
            assert kind in ("gauge", "counter", "histogram"), kind
            assert name.endswith("_total") == (kind == "counter" and not strict), line
            found[name] = (kind, [])
        elif not line.startswith("# TYPE "):
            m = SAMPLE.fullmatch(line)
            assert m, line
            kind, samples = found[name]
            suffix = m[1][len(name):]
            assert m[1].startswith(name) and suffix in {"gauge": ("",), "counter": ("_total" if strict else "",),
                                                        "histogram": ("_bucket", "_sum", "_count")}[kind], line
            labels = dict(LABEL.findall(m[2] or ""))
            assert (suffix, labels) not in [(s[0], s[1]) for s in samples], "twice: " + line
            samples.append((suffix, labels, float(m[3])))
    return found


def ask(lab, strict=False):
    text = lab.run("status", "--openmetrics" if strict else "--metrics").stdout.decode()
    return families(text, strict)


def one(found, name, **labels):
    return sum(v for s, l, v in found["penstock_" + name][1] if s in ("", "_count", "_total") and all(l.get(k) == x for k, x in labels.items()))


@check
def sums_of_the_store(lab):
    f = lab.path("a.ndjson", "".join('{"a":%d}\n' % i for i in range(1000)) + "bad\n" * 7)
    lab.load(f, "--key", "/a", rc=1)
    lab.load(f, "--key", "/a", "--fresh", rc=1)
    lab.run("submit", f, "--into", "later")
    m = ask(lab)
    assert (one(m, "items_total", outcome="committed"), one(m, "items_total", outcome="rejected")) == (2000, 14)
    assert one(m, "duplicates_total") == 1000 and one(m, "batches_entered_total") == 3
    assert one(m, "input_bytes_total") == 2 * os.path.getsize(f)
    assert one(m, "batches_ended_total", state="completed") == 2
    assert one(m, "batches", state="queued") == 1 and one(m, "batches", state="running") == 0
    assert one(m, "engines") == 0
    info = json.loads(lab.run("status", "--json").stdout)
    assert m["penstock_store_info"][1][0][1]["store"] == info["store_id"]
    assert one(m, "store_used_bytes") == info["used_bytes"] and one(m, "events_total") == info["last_event"]
    buckets = [(l["le"], v) for s, l, v in m["penstock_write_lock_seconds"][1] if s == "_bucket"]
    assert buckets[-1] == ("+Inf", one(m, "write_lock_seconds")) and buckets[-1][1] >= 2, buckets
    assert [v for _, v in buckets] == sorted(v for _, v in buckets), "cumulative"
    # What retention takes stays counted.
    lab.run("clean", "--older-than", "0s")
    assert one(ask(lab), "items_total", outcome="committed") == 2000
    lab.verify()


@check
def what_fails_and_works_later(lab):
    f = lab.path("l", "1\n2\n3\n")
    fixed = lab.path("fixed")
    command = 'exec:sh -c \'read x; [ "$x" != 2 ] || [ -e "%s" ]\'' % fixed
    lab.load(f, "--format", "lines", "--processor", command, "--max-retries", "0", rc=1)
    lab.path("fixed", "")
    lab.run("retry", "@last")
    lab.run("work")
    m = ask(lab)
    assert one(m, "items_total", outcome="failed") == 1 and one(m, "items_total", outcome="committed") == 3, m["penstock_items_total"]
    lab.verify()


@check
def a_run_under_way(lab):
    gate = lab.path("gate")
    p = lab.start("run", lab.path("l", "go\nwait\n"), "--format", "lines", "--jobs", "1", "--owner", 'a"b\\c', "--progress", "none",
                  "--processor", 'exec:sh -c \'read x; [ "$x" = go ] || while ! [ -e "%s" ]; do sleep 0.05; done\'' % gate)
    lab.until_counted(p)
    end = time.monotonic() + 20
    while True:
        m = ask(lab)
        if one(m, "batch_items") == 1 and one(m, "stage_items_total", stage="commit") >= 1:
            break
        assert time.monotonic() < end, m
        time.sleep(0.05)
    batch = json.loads(lab.run("status", "@running", "--json").stdout)["batch"]
    # It has two rings, its own user's and the owner's.
    assert one(m, "engines") == 1 and one(m, "batches", state="running") == 1
    labels = m["penstock_batch_items"][1][0][1]
    assert labels == {"batch": batch, "owner": 'a\\"b\\\\c', "dataset": "default"}, labels
    assert {l["stage"] for _, l, _ in m["penstock_stage_items_total"][1]} == {"read", "process", "commit"}
    assert ask(lab, strict=True).keys() == {k.removesuffix("_total") for k in m}
    lab.path("gate", "")
    p.wait()
    assert one(ask(lab), "engines") == 0
    lab.verify()


@check
def probes_for_tracers(lab):
    if not glob.glob("/usr/include/**/sys/sdt.h", recursive=True):
        raise Skip("built without <sys/sdt.h>")
    notes = subprocess.run(["readelf", "-n", run.PENSTOCK], stdout=subprocess.PIPE, check=True, text=True).stdout
    found = {}
    for m in re.finditer(r"Provider: penstock\s+Name: (\w+)\s+Location: .*\s+Arguments: (.*)", notes):
        found[m[1]] = len(m[2].split())
    assert found == {"chunk_cut": 3, "chunk_processed": 3, "group_begin": 2, "group_commit": 3, "item_given": 3, "item_ended": 3}, found


@check
def wrong_words(lab):
    lab.load(lab.path("a", "x\n"), "--format", "lines")
    for args in (("--metrics", "@last"), ("--metrics", "--json"), ("--openmetrics", "@last")):
        assert "--metrics" in lab.run("status", *args, rc=2).err
    p = subprocess.run([run.PENSTOCK, "--store", lab.store, "status", "--metrics"], stdout=open("/dev/full", "w"), stderr=subprocess.PIPE)
    assert p.returncode == 3, p


@check
def others_read_it(lab):
    lab.load(lab.path("a", "x\n"), "--format", "lines")
    promtool = shutil.which("promtool")
    if promtool:
        p = subprocess.run([promtool, "check", "metrics"], input=lab.run("status", "--metrics").stdout, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT)
        assert p.returncode == 0 and not p.stdout, p.stdout
    try:
        from prometheus_client.openmetrics.parser import text_string_to_metric_families
    except ImportError:
        if not promtool:
            raise Skip("neither promtool nor python3-prometheus-client is installed")
        return
    found = {m.name: m for m in text_string_to_metric_families(lab.run("status", "--openmetrics").stdout.decode())}
    assert found["penstock_items"].type == "counter" and found["penstock_write_lock_seconds"].type == "histogram"


if __name__ == "__main__":
    sys.exit(run.main())
