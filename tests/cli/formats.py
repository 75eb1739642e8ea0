#!/usr/bin/python3
# formats - what an item is, in every container, dialect and encoding, judged from outside
#
#   tests/cli/formats.py PENSTOCK [WORD]      only checks whose name contains WORD
#
# The laboratory, and the environment, are run.py's.
import csv
import gzip
import io
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run
from run import KILLS, PENSTOCK, be, check, storm

run.CHECKS.clear()


def zstd(data, *options):
    return subprocess.run(["zstd", "-qc", *options], input=data, stdout=subprocess.PIPE, check=True).stdout


def bgzf(data, size=5000):
    """gzip as bgzip writes it: many small members, an empty one last."""
    out = b""
    for i in range(0, len(data), size):
        out += gzip.compress(data[i:i + size])
    return out + gzip.compress(b"")


def rows(lab, n):
    """Cells with everything that quotes are for."""
    r = lab.random
    texts = ["plain", "with, comma", 'say "hi"', "two\nlines", "", "caf\u00e9 \u20ac", "tab\there", "back\\slash", "x" * 300]
    return [["%06d" % i, r.choice(texts), str(r.randrange(10**9)), r.choice(texts)] for i in range(n)]


HEAD = ["id", "name", "number", "note"]


def as_csv(table, head=HEAD, **kw):
    out = io.StringIO()
    w = csv.writer(out, **dict(dict(lineterminator="\n"), **kw))
    w.writerow(head)
    w.writerows(table)
    return out.getvalue().encode()


def as_objects(table, head=HEAD):
    return [json.dumps(dict(zip(head, row)), ensure_ascii=False, separators=(",", ":")) for row in table]


def values(lab, dataset):
    return [v for _, v in lab.dump(dataset)]


def rejects(lab, batch):
    return [(i["seq"], i["code"], i["offset"], i["line"]) for i in lab.lines("items", batch, "--state", "rejected")]


@check
def one_digest_whatever_the_container(lab):
    table = rows(lab, 3000)
    objects = as_objects(table)
    nd = "".join(o + "\n" for o in objects).encode()
    plain = as_csv(table)
    key = ("--key", "/id")
    containers = {
        "a.ndjson": nd, "b.jsonl.gz": gzip.compress(nd), "c.ndjson.zst": zstd(nd), "d.ndjson.bgz": bgzf(nd),
        "e.zst": b"\x50\x2a\x4d\x18\x04\0\0\0skip" + zstd(nd[:70000], "--long=27") + zstd(nd[70000:]),
        "f.json": ("[" + ",\n ".join(objects) + "]").encode(), "g.json": ("[" + ",".join(objects) + "]").encode(),
        "h.json": ("[" + ",".join(objects[:900]) + "]\n[" + ",".join(objects[900:]) + "]").encode(),
        "i.json.gz": gzip.compress(("[\n" + ",\n".join(objects) + "\n]\n").encode()),
        "j.csv": plain, "k.csv.gz": gzip.compress(plain), "l.csv": as_csv(table, lineterminator="\r\n"),
        "m.csv": b"\xef\xbb\xbf" + plain, "n.csv": as_csv(table, delimiter=";"), "o.tsv": as_csv(table, delimiter="\t"),
        "p.csv": as_csv(table, quoting=csv.QUOTE_ALL), "q.csv": as_csv(table, delimiter="|").rstrip(b"\n"),
        "r.csv": plain.decode().encode("utf-16"), "s.csv.zst": zstd(plain.decode().encode("utf-16-be").join([b"\xfe\xff", b""])),
        "t.csv": as_csv(table, quoting=csv.QUOTE_ALL, doublequote=False, escapechar="\\"),
    }
    # An escape in the dialect also stands before itself.
    reference = None
    for name, data in containers.items():
        f = lab.path(name, data)
        o = lab.load(f, *key, "--into", name)
        assert o["committed"] == len(table), (name, o)
        digest = lab.digest(dataset=name)
        reference = reference or digest
        assert digest == reference, (name, lab.dump(name)[:2])
        with open(f, "rb") as stdin:
            p = subprocess.run([PENSTOCK, "--store", lab.store, "run", "-", *key, "--into", name + "-", "--progress", "none"],
                               stdin=stdin, stderr=subprocess.PIPE)
        assert p.returncode == 0, (name, p.stderr)
        assert lab.digest(dataset=name + "-") == reference, name
    lab.verify()
    # The control: one other byte in one record is another digest.
    lab.load(lab.path("z.ndjson", nd.replace(b'"id":"000017"', b'"id":"000017x"')), *key, "--into", "z")
    assert lab.digest(dataset="z") != reference


