# faults - what goes wrong around a run: the disk, the sources, the streams, the user's patience
#
# Checks of run.py (see lab.py). Faults of system calls are injected by strace; where it may not trace, they are skipped.
# Every check ends with `penstock verify`, and shows by a control that it can fail.
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

from lab import PENSTOCK, Skip, check

UNTRACED = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")  # not under a tracer


def strace(lab, call, what):
    """Arguments before a command that make its calls fail, and a function that counts how often they did."""
    log = lab.path("strace.log")
    probe = subprocess.run(["strace", "-qq", "-o", log, "true"], stderr=subprocess.PIPE) if shutil.which("strace") else None
    if not probe or probe.returncode:
        raise Skip("strace cannot trace here" if probe else "no strace")
    before = ("strace", "-f", "-qq", "-o", log, "-e", "trace=" + call, "-e", "signal=none", "-e", "inject=%s:%s" % (call, what))

    def injected():
        with open(log) as f:
            return sum("INJECTED" in line for line in f)

    return before, injected


def for_others(lab):
    """Moves the check to a place that another user reaches; only root can become one."""
    if os.getuid():
        raise Skip("needs root, to become another user")
    lab.end()
    lab.dir = tempfile.mkdtemp(prefix="penstock-other-", dir="/tmp")
    lab.store = os.path.join(lab.dir, "store")
    os.chmod(lab.dir, 0o755)
    return {"user": 65534, "env": dict(os.environ, HOME=lab.dir)}


def versions(n, version):
    """Records that say which version of their file they belong to; all versions have the same length."""
    return "".join('{"id":%d,"version":%d,"text":"%s"}\n' % (i, version, "x" * 100) for i in range(100000, 100000 + n))


def rest(lab, p):
    """Lets the run end: exit status, stderr."""
    err = p.communicate(timeout=120)[1].decode("utf-8", "replace")
    return p.returncode, err


# ---- the disk ------------------------------------------------------------------------------------


@check
def disk_fails_under_commit(lab):
    f = lab.path("f.ndjson", lab.records(3000))
    args = (f, "--key", "/id", "--into", "d", "--chunk", "300")
    whole = os.path.join(lab.dir, "whole")
    lab.load(*args, store=whole)
    broken = 0
    for call in ("fdatasync", "writev", "pwrite64"):
        for nth in (1, 2, 4, 7):
            shutil.rmtree(lab.store, ignore_errors=True)
            lab.load(lab.path("g", "1\n"), "--format", "lines")  # the store is there: what fails is a batch's commit
            before, injected = strace(lab, call, "error=EIO:when=%d" % nth)
            p = lab.run("run", *args, "--progress", "none", before=before, rc=(0, 74), env=UNTRACED)
            assert injected(), (call, nth)
            if p.returncode == 0:
                continue  # a call that is no commit's: the note of who runs the batch
            broken += 1
            assert "error[PEN411]" in p.err and "next start" in p.err, p.err
            # A refused meta page may look altered until the next commit, where the file did not grow.
            p = lab.verify(rc=(0, 65))
            assert p.returncode == 0 or p.stdout.count(b"\n") == 1 and b"is altered: it hides transaction" in p.stdout, p.stdout
            o = lab.load(*args)
            assert o["committed"] == 3000 and lab.digest(dataset="d") == lab.digest(dataset="d", store=whole), (call, nth, o)
            lab.verify()
    assert broken >= 10, "the control: most of these calls are a commit's, %d were noticed" % broken


@check
def page_that_cannot_be_read(lab):
    """A read error under the store's map comes as SIGBUS."""
    f = lab.path("f.ndjson", lab.records(20000))
    p = lab.start("run", f, "--chunk", "100", "--pause-ms", "5")
    lab.until_counted(p)
    p.send_signal(signal.SIGBUS)
    status, err = rest(lab, p)
    # The sanitizer keeps its own handler.
    assert (status == 74 and "error[PEN411]" in err and "verify" in err) or "AddressSanitizer" in err, (status, err)
    lab.verify()
    o = lab.load(f)
    assert o["resumed"] and o["items"] == 20000, o
    lab.verify()


