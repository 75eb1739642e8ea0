#!/usr/bin/python3
# export - snapshots into files and pipes, judged from outside: mdb_dump, mdb_load, csv and json are the witnesses
#
#   tests/cli/export.py PENSTOCK [WORD]      only checks whose name contains WORD
#
# The laboratory, and the environment, are run.py's.
import csv
import io
import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run
from run import PENSTOCK, Skip, be, check

run.CHECKS.clear()


def halves(lab):
    return [f for f in os.listdir(lab.dir) if f.startswith(".penstock-export-")]


def text(path):
    with open(path, "rb") as f:
        return f.read()


@check
def ndjson_is_what_scan_prints(lab):
    lab.load(lab.path("f", lab.records(3000)), "--format", "ndjson", "--key", "/id", "--into", "j")
    lab.load(lab.path("g", b"plain\n\xff\xfe\n{ \"a\" : 1 }\n"), "--format", "lines", "--into", "l")
    for dataset in ("j", "l"):
        out = lab.path(dataset + ".ndjson")
        lab.run("export", dataset, "-o", out)
        assert text(out) == lab.run("scan", dataset).stdout and text(out)
        assert lab.run("export", dataset, "-o", "-").stdout == text(out)
    keys = [k for k, _ in lab.dump("j")]
    got = lab.run("export", "j", "-o", "-", "--from", keys[10].decode(), "--to", keys[20].decode()).stdout.splitlines()
    assert [json.loads(x)["key"].encode() for x in got] == keys[10:20]
    got = lab.run("export", "j", "-o", "-", "--prefix", keys[0][:2].decode()).stdout.splitlines()
    assert len(got) == sum(k.startswith(keys[0][:2]) for k in keys)
    o = json.loads(lab.run("export", "j", "-o", lab.path("j2"), "--json").stdout)
    assert (o["records"], o["format"], o["dataset"]) == (3000, "ndjson", "j"), o
    lab.verify()


@check
def dump_loads_into_plain_lmdb(lab):
    if not shutil.which("mdb_dump") or not shutil.which("mdb_load"):
        raise Skip("lmdb-utils is not installed")
    lines = b"".join(b"%d %s\n" % (i, bytes(lab.random.randrange(32, 256) for _ in range(i % 90))) for i in range(2000))
    lab.load(lab.path("f", lines + b"\n\0\n"), "--format", "lines", "--into", "l")
    lab.load(lab.path("big", b"B" * 300000), "--format", "files", "--key", "@path", "--into", "files")
    for dataset in ("l", "files"):
        out = lab.path(dataset + ".dump")
        lab.run("export", dataset, "-o", out)
        theirs = subprocess.run(["mdb_dump", "-s", dataset, lab.store], stdout=subprocess.PIPE, check=True).stdout
        assert text(out) == theirs and theirs.startswith(b"VERSION=3\n")
        copy = lab.path("copy-" + dataset)
        os.mkdir(copy)
        subprocess.run(["mdb_load", "-f", out, "-s", dataset, copy], check=True, stderr=subprocess.DEVNULL)
        assert lab.dump(dataset, store=copy) == lab.dump(dataset)
    lab.verify()


@check
def csv_is_rfc_4180(lab):
    values = ["plain", "a,b", 'say "hi"', "two\rlines", "", " blank ", "é", '""', ",", "x" * 100000 + '"' + "y" * 70000]
    lab.load(lab.path("f", "\n".join(values) + "\n"), "--format", "lines", "--into", "l")
    lab.run("export", "l", "-o", lab.path("l.csv"))
    raw = text(lab.path("l.csv"))
    assert raw.startswith(b"key,value\r\n0,plain\r\n1,\"a,b\"\r\n2,\"say \"\"hi\"\"\"\r\n"), raw[:80]
    csv.field_size_limit(1 << 24)
    rows = list(csv.reader(io.StringIO(raw.decode(), newline="")))
    assert rows[1:] == [[str(i), v] for i, v in enumerate(values)], [len(r) for r in rows]


