#!/usr/bin/python3
# trees - directories, item lists, streams that resume, and what becomes of sources, judged from outside
#
#   tests/cli/trees.py PENSTOCK [WORD]      only checks whose name contains WORD
#
# The laboratory, and the environment, are run.py's. PEN_MANY: files of the large tree (5000).
import ctypes
import fnmatch
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run
from run import DENY, KILLS, PENSTOCK, be, check

run.CHECKS.clear()
MANY = int(os.environ.get("PEN_MANY") or 5000)
RENAME_EXCHANGE = 2


def few_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


def keys(lab, dataset):
    return [k for k, _ in lab.dump(dataset)]


def naive(pattern, path):
    """What fnmatch knows: names, and * that stops at slashes because there is none in a name."""
    return fnmatch.fnmatchcase(os.path.basename(path), pattern)


@check
def include_exclude(lab):
    files = ["a.txt", "b.log", "c.txt~", ".d.txt", "src/a.txt", "src/b.log", "src/deep/a.txt", "src/deep/x/y.txt", "tmp/a.txt",
             "src/tmp/k.txt", "tmpfile.txt", "x[1].txt", "src/with space.txt", "docs/tmp"]
    for name in files:
        lab.path("t/" + name, name.encode())
    t = lab.path("t")
    n = 0

    def got(*args):
        nonlocal n
        n += 1
        lab.load(t, "--key", "@path", "--into", "d%d" % n, *args)
        try:
            return [k.decode() for k in keys(lab, "d%d" % n)]
        except Exception:
            return []

    for pattern in ("*.txt", "*.log", "?.txt", "[ab].*", "[!a]*", "*", "a*t"):
        want = sorted(f for f in files if naive(pattern, f))
        assert got("--include", pattern) == want, pattern
        # A directory that fits is pruned too: with these, only where its name fits.
        want = sorted(f for f in files if not any(naive(pattern, part) for part in f.split("/")))
        assert got("--exclude", pattern) == want, pattern
    assert got("--include", "src/**") == sorted(f for f in files if f.startswith("src/"))
    assert got("--include", "src/*") == ["src/a.txt", "src/b.log", "src/with space.txt"]
    assert got("--include", "**/a.txt", "--exclude", "/tmp") == ["a.txt", "src/a.txt", "src/deep/a.txt"]
    assert got("--include", "*.txt", "--include", "*.log", "--exclude", "src/deep/**", "--exclude", "tmp/", "--exclude", ".*") == \
        sorted(["a.txt", "b.log", "src/a.txt", "src/b.log", "src/with space.txt", "tmpfile.txt", "x[1].txt"])
    assert "docs/tmp" in got("--exclude", "tmp/"), "a file is no directory"
    assert "tmp/a.txt" not in got("--exclude", "tmp/")
    assert got("--include", "x\\[1].txt") == ["x[1].txt"]
    for bad in ("", "[a", "!x", "a\\", "[[:alpha:]]", "src/"):
        assert bad in lab.run("run", t, "--include=" + bad, rc=2).err, bad
    assert "directory" in lab.run("run", lab.path("t/a.txt"), "--include", "*.txt", rc=2).err
    lab.verify()


@check
def patterns_are_identity(lab):
    for i in range(4):
        lab.path("t/%d.%s" % (i, "txt" if i % 2 else "log"), b"x")
    t = lab.path("t")
    batches = [lab.load(t, "--key", "@path", *args)["batch"] for args in
               ([], ["--include", "*.txt"], ["--include", "*.log"], ["--exclude", "*.txt"], ["--follow-symlinks"])]
    assert len(set(batches)) == 5
    assert lab.load(t, "--key", "@path", "--include", "*.log")["batch"] == batches[2]
    # A file that is left out may change as it likes.
    lab.path("t/9.txt", b"new")
    assert lab.load(t, "--key", "@path", "--include", "*.log")["batch"] == batches[2]
    lab.verify()


