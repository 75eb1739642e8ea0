#!/usr/bin/python3
# run - judges the command from outside, as its users do; python3-lmdb is the independent witness
#
#   tests/cli/run.py PENSTOCK [WORD]      only checks whose name contains WORD
#
# Environment: PEN_SEED (printed; repeats a run), PEN_KILLS (SIGKILLs of the kill storm, 50). What is mounted is seen by
# this process and its children alone and goes with them, however they end.
import ctypes
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

import lmdb

import faults
from lab import CHECKS, PENSTOCK, SEED, Skip, be, check, judge_all  # some for those who import us

KILLS = int(os.environ.get("PEN_KILLS") or 50)
DENY = os.path.join(os.path.dirname(PENSTOCK), "tests/torture/seccomp_deny")


@check
def record_rules(lab):
    f = lab.path("a", b'\xef\xbb\xbf{"id":1}\r\n\n  \n{"id":2}\n{"id":3}')
    assert lab.load(f, "--format", "ndjson")["committed"] == 3
    assert lab.dump() == [(be(0), b'{"id":1}'), (be(1), b'{"id":2}'), (be(2), b'{"id":3}')]
    f = lab.path("b", b"one\r\n\n two \nnul\0byte\nlast")
    assert lab.load(f, "--format", "lines", "--into", "l")["committed"] == 5
    assert [v for _, v in lab.dump("l")] == [b"one", b"", b" two ", b"nul\0byte", b"last"]
    assert lab.load(lab.path("empty", b""), "--into", "e")["items"] == 0
    lab.verify()


@check
def keys(lab):
    f = lab.path("a.ndjson", '{"a":{"b":["x",{"k":"deep"}]},"n":12345678901234567890123}\n{"a":{"b":["y",{"k":"\\u00e9"}]},"n":1.50}\n')
    lab.load(f, "--key", "/a/b/1/k", "--into", "deep")
    assert sorted(k for k, _ in lab.dump("deep")) == [b"deep", "é".encode()]
    lab.load(f, "--key", "/n", "--into", "num")
    assert sorted(k for k, _ in lab.dump("num")) == [b"1.50", b"12345678901234567890123"]
    lab.load(f, "--key", "@offset", "--into", "off")
    assert [k for k, _ in lab.dump("off")] == [be(0), be(59)]
    g = lab.path("b.ndjson", '{"z":1}\n')
    lab.load(f, g, "--key", "@offset", "--into", "off2")
    assert [k for k, _ in lab.dump("off2")] == [struct.pack(">IQ", 0, 0), struct.pack(">IQ", 0, 59), struct.pack(">IQ", 1, 0)]
    lab.load(f, "--key", "@content", "--into", "con")
    assert all(len(k) == 16 for k, _ in lab.dump("con"))
    bad = lab.path("c.ndjson", '{"x":1}\n{"id":null}\n{"id":""}\n{"id":"%s"}\n{"id":[1]}\n{"id":"ok"}\n' % ("k" * 512))
    o = lab.load(bad, "--key", "/id", "--into", "bad", rc=1)
    assert (o["committed"], o["rejected"]) == (1, 5), o
    assert [r["code"] for r in lab.lines("items", o["batch"])] == ["PEN1030", "PEN1031", "PEN1032", "PEN1033", "PEN1031"]
    assert lab.run("get", "deep", "deep").stdout.startswith(b'{"a"')
    lab.run("get", "deep", "absent", rc=5)
    lab.verify()


@check
def seq_goes_on(lab):
    lab.load(lab.path("a", "1\n2\nbad\n3\n"), "--format", "ndjson", rc=1)
    lab.load(lab.path("b", "4\n"), "--format", "ndjson")
    assert lab.dump() == [(be(0), b"1"), (be(1), b"2"), (be(3), b"3"), (be(4), b"4")]
    assert lab.run("get", "default", "4").stdout == b"4"
    lab.verify()