@check
def columns_are_members(lab):
    records = [{"id": "a", "n": 1.50, "t": 'x "y", z'}, {"t": "line\nline é\U0001f600 \\ /", "id": "b", "deep": {"k": [1, "a,b", "}"]}},
               {"id": "c", "n": None, "t": "", "deep": True, "odd name": "]}{["}, {"id": "d", "a": {"n": 7}, "b": [{"n": 8}], "n": -1e9}]
    text_in = "".join(json.dumps(r, ensure_ascii=i % 2 == 1) + "\n" for i, r in enumerate(records))
    text_in += ' { "id" : "e" , "\\u006e" : 5 , "t" : "\\ud83d\\ude00 \\ud800" } \n'
    lab.load(lab.path("f", text_in), "--format", "ndjson", "--key", "/id", "--into", "j")
    raw = lab.run("export", "j", "-o", "-", "--format", "csv", "--columns", "@key,n,t,deep,odd name").stdout
    rows = list(csv.reader(io.StringIO(raw.decode(), newline="")))
    assert rows[0] == ["key", "n", "t", "deep", "odd name"]
    assert rows[1] == ["a", "1.5", 'x "y", z', "", ""] and rows[2] == ["b", "", records[1]["t"], '{"k":[1,"a,b","}"]}', ""], rows
    assert rows[3] == ["c", "", "", "true", "]}{["] and rows[4] == ["d", "-1000000000.0", "", "", ""], rows
    assert rows[5] == ["e", "5", "\U0001f600 \ufffd", "", ""], rows
    # What is no object is no row of a table: said, and not an ordinary end.
    lab.load(lab.path("g", '[1]\n"n"\n{"n":1}\n'), "--format", "ndjson", "--into", "mixed")
    p = lab.run("export", "mixed", "-o", lab.path("m.csv"), "--columns", "n", rc=1)
    assert "2 of 3 values" in p.err and text(lab.path("m.csv")) == b"n\r\n\r\n\r\n1\r\n", p.err
    lab.run("export", "j", "-o", "-", "--columns", "n", rc=2)
    lab.run("export", "j", "-o", "-", "--format", "csv", "--columns", "n,,t", rc=2)


@check
def never_a_half_file(lab):
    lab.load(lab.path("f", "".join("%d\n" % i for i in range(200000))), "--format", "lines")
    out = lab.path("out.ndjson")
    lab.path("out.ndjson", b"mine")
    assert "--force" in lab.run("export", "default", "-o", out, rc=3).err and text(out) == b"mine"
    lab.run("export", "default", "-o", out, "--force")
    assert text(out).count(b"\n") == 200000
    os.unlink(out)
    # No space, in the two ways a process can be told.
    small = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))
    lab.run("export", "default", "-o", out, rc=3, preexec_fn=small)
    assert not os.path.exists(out) and not halves(lab)
    assert "No space" in lab.run("export", "default", "-o", "/dev/full", rc=3).err
    # Signals: the half goes; after SIGKILL it has a name of its own.
    caught = {}
    for sig, rc in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)):
        for _ in range(40):
            p = lab.start("export", "default", "-o", out, preexec_fn=lambda: os.nice(5))
            while p.poll() is None and not halves(lab):
                pass
            p.send_signal(sig)
            p.wait()
            if p.returncode == rc:
                caught[sig] = True
                assert not os.path.exists(out)
                assert bool(halves(lab)) == (sig == signal.SIGKILL) or sig == signal.SIGKILL, halves(lab)
                break
            if os.path.exists(out):
                os.unlink(out)
    assert len(caught) == 3, "no signal hit an export: the check has shown nothing"
    lab.run("export", "default", "-o", lab.path("no/such/dir"), rc=3)
    lab.run("export", "default", "-o", lab.path("x.csv.gz"), rc=2)
    lab.run("export", "absent", "-o", out, rc=5)
    assert not os.path.exists(out)
    lab.run("export", "default", rc=2)
    lab.verify()


@check
def pipes_and_devices(lab):
    lab.load(lab.path("f", "".join("%d\n" % i for i in range(50000))), "--format", "lines")
    out = subprocess.run('"%s" --store "%s" export default -o - | head -2' % (PENSTOCK, lab.store), shell=True, stdout=subprocess.PIPE)
    assert out.stdout.count(b"\n") == 2
    lab.run("export", "default", "-o", "/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    fifo = lab.path("fifo")
    os.mkfifo(fifo)
    p = lab.start("export", "default", "-o", fifo)
    assert text(fifo).count(b"\n") == 50000 and p.wait(60) == 0
    # A reader that stops is not waited for for ever, and a slow one that goes on gets everything.
    p = lab.start("export", "default", "-o", "-", "--patience", "400ms", stdout=subprocess.PIPE)
    assert p.wait(60) == 75 and b"too slow" in p.stderr.read()
    p = lab.start("export", "default", "-o", "-", "--patience", "60s", stdout=subprocess.PIPE)
    got = b""
    while piece := os.read(p.stdout.fileno(), 40000):
        got += piece
        time.sleep(0.001)
    assert p.wait(60) == 0 and got == lab.run("scan", "default").stdout


@check
def one_snapshot_while_others_write(lab):
    """What is exported while a batch replaces every record is of one moment, though the pipe is slow."""
    n = 30000
    lab.load(lab.path("f0", "".join('{"id":%d,"v":0}\n' % i for i in range(n))), "--format", "ndjson", "--key", "/id")
    p = lab.start("export", "default", "-o", "-", stdout=subprocess.PIPE)
    got = os.read(p.stdout.fileno(), 1000)
    assert got, "the export has begun"
    lab.load(lab.path("f1", "".join('{"id":%d,"v":1}\n' % i for i in range(n))), "--format", "ndjson", "--key", "/id")
    got += p.stdout.read()
    assert p.wait(60) == 0
    assert {json.loads(x)["value"]["v"] for x in got.splitlines()} == {0} and got.count(b"\n") == n
    lab.verify()


if __name__ == "__main__":
    sys.exit(run.main())