@check
def file_size_limit(lab):
    f = lab.path("f.ndjson", lab.records(20000))
    limit = lambda: __import__("resource").setrlimit(__import__("resource").RLIMIT_FSIZE, (1 << 20, 1 << 20))
    p = lab.run("run", f, preexec_fn=limit, rc=74)
    assert "error[PEN411]" in p.err, p.err
    assert lab.load(f)["items"] == 20000
    lab.verify()


@check
def network_file_system(lab):
    f = lab.path("f.ndjson", '{"a":1}\n')
    lab.load(f, store=os.path.join(lab.dir, "local"))
    for name, magic in (("nfs", "6969"), ("smb2", "424d53fe"), ("cifs", "424d53ff"), ("9p", "97190201")):
        before, injected = strace(lab, "statfs", "poke_exit=@arg2=" + magic.ljust(16, "0"))
        for store in (lab.store, os.path.join(lab.dir, "local")):
            p = lab.run("run", f, store=store, before=before, rc=3, env=UNTRACED)
            assert injected() and "error[PEN404]" in p.err and "local disk" in p.err, (name, p.err)
        assert not os.path.exists(lab.store), "nothing is made there"
    before, injected = strace(lab, "statfs", "poke_exit=@arg2=" + "53ef".ljust(16, "0"))  # the control: ext4
    lab.load(f, before=before, env=UNTRACED)
    assert injected()
    lab.verify()


@check
def store_that_cannot_be_written(lab):
    other = for_others(lab)
    f = lab.path("f.ndjson", '{"a":1}\n')
    os.chmod(f, 0o644)
    lab.load(f)
    for args in (("run", f, "--into", "x"), ("drop", "default", "--yes"), ("status",), ("get", "default", "0")):
        p = lab.run(*args, rc=3, **other)  # a store belongs to its user alone
        assert "error" in p.err, p.err
    p = lab.run("run", f, store=os.path.join(lab.dir, "mine"), rc=3, **other)
    assert "error" in p.err and not os.path.exists(os.path.join(lab.dir, "mine")), p.err
    lab.verify()


@check
def read_only_mount(lab):
    mount = lab.path("m")
    os.mkdir(mount)
    if os.getuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", mount], stderr=subprocess.DEVNULL).returncode:
        raise Skip("nothing can be mounted here")
    try:
        f = lab.path("f.ndjson", '{"a":1}\n')
        store = os.path.join(mount, "store")
        lab.load(f, store=store)
        subprocess.run(["mount", "-o", "remount,ro", mount], check=True)
        for args in (("run", f, "--into", "x"), ("drop", "default", "--yes")):
            p = lab.run(*args, store=store, rc=3)
            assert "error[PEN413]" in p.err and "read-only" in p.err, p.err
        p = lab.run("run", f, store=os.path.join(mount, "new"), rc=3)
        assert "error" in p.err and "ead-only" in p.err, p.err
        subprocess.run(["mount", "-o", "remount,rw", mount], check=True)
        assert lab.load(f, "--into", "x", store=store)["committed"] == 1
        lab.verify(store=store)
    finally:
        subprocess.run(["umount", "-l", mount])


# ---- the sources ---------------------------------------------------------------------------------


def append(f):
    with open(f, "ab") as out:
        out.write(versions(100, 2).encode())


def shrink(f):
    os.truncate(f, 1000)


def rewrite(f):
    with open(f, "r+b") as out:
        out.write(versions(ROWS, 2).encode())


def replace(f):
    with open(f + ".new", "wb") as out:
        out.write(versions(ROWS, 2).encode())
    os.rename(f + ".new", f)


def remove(f):
    os.unlink(f)


ROWS = 30000