@check
def one_digest_whatever_the_chunks(lab):
    table = rows(lab, 2500)
    table[77][1] = "long " * 30000  # larger than most chunks
    table[78][3] = '"\n' * 5000
    objects = as_objects(table)
    inputs = {"a.csv": as_csv(table), "b.json": ("[" + ",".join(objects) + "]").encode(), "c.csv.gz": gzip.compress(as_csv(table)),
              "d.ndjson": "".join(o + "\n" for o in objects).encode()}
    reference = None
    for name, data in inputs.items():
        f = lab.path(name, data)
        for size, jobs in (("1KiB", 1), ("3000", 8), ("64KiB", 2), ("256KiB", 3), ("4MiB", 8)):
            store = lab.path("%s-%s" % (name, size))
            o = lab.load(f, "--key", "/id", "--chunk-bytes", size, "--jobs", jobs, store=store)
            assert o["committed"] == len(table), (name, size, o)
            reference = reference or lab.digest(store=store)
            assert lab.digest(store=store) == reference, (name, size)
        lab.verify(store=store)


@check
def json_documents(lab):
    def load(text, rc=0, **kw):
        load.n += 1
        o = lab.load(lab.path("%d" % load.n, text), "--format", "json", "--into", str(load.n), rc=rc, **kw)
        return o, values(lab, str(load.n)) if o["committed"] else []
    load.n = 0
    assert load('[{"a":1}, [1,2],\n"x",3]')[1] == [b'{"a":1}', b"[1,2]", b'"x"', b"3"]
    assert load('{"a":\n 1}\n{"b":2}')[1] == [b'{"a":\n 1}', b'{"b":2}']
    assert load("[1][2] [3]\n")[1] == [b"1", b"2", b"3"]
    assert load("[]")[0]["items"] == 0 and load(" [ ]\n")[0]["items"] == 0 and load("")[0]["items"] == 0
    o, v = load('[{"a":1},{"b":2},{"c":', 1)
    assert v == [b'{"a":1}', b'{"b":2}'] and rejects(lab, o["batch"]) == [(2, "PEN1043", 17, 1)], rejects(lab, o["batch"])
    o, v = load("[1,2,", 1)
    assert v == [b"1", b"2"] and [r[:2] for r in rejects(lab, o["batch"])] == [(2, "PEN1043")]
    o, v = load('[1,\n{"a" 1},\n3]', 1)
    assert v == [b"1", b"3"] and rejects(lab, o["batch"]) == [(1, "PEN1042", 4, 2)]
    o, v = load("[1,,2]", 1)
    assert v == [b"1", b"2"] and o["rejected"] == 1
    lab.verify()


@check
def frames(lab):
    records = [b"one", b"", b"\0\1\2", b"x" * 70000, b"last"]
    heads = {"u32be": lambda n: struct.pack(">I", n), "u32le": lambda n: struct.pack("<I", n),
             "leb128": lambda n: bytes((n >> i & 127) | (128 if n >> i + 7 else 0) for i in range(0, 35, 7) if i == 0 or n >> i)}
    for kind, head in heads.items():
        text = b"".join(head(len(r)) + r for r in records)
        lab.load(lab.path(kind, text), "--format", "frames:" + kind, "--into", kind)
        assert values(lab, kind) == records, kind
        o = lab.load(lab.path(kind + "-cut", text[:-2]), "--format", "frames:" + kind, "--into", kind + "-cut", rc=1)
        assert values(lab, kind + "-cut") == records[:-1], kind
        r = lab.lines("items", o["batch"])
        assert len(r) == 1 and r[0]["code"] == "PEN1054" and r[0]["raw"] == "la", r
    small = [r for r in records if len(r) < 65536]
    lab.load(lab.path("u16", b"".join(struct.pack(">H", len(r)) + r for r in small)), "--format", "frames:u16be", "--into", "u16")
    assert values(lab, "u16") == small
    # A length that nobody can have meant is passed over, not believed.
    o = lab.load(lab.path("wild", struct.pack(">I", 1) + b"a" + struct.pack(">I", 0xFFFFFFFF) + b"b"), "--format", "frames:u32be",
                 "--into", "wild", rc=1)
    assert values(lab, "wild") == [b"a"] and o["rejected"] == 1
    o = lab.load(lab.path("large", b"".join(struct.pack(">I", len(r)) + r for r in records)), "--format", "frames:u32be",
                 "--max-record", "1000", "--into", "large", rc=1)
    assert values(lab, "large") == [r for r in records if len(r) <= 1000] and [r["code"] for r in lab.lines("items", o["batch"])] == ["PEN1040"]
    lab.verify()