@check
def links(lab):
    lab.path("t/a/b/f", b"f")
    lab.path("t/g", b"g")
    lab.path("out/secret", b"SECRET")
    os.symlink("a", lab.path("t/la"))
    os.symlink("g", lab.path("t/lg"))
    os.symlink("..", lab.path("t/a/up"))
    os.symlink("../../g", lab.path("t/a/b/h"))
    os.symlink("../out", lab.path("t/outdir"))
    os.symlink("../out/secret", lab.path("t/outfile"))
    os.symlink(lab.path("t/g"), lab.path("t/absolute"))
    os.symlink("nowhere", lab.path("t/dead"))
    os.symlink("self", lab.path("t/self"))
    t = lab.path("t")
    o = lab.load(t, "--key", "@path", "--into", "off")
    assert keys(lab, "off") == [b"a/b/f", b"g"] and o["err"].count("symbolic links") == 1 and "9 symbolic links" in o["err"], o["err"]
    for io in ("auto", "threads"):
        o = lab.load(t, "--key", "@path", "--into", "on" + io, "--follow-symlinks", "--io", io, rc=1)
        assert dict(lab.dump("on" + io)) == {b"a/b/f": b"f", b"a/b/h": b"g", b"g": b"g", b"la/b/f": b"f", b"la/b/h": b"g", b"lg": b"g"}
        # a/up and la/up both lead to the root, which they lie in.
        assert "2 symbolic links lead to a directory they lie in" in o["err"], o["err"]
        rows = {r["source"][len(t) + 1:]: r["code"] for r in lab.lines("items", "@last")}
        assert rows == {"outdir": "PEN1070", "outfile": "PEN1070", "absolute": "PEN1070", "dead": "PEN1048", "self": "PEN1049"}, rows
    # Where openat2 is denied, links cannot be followed safely, and are not.
    for errno in ("1", "38"):
        o = lab.load(t, "--key", "@path", "--into", "no" + errno, "--follow-symlinks", rc=1, before=(DENY, errno, "openat2", "--"))
        assert keys(lab, "no" + errno) == [b"a/b/f", b"g"], (errno, keys(lab, "no" + errno))
    assert b"SECRET" not in open(os.path.join(lab.store, "data.mdb"), "rb").read()
    lab.verify()


def swap_race(lab, seconds, deny=(), follow=False):
    """A thread exchanges a directory for a link to outside, over and over, while runs read. Returns (exchanges, runs, refusals)."""
    for i in range(40):
        lab.path("t/d/f%02d" % i, b"inside%d" % i)
        lab.path("out/f%02d" % i, b"OUTSIDE%d" % i)
    os.symlink("../out" if not follow else lab.path("out"), lab.path("t/swap"))
    a, b = lab.path("t/d").encode(), lab.path("t/swap").encode()
    libc = ctypes.CDLL(None, use_errno=True)
    stop, swaps = threading.Event(), [0]

    def exchange():
        while not stop.is_set():
            assert libc.renameat2(-100, a, -100, b, RENAME_EXCHANGE) == 0
            swaps[0] += 1

    thread = threading.Thread(target=exchange)
    thread.start()
    runs = refused = 0
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            args = [["--io", "auto"], ["--io", "threads"], ["--format", "lines", "--key", "@content"]][runs % 3]
            key = [] if "--key" in args else ["--key", "@path"]
            o = lab.load(lab.path("t"), *key, *args, *(["--follow-symlinks"] if follow else []), "--fresh", "--into", "r%d" % (runs % 3),
                         rc=(0, 1), before=deny)
            runs += 1
            refused += o["rejected"]
    finally:
        stop.set()
        thread.join()
    return swaps[0], runs, refused


@check
def swapped_directories_lead_nowhere(lab):
    swaps, runs, refused = 0, 0, 0
    for deny in ((), (DENY, "1", "openat2", "--")):
        s, r, n = swap_race(lab, 4, deny)
        swaps, runs, refused = swaps + s, runs + r, refused + n
        shutil.rmtree(lab.path("t"))
    s, r, n = swap_race(lab, 3, follow=True)
    data = open(os.path.join(lab.store, "data.mdb"), "rb").read()
    assert b"OUTSIDE" not in data, "bytes from outside the tree were stored"
    # The control: the race was run, and met.
    assert b"inside" in data and swaps > 10000 and runs > 10 and refused > 0, (swaps, runs, refused)
    assert s > 1000 and n > 0, (s, r, n)
    lab.verify()


@check
def strange_names(lab):
    names = [b"new\nline", b"\xff\xfe", b"n" * 255, b"-dash", b" ", b"tab\t", b"a\\b", b"'q\"", "é".encode(), b"*", b"[x]", b"..x", b"@seq"]
    os.makedirs(lab.path("t/sub\n\xff"))
    for d in (b"", "sub\n\xff/".encode()):
        for n in names:
            with open(lab.path("t").encode() + b"/" + d + n, "wb") as f:
                f.write(n)
    o = lab.load(lab.path("t"), "--key", "@path")
    assert o["committed"] == 2 * len(names)
    want = sorted(names + ["sub\n\xff/".encode() + n for n in names])
    assert keys(lab, "default") == want
    lab.run("items", "@last", "--json")
    assert lab.load(lab.path("t"), "--key", "@path")["batch"] == o["batch"]
    lab.verify()