@check
def duplicates(lab):
    text = '{"k":"a","v":1}\n{"k":"b","v":2}\n{"k":"a","v":3}\n'
    for policy, code, committed, other, value in (("replace", 0, 3, "duplicates", 3), ("keep", 0, 2, "skipped", 1),
                                                  ("reject", 1, 2, "rejected", 1)):
        o = lab.load(lab.path("f", text), "--key", "/k", "--on-duplicate", policy, "--into", policy, rc=code)
        assert o["committed"] == committed and o[other] == 1, o
        assert json.loads(dict(lab.dump(policy))[b"a"])["v"] == value
    lab.verify()


@check
def rejects_have_places(lab):
    deep = "[" * 1024 + "]" * 1024
    good = ['{"a":1e999}', '{"n":123456789012345678901234567890}', deep, '"\\ud800"', "[]"]
    bad = [('{"a":1', "PEN1043"), ('{"a" 1}', "PEN1042"), ("[" + deep + "]", "PEN1045"), ("1 2", "PEN1046"), ("\xff", "PEN1044")]
    text = b"".join(g.encode() + b"\n" for g in good) + b"".join(b.encode("latin1") + b"\n" for b, _ in bad)
    o = lab.load(lab.path("f.ndjson", text), "--format", "ndjson", rc=1)
    assert (o["committed"], o["rejected"]) == (len(good), len(bad)), o
    rows = lab.lines("items", "@last", "--state", "rejected")
    assert [r["code"] for r in rows] == [c for _, c in bad], rows
    at = sum(len(g) + 1 for g in good)
    assert rows[0]["line"] == len(good) + 1 and rows[0]["offset"] == at and rows[0]["raw"] == '{"a":1', rows[0]
    assert rows[1]["column"] == 6 and "raw_base64" in rows[4], rows
    assert lab.load(lab.path("f.ndjson"), "--format", "ndjson", rc=1)["batch"] == o["batch"], "same command, same batch"
    lab.load(lab.path("f.ndjson"), "--format", "ndjson", "--allow-rejects")
    lab.verify()


@check
def thresholds(lab):
    text = "".join("bad\n" if i % 10 == 9 else "%d\n" % i for i in range(1000))
    f = lab.path("f", text)
    o = lab.load(f, "--format", "ndjson", "--max-rejects", "3", rc=4)
    assert (o["state"], o["items"], o["rejected"]) == ("stopped", 40, 4), o
    lab.verify()
    o = lab.load(f, "--format", "ndjson", "--max-rejects", "200", rc=1)
    assert o["resumed"] and (o["items"], o["rejected"]) == (1000, 100), o
    lab.load(f, "--format", "ndjson", "--into", "p", "--max-rejects", "5%", rc=4)
    lab.verify()


@check
def identity(lab):
    f = lab.path("f", "1\n2\n")
    a = lab.load(f, "--format", "ndjson", "--into", "d", "--key", "@offset")
    assert lab.load(f, "--format", "ndjson", "--into", "d", "--key", "@offset")["batch"] == a["batch"]
    lab.path("f", "1\n2\n3\n")
    b = lab.load(f, "--format", "ndjson", "--into", "d", "--key", "@offset")
    assert b["batch"] != a["batch"] and b["duplicates"] == 2 and "changed" in b["err"], b
    c = lab.load(f, "--format", "ndjson", "--into", "d", "--key", "@offset", "--fresh")
    assert c["batch"] != b["batch"]
    lab.verify()


@check
def sources(lab):
    for i in range(3):
        lab.path("in/%d.ndjson" % i, '{"n":%d}\n' % i)
    assert lab.load(os.path.join(lab.dir, "in/*.ndjson"), "--into", "glob")["committed"] == 3
    lst = lab.path("list", "".join(lab.path("in/%d.ndjson" % i) + "\n" for i in range(3)))
    assert lab.load("@" + lst, "--into", "list")["committed"] == 3
    assert lab.load("-", "--into", "pipe", stdin=b'{"a":1}\n{"a":2}')["committed"] == 2
    assert lab.load(lab.path("in"), "--format", "ndjson", "--into", "tree")["committed"] == 3
    lab.run("run", lab.path("missing"), rc=3)
    lab.run("run", lab.path("in/9*.ndjson"), rc=3)
    o = lab.load("-", "--into", "idem", "--idempotency-key", "k", "--format", "lines", stdin=b"a\nb\n")
    assert o["committed"] == 2
    lab.verify()