@check
def table_rows(lab):
    text = 'id,name\n1,a\n2\n3,x,y\n4,"q"z\n\n5,"two\nlines"\n6,\xff\n7,b"c\n8,"open'
    o = lab.load(lab.path("t.csv", text.encode("latin-1")), "--key", "id", rc=1)
    assert [(k, json.loads(v)["name"]) for k, v in lab.dump()] == [(b"1", "a"), (b"5", "two\nlines"), (b"7", 'b"c')]
    assert [(r[0], r[1], r[3]) for r in rejects(lab, o["batch"])] == [
        (1, "PEN1053", 3), (2, "PEN1053", 4), (3, "PEN1051", 5), (5, "PEN1044", 9), (7, "PEN1052", 11)], rejects(lab, o["batch"])
    f = lab.path("u.csv", "1;x\n2;y\n")
    lab.load(f, "--header", "no", "--into", "no")
    assert values(lab, "no") == [b'{"c1":"1","c2":"x"}', b'{"c1":"2","c2":"y"}']
    lab.load(f, "--header", "k,v", "--key", "k", "--into", "names")
    assert lab.dump("names") == [(b"1", b'{"k":"1","v":"x"}'), (b"2", b'{"k":"2","v":"y"}')]
    lab.load(f, "--header", "no", "--key", "#2", "--value", "raw", "--into", "raw")
    assert lab.dump("raw") == [(b"x", b"1;x"), (b"y", b"2;y")]
    p = lab.run("run", f, "--key", "nome", "--header", "name,value", rc=2)
    assert "name" in p.err, p.err
    p = lab.run("run", lab.path("pre.csv", "made by X\n\nid,name\n1,a\n2,b\n"), "--key", "id", "--into", "pre")
    assert "header with 2 columns" in p.err and [k for k, _ in lab.dump("pre")] == [b"1", b"2"], p.err
    lab.verify()


@check
def objects_of_rows_are_bound(lab):
    """What a row becomes is no larger than a record may be, whatever the chunks."""
    text = b"id,t\n1," + b"\x01" * 3000 + b"\n2," + b"\\" * 3000 + b"\n3," + b"x" * 3900 + b"\n4,ok\n"
    f = lab.path("t.csv", text)
    for size in ("1KiB", "256KiB"):
        o = lab.load(f, "--key", "id", "--max-record", "4000", "--chunk-bytes", size, "--into", size, rc=1)
        assert sorted(k for k, _ in lab.dump(size)) == [b"3", b"4"], (size, o)
        assert [r["code"] for r in lab.lines("items", o["batch"])] == ["PEN1040", "PEN1040"], size
    lab.verify()


@check
def encodings(lab):
    text = "id,name\n1,na\u00efve \u20ac\n2,\u201cq\u201d\n"
    want = [b"na\xc3\xafve \xe2\x82\xac", "\u201cq\u201d".encode()]
    for name in ("utf-16le", "utf-16be", "windows-1252"):
        lab.load(lab.path(name + ".csv", text.encode(name)), "--encoding", name, "--key", "id", "--into", name)
        assert [json.loads(v)["name"].encode() for v in values(lab, name)] == want, name
    lab.load(lab.path("l1.csv", "id,name\n1,caf\u00e9\n".encode("latin-1")), "--encoding", "latin-1", "--into", "l1")
    assert json.loads(values(lab, "l1")[0])["name"] == "caf\u00e9"
    bad = "a\nb\n".encode("utf-16le") + b"\x00\xd8" + "c\n".encode("utf-16le")
    o = lab.load(lab.path("bad", bad), "--encoding", "utf-16le", "--format", "lines", "--into", "bad", rc=1)
    assert values(lab, "bad")[:2] == [b"a", b"b"] and [r["code"] for r in lab.lines("items", o["batch"])] == ["PEN1058"]
    lab.verify()