@check
def file_changes_while_it_is_read(lab):
    for change, noticed in ((append, True), (shrink, True), (rewrite, True), (replace, False), (remove, False)):
        name = change.__name__
        f = lab.path(name + ".ndjson", versions(ROWS, 1))
        shutil.rmtree(lab.store, ignore_errors=True)
        p = lab.start("run", f, "--key", "/id", "--chunk", "100", "--pause-ms", "3")
        lab.until_counted(p)
        change(f)
        status, err = rest(lab, p)
        rows = [json.loads(v) for _, v in lab.dump()]
        assert {r["version"] for r in rows} == {1} and [r["id"] for r in rows] == list(range(100000, 100000 + len(rows))), name
        if not noticed:  # another file took its name: the one that was opened is still whole
            assert status == 0 and len(rows) == ROWS, (name, status, err)
        else:
            assert status == 1 and 0 < len(rows) < ROWS, (name, status, len(rows), err)
            item, = lab.lines("items", "@last")
            size = len(versions(1, 1))
            assert (item["code"], item["source"], item["offset"] // size) == ("PEN1047", f, len(rows)), item
            assert f in err and "at byte %d" % item["offset"] in err, err
            o = lab.load(f, "--key", "/id", rc=(0, 1))  # complete, so this is a new batch of what is there now
            assert not o["resumed"] and "changed" in o["err"], o
        lab.verify()


@check
def tree_changes_while_it_is_read(lab):
    count = 1200  # in one directory, so that all have been looked at when some change
    for change, code in ((append, "PEN1047"), (shrink, "PEN1047"), (replace, "PEN1047"), (remove, "PEN1048")):
        tree = lab.path("t-" + change.__name__)
        # Every 35th is too large for a chunk that holds several.
        body = {(v, large): ("%d " % v * (150000 if large else 1000)).encode() for v in (1, 2) for large in (True, False)}
        for i in range(count):
            lab.path("%s/f%04d" % (tree, i), body[1, i % 35 == 4])
        shutil.rmtree(lab.store, ignore_errors=True)
        p = lab.start("run", tree, "--key", "@path", "--chunk", "2", "--chunk-bytes", "1KiB", "--pause-ms", "2")
        lab.until_counted(p, 10)
        for i in range(count - 300, count, 7):
            f = "%s/f%04d" % (tree, i)
            if change is replace:
                lab.path(f + ".new", body[2, i % 35 == 4])
                os.rename(f + ".new", f)
            else:
                change(f)
        status, err = rest(lab, p)
        values = [v for _, v in lab.dump()]
        items = lab.lines("items", "@last")
        assert len(values) + len(items) == count and items, (change.__name__, len(values), len(items))
        # An item is a file as it was at one moment, never a mixture; a file read before it changed is the old one.
        whole = set(body.values())
        whole |= {b[:1000] for b in whole} | {b + versions(100, 2).encode() for b in whole}
        assert set(values) <= whole, (change.__name__, [(len(v), v[:60]) for v in set(values) - whole])
        assert {i["code"] for i in items} <= {code}, items[:3]
        assert all(i["source"].startswith(tree) for i in items) and status == 1, (status, err)
        lab.verify()


@check
def tree_vanishes_while_it_is_read(lab):
    count, tree, body = 1500, lab.path("t"), b"whole " * 100
    for i in range(count):
        lab.path("t/d%02d/f%04d" % (i // 100, i), body)
    p = lab.start("run", tree, "--key", "@path", "--chunk", "2", "--chunk-bytes", "1KiB", "--pause-ms", "2")
    lab.until_counted(p, 10)
    shutil.rmtree(tree)
    status, err = rest(lab, p)
    rows, items = lab.dump(), lab.lines("items", "@last")
    assert status == 1 and rows and items, (status, len(rows), len(items), err)
    assert {v for _, v in rows} == {body} and {i["code"] for i in items} == {"PEN1048"}, items[0]
    assert json.loads(lab.run("status", "@last", "--json").stdout)["state"] == "completed"
    lab.run("run", tree, "--key", "@path", rc=3)
    lab.verify()


@check
def tree_changes_while_unfinished(lab):
    tree = lab.path("t")
    for i in range(600):
        lab.path("t/f%03d" % i, b"1" * 500)
    args = ("run", tree, "--key", "@path", "--chunk", "2", "--chunk-bytes", "1KiB")

    def half():
        p = lab.start(*args, "--pause-ms", "5")
        lab.until_counted(p, 20)
        p.kill()
        p.wait()

    half()
    o = json.loads(lab.run(*args, "--json", "--progress", "none").stdout)  # the control: as it was, it goes on
    assert o["resumed"] and o["committed"] == 600, o
    shutil.rmtree(lab.store)
    half()
    lab.path("t/f000", b"2" * 500)
    assert "--fresh" in lab.run(*args, rc=3).err
    o = json.loads(lab.run(*args, "--fresh", "--json", "--progress", "none").stdout)
    assert not o["resumed"] and o["committed"] == 600, o
    assert dict(lab.dump())[b"f000"] == b"2" * 500
    lab.verify()


@check
def sources_that_are_none(lab):
    for a, b in (("a", "b"), ("b", "a"), ("self", "self")):
        os.symlink(lab.path(b), lab.path(a))
    lab.path("d/f", b"x")
    for bad in ("a", "self", "d/f/g", "d/" + "n" * 300, "none"):
        p = lab.run("run", lab.path(bad), rc=3)
        assert "error[PEN305]" in p.err, p.err
    sock = __import__("socket").socket(__import__("socket").AF_UNIX)
    sock.bind(lab.path("sock"))
    lab.run("run", lab.path("sock"), rc=3)
    os.symlink("..", lab.path("d/up"))
    os.symlink(lab.path("d"), lab.path("link"))
    for i, tree in enumerate(("d", "link")):  # a link that is named is followed, those in a tree are not
        o = lab.load(lab.path(tree), "--key", "@path", "--into", "t%d" % i)
        assert o["committed"] == 1 and "1 symbolic link" in o["err"], o
    lab.verify()


@check
def sources_of_others(lab):
    other = for_others(lab)
    os.chmod(lab.dir, 0o777)
    for i in range(4):
        lab.path("t/open/f%d" % i, b"x")
        lab.path("t/shut/f%d" % i, b"x")
    os.chmod(lab.path("t/shut"), 0o700)
    lab.path("own", b"1\n")
    os.chmod(lab.path("own"), 0o600)
    o = lab.load(lab.path("t"), "--key", "@path", rc=1, **other)
    item, = lab.lines("items", "@last")
    assert o["committed"] == 4 and item["code"] == "PEN1049" and item["source"].rstrip("/").endswith("t/shut"), (o, item)
    assert "error[PEN305]" in lab.run("run", lab.path("own"), rc=3, **other).err
    os.chmod(lab.path("own"), 0o644)
    lab.load(lab.path("own"), "--into", "own", **other)  # the control
    lab.verify(**other)


@check
def fifos(lab):
    fifo = lab.path("fifo")
    os.mkfifo(fifo)
    p = lab.start("run", fifo, "--format", "lines", "--json", stdout=subprocess.PIPE)
    with open(fifo, "wb") as out:
        out.write(b"a\nb\nc")
    out, err = p.communicate(timeout=60)
    assert p.returncode == 0 and json.loads(out)["committed"] == 3, err
    # Nobody writes it: the run waits, and goes when it is told to.
    p = lab.start("run", fifo, "--format", "lines", "--into", "f")
    time.sleep(0.3)
    assert p.poll() is None, p.stderr.read()
    p.send_signal(signal.SIGTERM)
    status, err = rest(lab, p)
    assert status == 143, (status, err)
    lab.verify()


# ---- signals and streams -------------------------------------------------------------------------


@check
def stopped_twice(lab):
    f = lab.path("f.ndjson", lab.records(20000))
    lab.load(f, store=os.path.join(lab.dir, "whole"))
    for first, second, status in ((signal.SIGINT, signal.SIGINT, 130), (signal.SIGTERM, signal.SIGINT, 130),
                                  (signal.SIGINT, signal.SIGTERM, 143), (signal.SIGTERM, None, 143)):
        shutil.rmtree(lab.store, ignore_errors=True)
        # So slow that draining takes longer than any second signal: 300 groups of what was read ahead.
        p = lab.start("run", f, "--chunk", "20", "--pause-ms", "20" if second else "1")
        lab.until_counted(p)
        p.send_signal(first)
        if second:
            time.sleep(0.15)
            drained = p.poll() is not None
            begun = time.monotonic()
            p.send_signal(second)
            err = p.communicate(timeout=60)[1].decode()
            assert time.monotonic() - begun < 1 and (drained or "press Ctrl-C again" in err), err
            assert drained or p.returncode == status, (p.returncode, err)
        else:
            got, err = rest(lab, p)
            assert got == status and "penstock" in err and "run" in err, (got, err)
        lab.verify()
        o = lab.load(f)
        assert o["resumed"] and o["items"] == 20000, o
        assert lab.digest() == lab.digest(store=os.path.join(lab.dir, "whole"))


@check
def stopped_while_it_waits(lab):
    read, write = os.pipe()
    try:
        p = lab.start("run", "-", "--format", "lines", stdin=read)
        os.write(write, b"one\ntwo\nthr")
        lab.until_counted(p, 2)
        begun = time.monotonic()
        p.send_signal(signal.SIGINT)
        status, err = rest(lab, p)
        assert status == 130 and time.monotonic() - begun < 5, (status, err)
    finally:
        os.close(write)
        os.close(read)
    assert [v for _, v in lab.dump()][:2] == [b"one", b"two"]
    lab.verify()


@check
def streams_that_refuse(lab):
    f = lab.path("f", "".join("%d\n" % i for i in range(30000)))
    lab.load(f, "--format", "lines")
    with open("/dev/full", "wb") as full:
        for args in (("scan", "default"), ("get", "default", "7"), ("status",), ("status", "@last", "--json"), ("events",),
                     ("datasets",), ("version",), ("run", "--help")):
            p = subprocess.run([PENSTOCK, "--store", lab.store, *args], stdout=full, stderr=subprocess.PIPE, timeout=60)
            assert p.returncode == 3 and b"stdout" in p.stderr, (args, p.returncode, p.stderr)
        # The data was committed before its numbers could not be printed.
        p = subprocess.run([PENSTOCK, "--store", lab.store, "run", f, "--format", "lines", "--into", "x", "--json"], stdout=full,
                           stderr=subprocess.PIPE, timeout=60)
        assert p.returncode == 3 and len(lab.dump("x")) == 30000, p.stderr
        p = subprocess.run([PENSTOCK, "--store", lab.store, "run", f, "--format", "lines", "--into", "y"], stdout=full, stderr=full,
                           timeout=60)
        assert p.returncode == 0 and len(lab.dump("y")) == 30000  # nothing to print: nothing failed
    for script, status in (('"$0" --store "$1" scan default >&-', 0), ('"$0" --store "$1" scan default 2>&- >/dev/full', 3),
                           ('"$0" --store "$1" run "$2" --format lines --into z 2>&-', 0)):
        p = subprocess.run(["sh", "-c", script, PENSTOCK, lab.store, f], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
        assert p.returncode == status, (script, p.returncode)
    # A reader that leaves early: no message, no death by a signal that a script would take for a failure of ours.
    p = subprocess.Popen([PENSTOCK, "--store", lab.store, "scan", "default"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    p.stdout.read(10)
    p.stdout.close()
    err = p.stderr.read()
    assert p.wait(60) >= 0 and not err, (p.returncode, err)
    lab.verify()