@check
def trees(lab):
    for i in range(500):
        lab.path("t/d%02d/f%03d" % (i % 17, i), b"x" * (i * 7))
    lab.path("t/.hidden", b"h")
    lab.path("t/empty", b"")
    lab.path("t/large", b"L" * 700000)
    os.symlink("d00", lab.path("t/link"))
    os.symlink(".", lab.path("t/loop"))
    os.mkfifo(lab.path("t/fifo"))
    o = lab.load(lab.path("t"), "--key", "@path", "--into", "t", preexec_fn=lambda: __import__("resource").setrlimit(7, (64, 64)))
    assert o["committed"] == 503 and "3 symbolic links" in o["err"], o
    got = dict(lab.dump("t"))
    assert got[b"empty"] == b"" and got[b"large"] == b"L" * 700000 and got[b"d05/f005"] == b"x" * 35
    assert list(got) == sorted(got)
    assert lab.load(lab.path("t"), "--key", "@path", "--into", "t")["batch"] == o["batch"]
    lab.path("t/new", b"n")
    o2 = lab.load(lab.path("t"), "--key", "@path", "--into", "t")
    assert o2["batch"] != o["batch"] and o2["committed"] == 504
    lab.verify()


@check
def unreadable_files(lab):
    if os.getuid():
        return
    # The other user must be able to reach the place: the suite's own directory is closed to him.
    shutil.rmtree(lab.dir)
    lab.dir = tempfile.mkdtemp(prefix="penstock-nobody-", dir="/tmp")
    lab.store = os.path.join(lab.dir, "store")
    for i in range(5):
        lab.path("t/f%d" % i, b"x")
    os.chmod(lab.path("t/f2"), 0)
    os.chmod(lab.dir, 0o777)
    o = lab.load(lab.path("t"), "--key", "@path", rc=1, user=65534, env=dict(os.environ, HOME=lab.dir))
    assert (o["committed"], o["rejected"]) == (4, 1), o
    assert lab.lines("items", "@last")[0]["code"] == "PEN1049"


@check
def large_records(lab):
    big = '{"id":"big","s":"%s"}' % ("y" * 3000000)
    numbers = "[" + ",".join(str(i) for i in range(200000)) + "]"
    too = '"%s"' % ("z" * 5000000)
    text = '{"id":1}\n%s\n%s\n%s\n{"id":2}\n' % (big, numbers, too)
    o = lab.load(lab.path("f.ndjson", text), "--max-record", "4MiB", rc=1)
    assert (o["committed"], o["rejected"]) == (4, 1), o
    assert [v.decode() for _, v in lab.dump()] == ['{"id":1}', big, numbers, '{"id":2}']
    row = lab.lines("items", "@last")[0]
    assert row["code"] == "PEN1040" and row["raw_total"] == len(too) and len(row["raw"]) == 65536, row["code"]
    lab.verify()


@check
def one_result_whatever_the_machinery(lab):
    text = lab.records(20000) + "broken\n" + '{"id":"%s","s":"%s"}\n' % ("jumbo", "j" * 400000) + lab.records(100)
    f = lab.path("f.ndjson", text)
    shapes = [("--io", "threads"), ("--io", "auto"), ("--jobs", "4"), ("--chunk-bytes", "1KiB"), ("--chunk-bytes", "64KiB", "--jobs", "2"),
              ("--chunk-bytes", "4MiB"), ("--chunk", "1000"), ("--durability", "group"), ("--durability", "relaxed")]
    seen = set()
    for i, shape in enumerate(shapes):
        for key in ("@seq", "/id"):
            store = os.path.join(lab.dir, "s%d%s" % (i, key[1:]))
            o = lab.load(f, "--key", key, *shape, store=store, rc=1)
            assert o["rejected"] == 1, o
            seen.add((key, lab.digest(store=store)))
            lab.verify(store=store)
            shutil.rmtree(store)
    assert len(seen) == 2, (shapes, seen)