@check
def packed_streams_that_break(lab):
    text = lab.records(20000).encode()
    whole = {"gz": gzip.compress(text), "zst": zstd(text)}
    for kind, data in whole.items():
        lab.load(lab.path("padded." + kind, data + b"\0" * 700 if kind == "gz" else data), "--key", "/id", "--into", kind)
        n = len(lab.dump(kind))
        middle = len(data) * 2 // 3
        corrupt = data[:middle] + bytes(b ^ 0x5A for b in data[middle:middle + 40]) + data[middle + 40:]
        for name, bad, codes in (("cut", data[:middle], ("PEN1055",)), ("corrupt", corrupt, ("PEN1056",)), ("tail", data + b"tail", ("PEN1056",))):
            f = lab.path("%s.%s" % (name, kind), bad)
            p = lab.run("run", f, "--key", "/id", "--into", name + kind, "--json", "--progress", "none", rc=1)
            o = json.loads(p.stdout)
            assert f in p.err and "at byte" in p.err, p.err[:500]
            r = lab.lines("items", o["batch"])
            assert r[-1]["code"] in codes and r[-1]["source"] == f, (name, r[-1])
            got = dict(lab.dump(name + kind))
            if name == "corrupt":
                continue  # checksums stand at the end: what came before is only known to be wrong there
            assert o["rejected"] == 1, (name, o)
            assert 0 < len(got) <= n and got.items() <= dict(lab.dump(kind)).items(), (name, len(got), n)
            assert name == "tail" or len(got) < n
    # Other sources go on.
    o = lab.load(lab.path("cut.gz"), lab.path("padded.zst"), "--key", "/id", "--into", "both", rc=1)
    assert o["rejected"] == 1 and len(lab.dump("both")) == n
    lab.load(lab.path("padded.gz"), "--compression", "none", "--format", "lines", "--into", "asis")
    assert b"".join(v for v in values(lab, "asis"))[:2] == b"\x1f\x8b"
    lab.verify()


@check
def a_bomb_costs_no_memory(lab):
    z = zlib.compressobj(9, zlib.DEFLATED, 31)
    block, bomb = b"\0" * (1 << 20), b'{"n":1}\n'
    data = z.compress(bomb) + b"".join(z.compress(block) for _ in range(600)) + z.compress(b'\n{"n":2}\n') + z.flush()
    f = lab.path("bomb.ndjson.gz", data)
    o = lab.load(f, "--max-record", "1MiB", rc=1)
    assert values(lab, "default") == [b'{"n":1}', b'{"n":2}'] and o["rejected"] == 1
    r = lab.lines("items", o["batch"])[0]
    assert r["code"] == "PEN1040" and r["line"] == 2, r
    lab.verify()