def deep(lab, levels, name=b"d"):
    """A path far longer than the kernel takes, made from the inside."""
    os.mkdir(lab.path("t"))
    fd = os.open(lab.path("t"), os.O_RDONLY)
    for i in range(levels):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
        if i % 100 == 99:
            f = os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=fd)
            os.write(f, b"%d" % (i + 1))
            os.close(f)
    os.close(fd)


def remove_deep(path):
    subprocess.run(["rm", "-rf", path], check=True)


@check
def deep_trees(lab):
    deep(lab, 1000)
    o = lab.load(lab.path("t"), "--into", "d", "--format", "files", preexec_fn=few_files)
    assert o["committed"] == 10 and sorted(int(v) for _, v in lab.dump("d")) == list(range(100, 1001, 100))
    remove_deep(lab.path("t"))
    # Twice too long: what lies too deep is one rejected item, and the run ends.
    deep(lab, 40, b"x" * 200)
    o = lab.load(lab.path("t"), "--into", "x", rc=1, preexec_fn=few_files)
    assert o["rejected"] == 1, o
    assert lab.load(lab.path("t"), "--into", "x", rc=1)["batch"] == o["batch"]
    remove_deep(lab.path("t"))
    lab.verify()


@check
def many_files_few_descriptors(lab):
    for i in range(200):
        os.makedirs(lab.path("t/%03d" % i))
    for i in range(MANY):
        with open(lab.path("t/%03d/%05d" % (i % 200, i)), "wb") as f:
            f.write(b"%d" % i)
    for io in ("auto", "threads"):
        o = lab.load(lab.path("t"), "--key", "@path", "--into", io, "--io", io, preexec_fn=few_files)
        assert o["committed"] == MANY, o
    assert lab.dump("auto") == lab.dump("threads")
    lab.verify()


@check
def item_lists(lab):
    f = lab.path("l", b"one\r\n\n two \n{\"id\":1}\nlast")
    o = lab.load("--items", f, "--into", "l")
    assert [v for _, v in lab.dump("l")] == [b"one", b"", b" two ", b'{"id":1}', b"last"]
    assert lab.load("--items", f, "--into", "l")["batch"] == o["batch"]
    z = lab.path("z", b"a\nb\0\0c\r\0")
    lab.load("--items", z, "-0", "--into", "z")
    assert [v for _, v in lab.dump("z")] == [b"a\nb", b"", b"c\r"]
    lab.load("--items", "-", "--null", "--into", "p", stdin=b"x\0y")
    assert [v for _, v in lab.dump("p")] == [b"x", b"y"]
    j = lab.path("j", b'{"id":"a"}\n\n{"id":"b"}\nbad\n')
    o = lab.load("--items", j, "--key", "/id", "--into", "j", rc=1)
    assert (o["committed"], o["rejected"]) == (2, 1) and keys(lab, "j") == [b"a", b"b"]
    big = lab.path("b", b"\0".join(b"%d\n" % i + b"y" * (i % 1000) for i in range(20000)) + b"\0" + b"L" * 600000)
    o = lab.load("--items", big, "-0", "--into", "b", "--chunk-bytes", "64KiB")
    assert o["committed"] == 20001 and lab.dump("b")[-1][1] == b"L" * 600000
    lab.path("a@b*", b"1\n")
    assert lab.load("--items", lab.path("a@b*"), "--into", "s")["committed"] == 1, "its name is no pattern"
    lab.run("run", "--items", f, f, rc=2)
    lab.run("run", "-0", f, rc=2)
    lab.run("run", "--items", lab.dir, rc=2)
    lab.run("run", "--items", f, "--format", "files", rc=2)
    lab.run("run", "--items", lab.path("missing"), rc=3)
    lab.run("run", rc=2)
    lab.verify()