@check
def io_uring_denied(lab):
    if not os.path.exists(DENY):
        raise AssertionError("no %s" % DENY)
    f = lab.path("f.ndjson", lab.records(2000))
    lab.load(f, "--key", "/id")
    for errno in ("1", "38"):
        for call in ("io_uring_setup", "io_uring_enter", "io_uring_register"):
            store = os.path.join(lab.dir, call + errno)
            o = lab.load(f, "--key", "/id", store=store, before=(DENY, errno, call, "--"))
            assert o["io"] == "threads" and o["err"].count("io_uring") >= 1, (call, o)
            assert lab.digest(store=store) == lab.digest()
    lab.run("run", f, "--io", "uring", store=os.path.join(lab.dir, "u"), rc=3, before=(DENY, "1", "io_uring_setup", "--"))


def storm(lab, kills, make, args, dataset="default", name="storm.ndjson"):
    f = lab.path(name, make)
    whole = os.path.join(lab.dir, "whole")
    lab.load(f, *args, store=whole, rc=(0, 1))
    done = 0
    while done < kills:
        store = os.path.join(lab.dir, "killed")
        shutil.rmtree(store, ignore_errors=True)
        while done < kills:
            p = subprocess.Popen([PENSTOCK, "--store", store, "run", f, *args, "--progress", "none"], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
            time.sleep(lab.random.uniform(0.002, 0.12))
            p.kill()
            if p.wait() >= 0:
                break
            done += 1
        lab.load(f, *args, store=store, rc=(0, 1))
        lab.verify(store=store)
        assert lab.digest(dataset=dataset, store=store) == lab.digest(dataset=dataset, store=whole), "seed %d" % SEED
        rows = [[(r["seq"], r["code"]) for r in lab.lines("items", "@last", store=s)] for s in (store, whole)]
        assert rows[0] == rows[1]
    return whole


@check
def kill_storm_seq(lab):
    text = lab.records(60000)
    storm(lab, KILLS // 2, text[:3000000] + "broken\n" + text[3000000:], ("--key", "@seq"))


@check
def kill_storm_random_keys(lab):
    whole = storm(lab, KILLS - KILLS // 2, lab.records(30000), ("--key", "/id"))
    # The control: a store that lacks one record is told apart, by the comparison and by verify.
    before = lab.digest(store=whole)
    env = lmdb.open(whole, max_dbs=64)
    with env.begin(write=True) as t:
        db = env.open_db(b"default", t, create=False)
        c = t.cursor(db)
        assert c.first() and c.delete()
    env.close()
    assert lab.digest(store=whole) != before
    lab.verify(store=whole, rc=65)


@check
def signals(lab):
    f = lab.path("f.ndjson", lab.records(20000))
    lab.load(f, "--into", "ref", store=os.path.join(lab.dir, "ref"))
    p = subprocess.Popen([PENSTOCK, "--store", lab.store, "run", f, "--chunk", "100", "--pause-ms", "50"], stderr=subprocess.PIPE,
                         stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    other = lab.run("run", f, "--chunk", "100", rc=75)
    assert str(p.pid) in other.err, other.err
    g = lab.path("g.ndjson", "{}\n")
    lab.run("run", g, rc=75)
    p.send_signal(signal.SIGINT)
    err = p.communicate(timeout=60)[1].decode()
    assert p.returncode == 130 and "penstock" in err and "run" in err, (p.returncode, err)
    lab.verify()
    o = lab.load(f)
    assert o["resumed"] and o["items"] == 20000, o
    assert lab.digest() == lab.digest(dataset="ref", store=os.path.join(lab.dir, "ref"))
    lab.load(g)
    lab.verify()


@check
def changed_while_unfinished(lab):
    f = lab.path("f.ndjson", lab.records(20000))
    p = subprocess.Popen([PENSTOCK, "--store", lab.store, "run", f, "--chunk", "100", "--pause-ms", "50"], stderr=subprocess.DEVNULL)
    time.sleep(0.4)
    p.kill()
    p.wait()
    with open(f, "a") as out:
        out.write("{}\n")
    assert "--fresh" in lab.run("run", f, rc=3).err
    o = lab.load(f, "--fresh")
    assert o["items"] == 20001 and not o["resumed"]
    lab.verify()


@check
def full_disk(lab):
    mount = lab.path("m")
    os.mkdir(mount)
    if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", mount], stderr=subprocess.DEVNULL).returncode:
        return
    try:
        f = lab.path("f.ndjson", lab.records(60000))
        store = os.path.join(mount, "store")
        p = subprocess.Popen([PENSTOCK, "--store", store, "run", f], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        time.sleep(2.5)
        assert p.poll() is None, p.stderr.read()
        subprocess.run(["mount", "-o", "remount,size=64m", mount], check=True)
        err = p.communicate(timeout=60)[1].decode()
        assert p.returncode == 0 and "disk is full" in err or "full" in err, err
        lab.verify(store=store)
        assert len(lab.dump(store=store)) == 60000
    finally:
        subprocess.run(["umount", "-l", mount])


@check
def stores_that_are_none(lab):
    f = lab.path("f", "1\n")
    lab.path("foreign/file", b"x")
    lab.run("run", f, store=lab.path("foreign"), rc=2)
    lab.run("status", store=lab.path("nothing"), rc=3)
    lab.load(f, "--format", "ndjson")
    env = lmdb.open(lab.store, max_dbs=64)
    with env.begin(write=True) as t:
        db = env.open_db(b"penstock.meta", t, create=False)
        k, v = next(iter(t.cursor(db)))
        v = bytearray(v)
        v[8:12] = struct.pack("<I", 99)
        t.put(k, bytes(v), db=db)
    env.close()
    lab.run("status", rc=(3, 65))


@check
def usage(lab):
    assert "--key" in lab.run("run", "x", "--kee", "y", rc=2).err
    assert "run" in lab.run("rnu", rc=2).err
    f = lab.path("f", "1\n")
    for args in (("run",), ("run", f, "--format", "frames:u8"), ("run", f, "--processor", "exec:x"), ("run", f, "--format", "lines", "--key", "/a"),
                 ("run", f, "--into", "penstock.x"), ("run", f, "--correlation-id", "x"), ("drop", "default")):
        lab.run(*args, rc=(2, 3))
    lab.load(f, "--format", "lines")
    for args in (("status",), ("status", "@last"), ("doctor",), ("version",), ("explain", "PEN1042")):
        json.loads(lab.run(*args, "--json").stdout)
    for args in (("datasets",), ("events",), ("items", "@last"), ("scan", "default"), ("verify",)):
        lab.lines(*args)
    events = lab.lines("events")
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
    for c in ("run", "status", "items", "events", "datasets", "drop", "get", "scan", "verify", "doctor", "version", "explain"):
        assert lab.run(c, "--help").stdout
    lab.run("drop", "default", "--yes")
    assert lab.lines("datasets") == []
    lab.verify()


@check
def closed_streams(lab):
    f = lab.path("f", "1\n")
    script = '"$0" --store "$1" run "$2" --format lines >&- 2>&- <&-'
    subprocess.run(["sh", "-c", script, PENSTOCK, lab.store, f], check=True, timeout=60)
    assert len(lab.dump()) == 1
    g = lab.path("g", "".join("%d\n" % i for i in range(50000)))
    lab.load(g, "--format", "lines", "--into", "many")
    out = subprocess.run('"%s" --store "%s" scan many --format raw | head -3' % (PENSTOCK, lab.store), shell=True, stdout=subprocess.PIPE)
    assert out.stdout == b"0\n1\n2\n"
    lab.verify()


def own_mounts():
    """A mount namespace of our own, where that is allowed."""
    if ctypes.CDLL(None).unshare(0x20000) == 0:
        # Where / is no mount point (in a chroot) nothing is to be said to others either.
        subprocess.run(["mount", "--make-rprivate", "/"], stderr=subprocess.DEVNULL)


def main():
    own_mounts()
    return judge_all()


if __name__ == "__main__":
    sys.exit(main())