@check
def kill_storm_packed_table(lab):
    table = rows(lab, 25000)
    storm(lab, max(KILLS // 5, 4), gzip.compress(as_csv(table) + b'broken,"x"y,1,2\n' + as_csv(table[:9000])), ("--key", "@seq"), name="f.csv.gz")


@check
def kill_storm_documents(lab):
    objects = as_objects(rows(lab, 30000))
    storm(lab, max(KILLS // 5, 4), ("[" + ",\n".join(objects) + "]").encode(), ("--key", "@offset"), name="f.json")


@check
def a_threshold_inside_a_document(lab):
    """What is committed ends at the same item whatever the chunks, and the run goes on inside the array."""
    items = ["%d" % i for i in range(500)]
    for i in (100, 200, 300):
        items[i] = "{bad}"
    f = lab.path("f.json", "[" + ",".join(items) + "]")
    o = lab.load(f, "--max-rejects", "1", rc=4)
    assert (o["items"], o["rejected"]) == (201, 2), o
    o = lab.load(f, rc=1)
    assert o["resumed"] and (o["items"], o["rejected"]) == (500, 3), o
    assert values(lab, "default") == [i.encode() for i in items if i != "{bad}"]
    g = lab.path("g.csv", "id,n\n" + "".join("%d,%d\n" % (i, i) if i not in (100, 200, 300) else "%d\n" % i for i in range(500)))
    o = lab.load(g, "--max-rejects", "1", "--key", "id", "--into", "g", rc=4)
    assert (o["items"], o["rejected"]) == (201, 2), o
    o = lab.load(g, "--key", "id", "--into", "g", rc=1)
    assert o["resumed"] and (o["items"], o["rejected"]) == (500, 3) and len(lab.dump("g")) == 497, o
    lab.verify()


@check
def told_apart(lab):
    cases = (
        ("a", '{"a":1}\n{"a":2}\n', "ndjson", 2), ("b", "[1,2,3]", "json", 3), ("c", "[\n1,\n2\n]\n", "json", 2),
        ("d.ndjson", "[1,2,3]\n", "ndjson", 1), ("e", "[1]\n[2]\n", "ndjson", 2), ("f", '{\n "a": 1\n}\n', "json", 1),
        ("g", "2024-01-01 00:00:00,123 INFO one, two\n2024-01-01 00:00:01,456 WARN three\n", "lines", 2),
        ("h", "id,name,size\n1,a,2\n2,b,3\n", "csv", 2), ("i", "name\tsize\na\t1\nb\t2\n", "tsv", 2), ("j.csv", "a\nb\n", "csv", 1),
        ("k", "Dear Sir,\nwe write, hereby, to you\n", "lines", 2), ("l", "[2024-05-01] started\n", "lines", 1), ("m", "1\n2\n", "ndjson", 2))
    for name, text, fmt, n in cases:
        o = lab.load(lab.path(name, text), "--into", name, rc=(0, 1))
        got = json.loads(lab.run("status", o["batch"], "--json").stdout)["format"]
        assert (got, o["items"]) == (fmt, n), (name, got, o)
    lab.verify()


@check
def a_stream_that_looks_otherwise_now(lab):
    """What was told apart by a short, silent beginning is not gone on with as something else."""
    begin, more = b"id,name\n1,a\n2,b\n3,c\n", b"4,with,another,width\n"
    args = ("--idempotency-key", "k", "--max-rejects", "0")
    p = lab.start("run", "-", *args, stdin=subprocess.PIPE)
    p.stdin.write(begin)
    p.stdin.flush()
    lab.until_counted(p, 3)
    p.kill()
    p.wait()
    o = lab.run("run", "-", *args, stdin=begin + more, rc=3)
    assert "PEN308" in o.err and "another format" in o.err, o.err
    o = lab.load("-", *args, "--format", "lines", "--into", "new", stdin=begin + more)
    assert o["committed"] == 5, o
    lab.verify()


@check
def trees_of_records(lab):
    table = rows(lab, 900)
    lab.path("t/1/a.csv", as_csv(table[:300]))
    lab.path("t/1/b.csv.gz", gzip.compress(as_csv(table[300:600], delimiter=";")))
    lab.path("t/2/c.csv", as_csv(table[600:]).decode().encode("utf-16"))
    o = lab.load(lab.path("t"), "--format", "csv", "--key", "id")
    assert o["committed"] == 900
    assert values(lab, "default") == [x.encode() for x in as_objects(table)]
    lab.verify()


@check
def archives(lab):
    """Members are files; the tree they came from is the witness."""
    r = lab.random
    for i in range(300):
        lab.path("t/%d/%03d.bin" % (i % 7, i), r.randbytes(r.choice((0, 1, 100, 5000, 300000 if i % 50 == 0 else 40))))
    lab.path("t/big.bin", r.randbytes(3 << 20))
    tree = lab.load(lab.path("t"), "--key", "@path", "--into", "tree")
    os.symlink("big.bin", lab.path("t/link"))
    want = lab.dump("tree")
    with tarfile.open(lab.path("a.tar"), "w") as t:
        t.add(lab.path("t"), "")
    with zipfile.ZipFile(lab.path("a.zip"), "w", zipfile.ZIP_DEFLATED) as z:
        for k, v in want:
            z.writestr(k.decode(), v)
    with open(lab.path("a.tar"), "rb") as f:
        tar = f.read()
    lab.path("a.tar.gz", gzip.compress(tar))
    lab.path("a.tzst", zstd(tar))
    for name in ("a.tar", "a.tar.gz", "a.tzst", "a.zip"):
        for more in ((), ("--chunk-bytes", "2KiB")):
            o = lab.load(lab.path(name), "--key", "@path", "--into", name + "".join(more), store=lab.path("s" + "".join(more)), *more)
            assert o["items"] == tree["items"] and lab.dump(name + "".join(more), store=lab.path("s" + "".join(more))) == want, (name, more)
    o = lab.load("-", "--key", "@path", "--into", "pipe", stdin=tar)
    assert lab.dump("pipe") == want
    p = lab.run("run", "-", "--into", "x", stdin=gzip.compress(tar), rc=2)
    assert "archive" in p.err, p.err
    # Members that would leave the root, and ones too large, are rejects; a cut archive is one more.
    with tarfile.open(lab.path("bad.tar"), "w") as t:
        for name, size in (("ok", 3), ("../out", 3), ("/etc/x", 3), ("large", 5000), ("also", 2), ("cut", 3000)):
            m = tarfile.TarInfo(name)
            m.size = size
            t.addfile(m, io.BytesIO(b"x" * size))
    with open(lab.path("bad.tar"), "rb") as f:
        bad = f.read()
    o = lab.load(lab.path("bad.tar", bad[:bad.rindex(b"x" * 3000) + 1000]), "--key", "@path", "--max-record", "4000", "--into", "bad", rc=1)
    assert [k for k, _ in lab.dump("bad")] == [b"also", b"ok"], lab.dump("bad")
    codes = [i["code"] for i in lab.lines("items", o["batch"])]
    assert codes[:3] == ["PEN1059", "PEN1059", "PEN1040"] and set(codes[3:]) == {"PEN1055"}, codes
    names = [os.path.relpath(i["source"].replace("/../", "/UP/"), lab.dir) for i in lab.lines("items", o["batch"])]
    assert names[:3] == ["bad.tar/UP/out", "bad.tar/etc/x", "bad.tar/large"], names
    lab.verify()


@check
def tables_of_a_tree_go_on_with_their_own_header(lab):
    """A run that stopped inside a table in a directory reads the header again, not the row it goes on with."""
    table = rows(lab, 6000)
    bad = as_csv(table[:4000]) + b"short\n" + as_csv(table[4000:]).split(b"\n", 1)[1]
    head = "".join("remark %d\n" % i for i in range(2)).encode()
    for name, data in (("a.csv", bad), ("b.csv", head + bad), ("c.csv.gz", gzip.compress(bad)), ("d.csv", bad.decode().encode("utf-16"))):
        tree, store = lab.path("tree-" + name), lab.path("s-" + name)
        lab.path("tree-%s/%s" % (name, name), data)
        lab.path("tree-%s/z.csv" % name, as_csv([["999999", "last", "0", ""]]))
        for i, args in enumerate((("--format", "csv", "--key", "id"), ("--format", "csv", "--value", "json"),
                                  ("--format", "csv", "--chunk-bytes", "1KiB", "--key", "#1"))):
            into = ("--into", "d%d" % i)
            first = lab.load(tree, *args, *into, "--max-rejects", "0", store=store, rc=4)
            assert first["items"] == 4001, first
            o = lab.load(tree, *args, *into, store=store, rc=1)
            assert o["resumed"] and (o["items"], o["rejected"]) == (6002, 1), (name, args, o)
            got = sorted(v for _, v in lab.dump("d%d" % i, store=store))
            assert got == sorted(x.encode() for x in as_objects(table + [["999999", "last", "0", ""]])), (name, args)


@check
def packed_streams_that_pause(lab):
    """A stream that falls silent before it was looked at is unpacked all the same, by one reader."""
    nd = "".join(o + "\n" for o in as_objects(rows(lab, 4000))).encode()
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as t:
        m = tarfile.TarInfo("a")
        m.size = len(nd)
        t.addfile(m, io.BytesIO(nd))
    for i, (data, key) in enumerate(((gzip.compress(nd), "/id"), (zstd(nd), "/id"), (nd.decode().encode("utf-16"), "/id"), (tar.getvalue(), "@path"))):
        for io_kind in ("auto", "threads"):
            into = "p%d%s" % (i, io_kind)
            p = lab.start("run", "-", "--io", io_kind, "--key", key, "--into", into, "--progress", "none", stdin=subprocess.PIPE)
            for piece in (data[:3000], data[3000:9000], data[9000:]):
                p.stdin.write(piece)
                p.stdin.flush()
                time.sleep(1.4)
            p.stdin.close()
            err = p.stderr.read()
            assert p.wait() == 0, (i, io_kind, err)
            assert len(lab.dump(into)) == (1 if key == "@path" else 4000), (i, io_kind)


@check
def progress_of_packed_sources_that_go_on(lab):
    """Progress is in bytes as they lie on disk; a run that goes on has not passed what it has not read."""
    lines = ["%08d %s\n" % (i, "a" * 40) for i in range(400000)]
    nd = "".join('{"n":"%s"}\n' % x[:-1] if i != 60000 else "bad\n" for i, x in enumerate(lines)).encode()
    for name, packed in (("a.gz", gzip.compress(nd, 1)), ("a", nd)):
        args = (lab.path(name, packed), "--format", "ndjson", "--into", name)
        assert lab.load(*args, "--max-rejects", "0", rc=4)["items"] == 60001
        p = lab.run("run", *args, "--chunk", "4096", "--pause-ms", "10", "--progress", "json", rc=1)
        shown = [(o["items"], o["bytes"], o["bytes_total"]) for o in map(json.loads, (x for x in p.err.splitlines() if x.startswith("{")))]
        early = [s for s in shown if s[0] < 200000]
        assert early and all(b < t * 0.6 for _, b, t in early), (name, shown)
        assert [b for _, b, _ in shown] == sorted(b for _, b, _ in shown), (name, shown)


@check
def members_with_holes(lab):
    """Sparse files in a tar are what they were, holes at their end included; a hole costs no time."""
    for name, data, size in (("hole", b"", 1 << 20), ("end", b"data", 3 << 20), ("huge", b"", 7 << 40), ("middle", b"x" * 5000, 0)):
        with open(lab.path("h/" + name, b""), "wb") as f:
            f.write(data)
            if size:
                f.truncate(size)
            else:
                f.seek(1 << 20)
                f.write(b"tail")
    subprocess.run(["tar", "-S", "-C", lab.path("h"), "-cf", lab.path("h.tar"), "hole", "end", "huge", "middle"], check=True)
    o = lab.load(lab.path("h.tar"), "--key", "@path", rc=1)
    assert (o["committed"], o["rejected"]) == (3, 1), o
    for name, value in lab.dump():
        with open(lab.path("h/" + name.decode()), "rb") as f:
            assert value == f.read(), name
    assert [i["code"] for i in lab.lines("items", o["batch"])] == ["PEN1040"]


@check
def members_with_long_names(lab):
    """Names that fill a chunk leave room for the keys that are made."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as t:
        for i in range(200):
            m = tarfile.TarInfo(("%04d/" % i + "/".join(["n" * 200] * 30))[:4094])
            m.size = 4
            t.addfile(m, io.BytesIO(b"%04d" % i))
    for key in ("@content", "@path", "@seq"):
        o = lab.load(lab.path("long.tar", out.getvalue()), "--key", key, "--into", "k" + key[1:], rc=1 if key == "@path" else 0)
        assert o["committed"] == (0 if key == "@path" else 200), (key, o)


@check
def archives_that_are_drained(lab):
    """A signal in the middle of a member that has a chunk to itself leaves the checkpoint where it was."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        for i in range(300):
            m = tarfile.TarInfo("s%d" % i)
            m.size = 10
            t.addfile(m, io.BytesIO(b"0123456789"))
        for i in range(12):
            m = tarfile.TarInfo("b%d" % i)
            m.size = 20 << 20
            t.addfile(m, io.BytesIO(bytes(20 << 20)))
    path, cut = lab.path("a.tar.gz", gzip.compress(out.getvalue(), 1)), 0
    for i in range(8):
        shutil.rmtree(lab.store, ignore_errors=True)
        p = lab.start("run", path, "--progress", "none")
        lab.until_counted(p, 300 + i)
        p.send_signal(signal.SIGINT)
        cut += p.wait() == 130
        p.stderr.close()
        o = lab.load(path)
        assert (o["items"], o["committed"], len(lab.dump())) == (312, 312, 312), (i, o)
    assert cut, "no run was interrupted"
    lab.verify()


@check
def silent_archives_and_streams_that_cannot_come_again(lab):
    """What is whole of a silent archive is stored; a stream without identity does not keep @seq for itself."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        for i in range(40):
            m = tarfile.TarInfo("f%d" % i)
            m.size = 10000
            t.addfile(m, io.BytesIO(b"z" * 10000))
    p = lab.start("run", "-", "--progress", "none", stdin=subprocess.PIPE)
    p.stdin.write(out.getvalue()[:200000])
    p.stdin.flush()
    lab.until_counted(p, 15)
    one = lab.path("one.ndjson", b'{"a":1}\n')
    assert "PEN307" in lab.run("run", one, rc=75).err
    p.send_signal(signal.SIGINT)
    assert p.wait() == 130
    p.stdin.close()
    assert "cancelled" in lab.run("run", one).err
    lab.run("run", "-", stdin=gzip.compress(out.getvalue()), rc=2)
    assert lab.load(one, "--fresh")["items"] == 1
    lab.verify()


@check
def streams_are_told_apart_alike_again(lab):
    """A stream that goes on is what it was, though less of it was committed than was looked at then."""
    table = b"id,name\n" + b"".join(b"%d,n%d\n" % (i, i) for i in range(1, 2000))
    odd = table + b"free text, with, commas\n" + table
    cases = [("odd", odd, ()), ("table", table, ()), ("gzip", gzip.compress(odd), ()), ("zstd", zstd(table), ("--format", "csv")),
             ("utf16", odd.decode().encode("utf-16"), ()), ("latin", odd.replace(b"free", b"fr\xe9e"), ("--encoding", "latin-1"))]
    for name, data, more in cases:
        for least in (1, 30):
            into = "%s%d" % (name, least)
            args = ("run", "-", "--idempotency-key", into, "--into", into, "--progress", "none", *more)
            p = lab.start(*args, "--chunk", str(least), "--pause-ms", "20", stdin=subprocess.PIPE)
            p.stdin.write(data)
            p.stdin.close()
            lab.until_counted(p, least)
            p.kill()
            p.wait()
            p = lab.start(*args, stdin=subprocess.PIPE)
            for piece in (data[:2], data[2:5000], data[5000:]):
                p.stdin.write(piece)
                p.stdin.flush()
                time.sleep(0.1)
            p.stdin.close()
            err = p.stderr.read()
            assert p.wait() == 0, (into, err)
            lab.run("run", "-", "--into", into + "w", "--progress", "none", *more, stdin=data)
            assert lab.dump(into) == lab.dump(into + "w"), into
    # A stream that falls silent right behind what was committed of it goes on with that.
    p = lab.start("run", "-", "--idempotency-key", "q", "--into", "q", "--key", "/a", "--progress", "none", stdin=subprocess.PIPE)
    p.stdin.write(b'{"a":1}\n')
    p.stdin.flush()
    lab.until_counted(p, 1)
    p.kill()
    p = lab.start("run", "-", "--idempotency-key", "q", "--into", "q", "--key", "/a", "--progress", "none", stdin=subprocess.PIPE)
    p.stdin.write(b'{"a":1}\n{"a":2}\n{"a"')
    p.stdin.flush()
    lab.until_counted(p, 2)
    p.stdin.write(b':3}\n')
    p.stdin.close()
    assert p.wait() == 0 and [k for k, _ in lab.dump("q")] == [b"1", b"2", b"3"]
    lab.verify()


@check
def rejects_are_the_same_whatever_the_chunks(lab):
    """What is kept of a record that is too large, and where a threshold stops, does not hang on chunks."""
    sizes = [90000 if i % 137 == 5 else 200000 if i % 137 == 6 else i % 60 for i in range(600)]
    frames = b"".join(struct.pack(">I", n) + bytes([97 + n % 26]) * n for n in sizes)
    table = b"id,t\n" + b"".join(b"%d,%s\n" % (i, b"x" * n) for i, n in enumerate(sizes))
    for name, data, more in (("f", frames, ("--format", "frames:u32be")), ("t", table, ("--format", "csv")), ("l", table, ("--format", "lines"))):
        want = None
        for size in ("1KiB", "4KiB", "256KiB"):
            store, args = lab.path("s-%s-%s" % (name, size)), (lab.path(name, data), *more, "--max-record", "80000", "--chunk-bytes", size)
            for k in range(12):
                o = lab.load(*args, "--max-rejects", k, store=store, rc=(1, 4))
                if o["state"] == "completed":
                    break
                assert o["rejected"] == k + 1, (name, size, o)
            got = [{**i, "batch": "", "correlation_id": ""} for i in lab.lines("items", o["batch"], store=store)], lab.dump(store=store)
            want = want or got
            assert len(got[0]) == 10 and got == want, (name, size, [(x, y) for x, y in zip(got[0], want[0]) if x != y][:1])


@check
def kill_storm_archive(lab):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as t:
        for i in range(4000):
            m = tarfile.TarInfo("d%d/%05d" % (i % 9, i))
            data = lab.random.randbytes(lab.random.randrange(3000))
            m.size = len(data)
            t.addfile(m, io.BytesIO(data))
    storm(lab, max(KILLS // 5, 4), gzip.compress(out.getvalue(), 1), ("--key", "@path"), name="f.tar.gz")


if __name__ == "__main__":
    sys.exit(run.main())