def half(lab, data, cut, *args, how="kill"):
    p = subprocess.Popen([PENSTOCK, "--store", lab.store, "run", "-", "--idempotency-key", "k", "--progress", "none", *args],
                         stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    p.stdin.write(data[:cut])
    p.stdin.flush()
    time.sleep(0.3)
    p.send_signal(signal.SIGKILL if how == "kill" else signal.SIGINT)
    p.wait()
    p.stdin.close()


@check
def streams_resume(lab):
    data = lab.records(20000).encode()
    args = ("--key", "/id")
    lab.load("-", *args, stdin=data, store=os.path.join(lab.dir, "whole"))
    want = lab.digest(store=os.path.join(lab.dir, "whole"))
    for how, more in (("kill", ()), ("int", ("--chunk-bytes", "4KiB")), ("kill", ("--io", "threads"))):
        shutil.rmtree(lab.store, ignore_errors=True)
        half(lab, data, len(data) // 2, *args, *more, how=how)
        before = lab.digest()
        done = json.loads(lab.run("status", "@last", "--json").stdout)
        assert 0 < done["committed"] < 20000, done
        for other in (b"X" + data[1:], data[:1000] + b"!" + data[1001:], data[:done["checkpoint"]["offset"] - 1], b""):
            e = lab.run("run", "-", *args, "--idempotency-key", "k", stdin=other, rc=3).err
            assert "PEN308" in e and "nothing was changed" in e, e
            assert lab.digest() == before
        o = lab.load("-", *args, "--idempotency-key", "k", "--chunk-bytes", "16KiB", stdin=data)
        assert o["resumed"] and o["items"] == 20000 and o["duplicates"] == 0, o
        assert lab.digest() == want
        # Complete: nothing is read, whatever comes.
        again = lab.load("-", *args, "--idempotency-key", "k", stdin=b"")
        assert (again["batch"], again["items"]) == (o["batch"], 20000)
        lab.verify()
    # Another key, and no key, are other batches.
    assert lab.load("-", *args, "--idempotency-key", "k2", stdin=data)["batch"] != o["batch"]
    assert lab.load("-", *args, stdin=data)["batch"] != o["batch"]


@check
def streams_stopped_inside_a_chunk(lab):
    data = b"\xef\xbb\xbf" + b"".join(b'{"n":%d}\n' % i if i % 100 < 99 else b"bad %d\n" % i for i in range(5000))
    for args in (("--idempotency-key", "k"), ("--format", "ndjson", "--idempotency-key", "k", "--key", "@offset")):
        stopped_inside_a_chunk(lab, data, args)
        shutil.rmtree(lab.store)


def stopped_inside_a_chunk(lab, data, args):
    o = lab.load("-", *args, "--max-rejects", "2", stdin=data, rc=4)
    assert o["items"] == 300
    for at in (1, 5, 500, 1700):
        other = data[:at] + b"~" + data[at + 1:]
        assert "PEN308" in lab.run("run", "-", *args, stdin=other, rc=3).err, at
    o = lab.load("-", *args, "--max-rejects", "10", stdin=data, rc=4)
    assert o["items"] == 1100
    for at in (1, 500, 8000):
        other = data[:at] + b"~" + data[at + 1:]
        assert "PEN308" in lab.run("run", "-", *args, stdin=other, rc=3).err, at
    o = lab.load("-", *args, stdin=data, rc=1)
    assert (o["items"], o["rejected"], o["resumed"]) == (5000, 50, True)
    assert [v for _, v in lab.dump()] == [x for x in data[3:].splitlines() if x.startswith(b"{")]
    lab.verify()


@check
def streams_with_large_records(lab):
    big = lambda c, n: b'{"s":"' + c * n + b'"}\n'
    data = b"".join([big(b"a", 10), big(b"b", 900000), big(b"c", 3000000), big(b"d", 20), big(b"e", 700000)] + [big(b"f", i) for i in range(3000)])
    args = ("--max-record", "1MiB", "--format", "ndjson")
    lab.load("-", *args, stdin=data, store=os.path.join(lab.dir, "whole"), rc=1)
    for cut in (2000000, 3950000, 4700000, len(data) - 1000):
        shutil.rmtree(lab.store, ignore_errors=True)
        half(lab, data, cut, *args)
        o = lab.load("-", *args, "--idempotency-key", "k", stdin=data, rc=1)
        assert (o["items"], o["rejected"]) == (3005, 1), (cut, o)
        assert lab.digest() == lab.digest(store=os.path.join(lab.dir, "whole"))
        lab.verify()


@check
def fifos_with_a_key(lab):
    data = lab.records(8000).encode()
    for n, cut in ((1, len(data) // 2), (2, None)):
        fifo = lab.path("fifo%d" % n)
        os.mkfifo(fifo)
        p = subprocess.Popen([PENSTOCK, "--store", lab.store, "run", fifo, "--idempotency-key", "k", "--json", "--progress", "none"],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        with open(fifo, "wb") as f:
            f.write(data[:cut])
            f.flush()
            if cut:
                time.sleep(0.3)
                p.kill()
        out, err = p.communicate()
    o = json.loads(out)
    assert o["resumed"] and o["items"] == 8000, (o, err)
    lab.verify()


@check
def sources_deleted(lab):
    f, g = lab.path("f", b"1\n"), lab.path("g", b"2\n")
    o = lab.load(f, g, "--on-success", "delete")
    assert not os.path.exists(f) and not os.path.exists(g) and "2 source files were deleted" in o["err"], o["err"]
    # Not before it is complete, not with rejects, not with a threshold.
    bad = lab.path("bad", b"{}\nbad\n")
    lab.load(bad, "--format", "ndjson", "--into", "b", "--on-success", "delete", rc=1)
    lab.load(bad, "--format", "ndjson", "--into", "b2", "--on-success", "delete", "--max-rejects", "0", rc=4)
    o = lab.load(bad, "--format", "ndjson", "--into", "b3", "--on-success", "delete", "--allow-rejects")
    assert os.path.exists(bad) and "kept" in o["err"], o["err"]
    # Complete before; asked for now.
    h = lab.path("h", b"1\n")
    first = lab.load(h, "--into", "h")
    assert lab.load(h, "--into", "h", "--on-success", "keep")["batch"] == first["batch"] and os.path.exists(h)
    assert lab.load(h, "--into", "h", "--on-success", "delete")["batch"] == first["batch"] and not os.path.exists(h)
    # A link is kept, and so is what it leads to.
    real = lab.path("real", b"1\n")
    os.symlink("real", lab.path("link"))
    o = lab.load(lab.path("link"), "--into", "l", "--on-success", "delete")
    assert os.path.exists(real) and os.path.islink(lab.path("link")) and "symbolic link" in o["err"]
    lab.load("-", "--into", "s", "--on-success", "delete", stdin=b"1\n")
    for wrong in ("remove", "move", "move:", "delete:x"):
        lab.run("run", real, "--on-success", wrong, rc=2)
    assert not os.listdir(os.path.join(lab.store, "staging"))
    lab.verify()


@check
def sources_moved(lab):
    t, done = lab.path("t"), lab.path("done/here")
    os.mkdir(lab.path("done"))
    for name in ("a", "x/b", "x/y/c", "x/skip.log"):
        lab.path("t/" + name, name.encode())
    os.symlink("a", lab.path("t/link"))
    args = (t, "--key", "@path", "--exclude", "*.log", "--on-success", "move:" + done)
    o = lab.load(*args)
    assert o["committed"] == 3 and "3 source files were moved" in o["err"], o["err"]
    found = sorted(os.path.relpath(os.path.join(d, n), lab.dir) for d, _, ns in os.walk(lab.dir) for n in ns if "store" not in d)
    assert found == ["done/here/a", "done/here/x/b", "done/here/x/y/c", "t/link", "t/x/skip.log"], found
    # What is there already is never written over.
    lab.path("t/a", b"another a")
    lab.path("t/z", b"z")
    o = lab.load(*args)
    assert open(done + "/a").read() == "a" and open(t + "/a").read() == "another a" and os.path.exists(done + "/z")
    assert "1 source file was kept, the first is a" in o["err"], o["err"]
    # Another file system.
    if os.stat("/dev/shm").st_dev != os.stat(lab.dir).st_dev:
        away = "/dev/shm/penstock-test-%d" % os.getpid()
        try:
            o = lab.load(t, "--into", "away", "--exclude", "*.log", "--on-success", "move:" + away)
            assert "another file system" in o["err"] and os.path.exists(t + "/a"), o["err"]
        finally:
            shutil.rmtree(away, ignore_errors=True)
    assert "lies in the source" in lab.run("run", t, "--into", "in", "--on-success", "move:" + t + "/done", rc=2).err
    # Relative to where the command stands.
    lab.path("q", b"q\n")
    lab.run("run", "q", "--into", "q", "--on-success", "move:rel", cwd=lab.dir)
    assert os.path.exists(lab.path("rel/q"))
    lab.verify()


@check
def planning_touches_nothing(lab):
    if "plan" not in lab.run("--help").stdout.decode():
        return
    for name in ("a", "b/c"):
        lab.path("t/" + name, b"x")
    f = lab.path("f", b"1\n")
    lab.load(f)  # complete before: a run would deal with it at once
    for what in ("delete", "move:" + lab.path("done")):
        for source in (lab.path("t"), f):
            lab.run("plan", source, "--on-success", what, rc=(0, 1))
            lab.run("plan", source, "--on-success", what, store=os.path.join(lab.dir, "none"), rc=(0, 1, 3))
    assert os.path.exists(f) and os.path.exists(lab.path("t/b/c")) and not os.path.exists(lab.path("done"))
    assert not os.listdir(os.path.join(lab.store, "staging"))
    # The control: a run does.
    lab.load(f, "--on-success", "delete")
    assert not os.path.exists(f)


@check
def changed_files_are_kept(lab):
    for i in range(200):
        lab.path("t/%03d" % i, b"x" * 100)
    p = subprocess.Popen([PENSTOCK, "--store", lab.store, "run", lab.path("t"), "--key", "@path", "--chunk", "10", "--pause-ms", "60", "--on-success",
                          "delete", "--progress", "none"], stderr=subprocess.PIPE)
    time.sleep(0.6)
    with open(lab.path("t/000"), "ab") as f:
        f.write(b"more")  # read already, surely
    lab.path("t/new", b"arrived later")
    err = p.communicate()[1].decode()
    assert p.returncode == 0, err
    assert sorted(os.listdir(lab.path("t"))) == ["000", "new"] and "not the file that was read" in err, (os.listdir(lab.path("t")), err)
    o = lab.load(lab.path("t"), "--key", "@path", "--on-success", "delete")
    assert o["committed"] == 2 and not os.listdir(lab.path("t"))
    assert dict(lab.dump())[b"000"] == b"x" * 100 + b"more"
    lab.verify()


@check
def killed_while_deleting(lab):
    """Whenever the run dies, the same command ends with every item stored once and every file gone."""
    n, died, caught = 1500, 0, 0
    names = ["%02d/%04d" % (i % 20, i) for i in range(n)]
    kills = max(6, KILLS // 4)
    while died < kills:
        shutil.rmtree(lab.store, ignore_errors=True)
        for name in names:
            lab.path("t/" + name, name.encode())
        lab.path("f", b"a\nb\n")
        command = [PENSTOCK, "--store", lab.store, "run", lab.path("t"), "--format", "files", "--on-success", "delete", "--json", "--progress", "none"]
        for _ in range(30):
            p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            wait = time.monotonic() + lab.random.uniform(0.005, 0.12)
            while time.monotonic() < wait and p.poll() is None:
                # Half of the kills are to hit the deleting.
                if died % 2 and not os.path.exists(lab.path("t/" + names[0])):
                    break
                time.sleep(0.0005)
            p.kill()
            out, err = p.communicate()
            if p.returncode == 0:
                break
            left = sum(len(x) for _, _, x in os.walk(lab.path("t")))
            caught += 0 < left < n
            died += 1
        o = json.loads(out) if p.returncode == 0 and out else lab.load(*command[4:-3])
        left = [x for _, _, x in os.walk(lab.path("t")) if x]
        values = sorted(v.decode() for _, v in lab.dump())
        assert values == sorted(names), (len(values), o)
        assert not left and not os.listdir(os.path.join(lab.store, "staging")), (left, o, os.listdir(os.path.join(lab.store, "staging")))
        lab.verify()
    assert caught, "no kill hit the deleting: the check has shown nothing"


@check
def new_files_beside_those_of_a_dead_run(lab):
    """A run that finds another's files to delete deletes them, and reads what came since."""
    command = ["run", lab.path("t"), "--key", "@path", "--on-success", "delete", "--progress", "none"]
    for attempt in range(20):
        shutil.rmtree(lab.store, ignore_errors=True)
        for i in range(3000):
            lab.path("t/%04d" % i, b"old")
        p = lab.start(*command)
        while p.poll() is None and os.path.exists(lab.path("t/0000")):
            pass
        p.kill()
        if p.wait() and os.path.exists(lab.path("t/2999")):
            break
    else:
        raise AssertionError("no kill hit the deleting: the check has shown nothing")
    lab.path("t/new", b"new")
    assert lab.load(*command[1:-2])["items"] == 1
    assert dict(lab.dump())[b"new"] == b"new" and len(lab.dump()) == 3001 and not os.listdir(lab.path("t"))
    # Nothing is left to read: the batch that read it is named.
    lab.run(*command)
    lab.verify()


if __name__ == "__main__":
    sys.exit(run.main())
