#!/usr/bin/python3
# run - the readers of the progress ring in C, Python and Node, against each other, a real writer, and hostile files
#
#   tests/readers/run.py BUILD [WORD]...      BUILD has penstock and tests/readers/; only checks whose name contains a WORD
#
# A line a check: "ok   NAME" or "FAIL NAME". Without node its half is left out, and that is said. Environment: PEN_FUZZ (1000
# corrupted files), PEN_SOAK (3000000 events), PEN_SEED (printed; repeats a run).
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(ROOT, "tools/readers")]
import make_ring  # noqa: E402
import penstock_progress as pp  # noqa: E402

BUILD = os.path.abspath(sys.argv[1])
WORDS = sys.argv[2:]
SEED = int(os.environ.get("PEN_SEED") or random.randrange(1 << 30))
FUZZ = int(os.environ.get("PEN_FUZZ") or 1000)
SOAK = int(os.environ.get("PEN_SOAK") or 3000000)
NODE = shutil.which("node")
PYTHON_READER = [sys.executable, os.path.join(ROOT, "tools/readers/penstock_progress.py")]
NODE_READER = [NODE, os.path.join(ROOT, "tools/readers/penstock_progress.mjs")]
C_READER = [os.path.join(BUILD, "tests/readers/ring_json")]
PROBE = [NODE, os.path.join(HERE, "probe.mjs")]
PROBES = [[sys.executable, os.path.join(HERE, "probe.py")], *([PROBE] if NODE else [])]
CHECKS = []


def check(f):
    CHECKS.append(f)
    return f


def readers():
    return {"python": [*PYTHON_READER, "--dump", "--json"], "c": C_READER,
            **({"node": [*NODE_READER, "--dump", "--json"]} if NODE else {})}


def write(path, data, mode=0o600):
    with open(path, "wb") as f:
        f.write(data)
    os.chmod(path, mode)
    return path


def call(command, **kw):
    return subprocess.run(command, capture_output=True, timeout=60, **kw)


class Talker:
    """A child with which one talks line by line."""

    def __init__(self, *command, **kw):
        self.p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, **kw)

    def say(self, line=""):
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()

    def hear(self):
        return self.p.stdout.readline().rstrip("\n")

    def end(self):
        """Its last words."""
        self.p.stdin.close()
        said = self.p.stdout.read()
        assert self.p.wait(60) == 0, "exit %d: %s" % (self.p.returncode, said)
        return said.strip()

    def kill(self):
        self.p.kill()
        self.p.wait()


def writer(where, name="me.0.ring", events=0, slots=8, gauges=1, burst=4, rest_us=0):
    talker = Talker(os.path.join(BUILD, "tests/readers/ring_cast"), where, name,
                    *map(str, (events, slots, gauges, burst, rest_us)))
    assert talker.hear() == "ready"
    return talker, os.path.join(where, name)


# ---- files that lie still ----------------------------------------------------------------------------------------
@check
def golden(where):
    """Every golden file gives its one text in each language, and what makes them still makes them."""
    golden = os.path.join(HERE, "golden")
    names = sorted(n[:-5] for n in os.listdir(golden) if n.endswith(".ring"))
    assert len(names) >= 4
    for name in names:
        with open(os.path.join(golden, name + ".json"), "rb") as f:
            wanted = f.read()
        for language, command in readers().items():
            p = call([*command, os.path.join(golden, name + ".ring")])
            assert p.returncode == 0 and p.stdout == wanted, "%s reads %s otherwise: %s\n%s" % (
                language, name, p.stderr.decode(), first_difference(p.stdout, wanted))
    for name, make in make_ring.GOOD.items():
        with open(os.path.join(golden, name + ".ring"), "rb") as f:
            assert f.read() == make(), "make_ring makes another %s" % name


def first_difference(a, b):
    for x, y in zip(a.splitlines(), b.splitlines()):
        if x != y:
            return "%s\n%s" % (x.decode("utf-8", "replace"), y.decode("utf-8", "replace"))
    return "one is longer"


@check
def one_changed_byte_is_seen(where):
    """The control of the one above: a number that changes in the file changes each text."""
    r = bytearray(make_ring.plain())
    r[make_ring.PAGE + 0x18] ^= 1
    path = write(os.path.join(where, "alice.0.ring"), bytes(r))
    with open(os.path.join(HERE, "golden/alice.0.json"), "rb") as f:
        wanted = f.read()
    for language, command in readers().items():
        p = call([*command, path])
        assert p.returncode == 0 and p.stdout != wanted, language


@check
def message_fields(where):
    """The fields that a web page expects, and 100 % for nobody but a completed batch."""
    for line in open(os.path.join(HERE, "golden/alice.0.json"), encoding="utf-8"):
        o = json.loads(line)
        if o["kind"] != "batch":
            continue
        assert list(o)[1:6] == ["userId", "stage", "percentage", "message", "details"], list(o)
        assert o["userId"] == "alice" and isinstance(o["stage"], str) and 0 <= o["percentage"] <= 100
        assert re.fullmatch(r"Processing batch item \d+( of \d+)?", o["message"])
        assert {"sourcesAnalyzed", "currentOperation", "currentArticle", "totalArticles"} <= o["details"]["liveStats"].keys()
        assert (o["percentage"] == 100) == (o["state"] == "completed"), o
    assert o["kind"] == "event"


def verdicts_python(paths):
    said = []
    for path in paths:
        try:
            with pp.Ring(path) as ring:
                try:
                    said.append("ok %d" % len([pp.line(v, True) for v in pp.dump(ring)]))
                except pp.RingError as why:
                    said.append("ok " + why.reason)
        except pp.RingError as why:
            said.append("refused " + why.reason)
    return said


def verdicts(paths):
    """What each language says to each path: ok or refused, and in the scripts what they made of it."""
    lines = "".join(p + "\n" for p in paths).encode()
    said = {"python": verdicts_python(paths)}
    commands = {"c": [*C_READER, "-"], **({"node": [*PROBE, "open"]} if NODE else {})}
    for language, command in commands.items():
        p = subprocess.run(command, input=lines, capture_output=True, timeout=60 + len(paths) / 20)
        assert p.returncode == 0, "%s: exit %d: %s" % (language, p.returncode, p.stderr.decode()[-2000:])
        said[language] = p.stdout.decode().splitlines()
        assert len(said[language]) == len(paths), "%s stopped at %s" % (language, paths[len(said[language])])
    return said


def agree(said, names):
    for i, name in enumerate(names):
        all_say = {k: v[i] for k, v in said.items()}
        # C has no words for why it refuses.
        assert len({"refused" if v.startswith("refused") else v for v in all_say.values()}) == 1, "%s: %s" % (name, all_say)
        assert not NODE or all_say["python"] == all_say["node"], "%s: %s" % (name, all_say)


@check
def hostile(where):
    """Each header field corrupted, each cut, each impossible table: refused by all three, or harmless to all three."""
    names, paths, must = [], [], []
    for name, data, refused in make_ring.hostile():
        names.append(name)
        paths.append(write(os.path.join(where, name + ".ring"), data))
        must.append(refused)
    said = verdicts(paths)
    agree(said, names)
    for name, refused, verdict in zip(names, must, said["python"]):
        assert refused is None or refused == verdict.startswith("refused"), "%s: %s" % (name, verdict)
    assert sum(v.startswith("refused") for v in said["python"]) > 100
    for path, verdict in zip(paths, said["python"]):
        if re.fullmatch(r"ok \d+", verdict):
            texts = {language: call([*command, path]).stdout for language, command in readers().items()}
            assert len(set(texts.values())) == 1, path


@check
def places(where):
    """What is not a file of ours is not opened, and nothing blocks."""
    good = make_ring.plain()
    path = write(os.path.join(where, "good.0.ring"), good)
    os.symlink(path, os.path.join(where, "link.0.ring"))
    os.mkfifo(os.path.join(where, "fifo.0.ring"))
    os.mkdir(os.path.join(where, "dir.0.ring"))
    bad = ["link", "fifo", "dir", "missing"]
    if os.geteuid() == 0:
        os.chown(write(os.path.join(where, "foreign.0.ring"), good), 12345, 12345)
        bad.append("foreign")
    paths = [os.path.join(where, n + ".0.ring") for n in bad]
    said = verdicts([path, *paths])
    agree(said, ["good", *bad])
    assert [v.split()[0] for v in said["python"]] == ["ok"] + ["refused"] * len(bad), said
    write(os.path.join(where, "anyone.0.ring"), good, 0o666)
    assert verdicts_python([os.path.join(where, "anyone.0.ring")]) == ["refused owner"]


@check
def fuzz(where):
    """Random corruption: nothing but the reader's own error, no hang, one verdict."""
    rng, begun = random.Random(SEED), time.monotonic()
    goods = [make() for make in make_ring.GOOD.values()]
    done = opened = 0
    signal.signal(signal.SIGALRM, lambda *_: sys.exit("hangs at seed %d, file %d" % (SEED, done)))
    while done < FUZZ:
        paths = []
        for i in range(min(500, FUZZ - done)):
            paths.append(write(os.path.join(where, "f%d.0.ring" % i), corrupted(rng, rng.choice(goods))))
        signal.alarm(240)
        said = verdicts(paths)
        signal.alarm(0)
        agree(said, ["seed %d, file %d" % (SEED, done + i) for i in range(len(paths))])
        opened += sum(v.startswith("ok") for v in said["python"])
        done += len(paths)
    assert opened * 20 > done, "hardly any file was opened: the fuzz tests the checksum alone"
    print("  %d files, %d of them opened, %.0f s" % (done, opened, time.monotonic() - begun))


def corrupted(rng, good):
    b = bytearray(good)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        # The header, the hot words, or anywhere; a bit, a byte, or an interesting word.
        at = rng.randrange(rng.choice((0x200, 2 * make_ring.PAGE, len(b))))
        kind = rng.randrange(3)
        if kind == 0:
            b[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            b[at] = rng.randrange(256)
        else:
            at &= ~3
            word = rng.choice((0, 1, 64, 4095, 4096, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, rng.getrandbits(64)))
            b[at:at + 4] = struct.pack("<Q", word)[:4]
    if rng.randrange(4):
        b = bytearray(make_ring.seal(b))
    return bytes(b[:rng.randrange(len(b))]) if rng.randrange(20) == 0 else bytes(b)


# ---- a writer that writes ----------------------------------------------------------------------------------------
@check
def torn_reads(where):
    """Small rings at full speed: nothing torn is accepted, and lost + seen = published, for each reader."""
    for slots, burst in ((8, 2), (256, 16)):
        talker, path = writer(where, "torn%d.0.ring" % slots, events=SOAK, slots=slots, gauges=3, burst=burst)
        crowd = [Talker(*probe, "soak", path) for probe in PROBES]
        for reader in crowd:
            assert reader.hear() == "ready"
        talker.say()
        assert talker.hear() == "done"
        talker.end()
        for reader, language in zip(crowd, ("python", "node")):
            said = reader.end()
            o = json.loads(said)
            print("  %d slots, %s: %s" % (slots, language, said))
            assert o["seen"] + o["lost"] == SOAK, "%s: %s of %d" % (language, o, SOAK)
            assert o["lost"] > 0 and o["gauges"] > 0, "%s was not overrun: %s" % (language, o)


MUTANTS = (("python", "first = max(start, claim - n)", "first = start"), ("python", "if words[seq_at] == seq:", "if True:"),
           ("node", "claim - start > n ? claim - n : start", "start"), ("node", "if (this.#load(at) === seq)", "if (true)"))


@check
def torn_reads_controls(where):
    """The control of the one above: a reader that does not look at the claim, or at a gauge's number again, is caught."""
    for i, (language, old, new) in enumerate(MUTANTS):
        if language == "node" and not NODE:
            continue
        source = PYTHON_READER[1] if language == "python" else NODE_READER[1]
        tree = os.path.join(where, str(i))
        for place in ("tools/readers", "tests/readers"):
            shutil.copytree(os.path.join(ROOT, place), os.path.join(tree, place))
        with open(source, encoding="utf-8") as f:
            text = f.read()
        assert text.count(old) == 1, "the control does not fit the reader: " + old
        write(os.path.join(tree, "tools/readers", os.path.basename(source)), text.replace(old, new).encode())
        tests = os.path.join(tree, "tests/readers")
        command = [sys.executable, tests + "/probe.py"] if language == "python" else [NODE, tests + "/probe.mjs"]
        talker, path = writer(where, "mutant%d.0.ring" % i, events=SOAK, slots=8, gauges=3, burst=2)
        reader = Talker(*command, "soak", path, stderr=subprocess.DEVNULL)
        assert reader.hear() == "ready"
        # On a busy machine the two may not meet at once.
        for _ in range(50):
            talker.say()
            assert talker.hear() == "done"
            if reader.p.poll() is not None:
                break
        talker.end()
        assert reader.p.wait(60) != 0, "%s without %s still reads well" % (language, old)


@check
def slow_writer_loses_nothing(where):
    """The control of the one above: a reader that keeps up sees every event."""
    talker, path = writer(where, events=2000, slots=4096, gauges=1, burst=1, rest_us=50)
    crowd = [Talker(*probe, "soak", path) for probe in PROBES]
    for reader in crowd:
        assert reader.hear() == "ready"
    talker.say()
    assert talker.hear() == "done"
    talker.end()
    for reader in crowd:
        o = json.loads(reader.end())
        assert (o["seen"], o["lost"]) == (2000, 0), o


@check
def a_torn_file_is_noticed(where):
    """The control of both: without the claim, events that were written over are accepted or fail; with it they are lost."""
    r = make_ring.Maker(events=8, gauges=1)
    for i in range(20):
        r.event(3, a=i)
    r.claim += 4
    path = write(os.path.join(where, "t.0.ring"), r.bytes())
    with pp.Ring(path) as ring:
        events, cursor, lost = ring.drain(0)
        assert [e.index for e in events] == [16, 17, 18, 19] and cursor == 20 and lost == 16
    r.claim -= 4
    with pp.Ring(write(path, r.bytes())) as ring:
        assert [e.index for e in ring.drain(0)[0]] == list(range(12, 20))


@check
def late_join(where):
    """Who joins in the middle, and who is overrun, believes in the end what the writer's last gauges and events say."""
    for slots in (16, 4096):
        n = 20000
        talker, path = writer(where, "late%d.0.ring" % slots, events=n, slots=slots, gauges=4, burst=4, rest_us=40)
        talker.say()
        crowd = []
        for i in range(3):
            crowd += [Talker(*probe, "late", path) for probe in PROBES]
            time.sleep(0.05)
        assert talker.hear() == "done"
        talker.end()
        for reader in crowd:
            final = json.loads(reader.end())
            assert len(final) == 4, final
            for g in range(4):
                # The gauges hold all; the batch's own last event says the last of x = g mod 4.
                done, committed, as_of = final["b%d" % (g + 1)]
                assert done == committed and done in (n, n - 3 + g) and as_of in (n, n - 3 + g), (slots, final)


@check
def lives(where):
    """A stalled, a dead, a replaced and an ended writer are told apart."""
    talker, path = writer(where)
    crowd = [Talker(*probe, "life", path) for probe in PROBES]
    for reader in crowd:
        assert reader.hear() == "ready"

    def ask(wanted, before=None):
        """All say so within 10 s, and nothing but `before` until then: heartbeats wait for a busy machine."""
        for reader in crowd:
            end = time.monotonic() + 10
            while True:
                reader.say()
                said = reader.hear()
                if said == wanted:
                    break
                assert said == before and time.monotonic() < end, "%s, not %s" % (said, wanted)
                time.sleep(0.02)

    ask("alive", "stalled")
    time.sleep(0.4)
    ask("alive", "stalled")
    os.kill(talker.p.pid, signal.SIGSTOP)
    ask("stalled", "alive")
    os.kill(talker.p.pid, signal.SIGCONT)
    ask("alive", "stalled")
    os.kill(talker.p.pid, signal.SIGKILL)
    ask("dead", "alive")  # a zombie still
    talker.p.wait()
    ask("dead")
    os.rename(path, path + ".away")
    ask("replaced")
    for reader in crowd:
        reader.end()
    talker, path = writer(where)
    crowd = [Talker(*probe, "life", path) for probe in PROBES]
    for reader in crowd:
        assert reader.hear() == "ready"
    second, _ = writer(where)
    ask("replaced")
    for reader in crowd:
        reader.end()
    crowd = [Talker(*probe, "life", path) for probe in PROBES]
    for reader in crowd:
        assert reader.hear() == "ready"
    second.end()
    ask("ended")
    for reader in crowd:
        reader.end()
    talker.kill()


@check
def other_namespaces(where):
    """A pid of another pid namespace means nothing here; another boot means that nobody is left."""
    def life(**kw):
        stat_fields = open("/proc/self/stat").read().rsplit(")", 1)[1].split()
        with open("/proc/sys/kernel/random/boot_id") as f:
            boot = bytes.fromhex(f.read().strip().replace("-", ""))
        args = dict(pid=os.getpid(), start=int(stat_fields[19]), pidns=os.stat("/proc/self/ns/pid").st_ino, boot=boot, hb_period=10)
        r = make_ring.Maker(**{**args, **kw})
        r.hot(hb_mono_ns=time.monotonic_ns())
        path = write(os.path.join(where, "n.0.ring"), r.bytes())
        said = set()
        with pp.Ring(path) as ring:
            time.sleep(0.1)
            said.add(ring.life())
        if NODE:
            node = Talker(*PROBE, "life", path)
            node.hear()
            time.sleep(0.1)
            node.say()
            said.add(node.hear())
            node.end()
        assert len(said) == 1, said
        return said.pop()

    assert life() == "stalled"
    assert life(start=1) == "dead"
    assert life(pid=2**22 + 1) == "dead"
    assert life(pid=2**22 + 1, pidns=1) == "stalled"
    assert life(boot=bytes(range(1, 17))) == "dead"
    assert life(boot=bytes(16)) == "stalled"


# ---- the commands ------------------------------------------------------------------------------------------------
def the_rest(p):
    """Lines behind those that were read; communicate() would forget what is buffered."""
    lines = p.stdout.read().splitlines()
    p.wait(60)
    return lines


def scripts():
    return {"python": PYTHON_READER, **({"node": NODE_READER} if NODE else {})}


@check
def follow(where):
    """--follow shows every batch at once, then each event once, and ends with its writer; the exit status says how."""
    for how, code in (("end", 0), ("kill", 1)):
        talker, path = writer(where, how + ".0.ring", events=100, slots=256, gauges=2, burst=1, rest_us=500)
        crowd = {k: subprocess.Popen([*c, "--json", "--follow", path], stdout=subprocess.PIPE, text=True)
                 for k, c in scripts().items()}
        heads = {k: [p.stdout.readline() for _ in range(3)] for k, p in crowd.items()}
        talker.say()
        assert talker.hear() == "done"
        getattr(talker, how)()
        for language, p in crowd.items():
            lines = [json.loads(line) for line in heads[language] + the_rest(p)]
            assert [o["kind"] for o in lines[:3]] == ["ring", "batch", "batch"], lines[:3]
            assert [o["index"] for o in lines if o["kind"] == "event"] == list(range(100)), language
            assert lines[-1]["life"] == {"end": "ended", "kill": "dead"}[how], lines[-1]
            last = [o for o in lines if o["kind"] == "batch"][-1]
            assert last["bytes_done"] == 100 and p.returncode == code, (language, last, p.returncode)
        talker.kill()


@check
def engines(where):
    """A real run from its store's directory: to its end, and to its death."""
    penstock = os.path.join(BUILD, "penstock")
    for how, code in (("end", 0), ("kill", 1)):
        store, run = os.path.join(where, how), os.path.join(where, how + ".run")
        os.mkdir(run, 0o700)
        env = dict(os.environ, PENSTOCK_RUN=run)
        engine = subprocess.Popen([penstock, "--store", store, "run", "-", "--key", "@seq", "--progress", "none"], env=env,
                                  stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            engine.stdin.write(b'{"x":1}\n' * 1000)
            engine.stdin.flush()
            end = time.monotonic() + 10
            while not (os.path.exists(os.path.join(store, "data.mdb")) and pp.find(run)):
                assert engine.poll() is None and time.monotonic() < end, "no ring"
                time.sleep(0.01)
            crowd = {k: subprocess.Popen([*c, "--json", "--follow", store], stdout=subprocess.PIPE, text=True, env=env)
                     for k, c in scripts().items()}
            heads = {k: p.stdout.readline() for k, p in crowd.items()}
            engine.stdin.write(b'{"x":2}\n' * 500)
            engine.stdin.flush()
            if how == "end":
                engine.stdin.close()
                assert engine.wait(30) == 0
            else:
                time.sleep(0.2)
                engine.kill()
                engine.wait()
            for language, p in crowd.items():
                lines = [json.loads(line) for line in [heads[language], *the_rest(p)]]
                assert p.returncode == code and lines[-1]["life"] == {"end": "ended", "kill": "dead"}[how], (language, lines[-1])
                last = [o for o in lines if o["kind"] == "batch"][-1]
                if how == "end":
                    assert (last["committed"], last["state"], last["percentage"]) == (1500, "completed", 100), last
                    said = [o["type"] for o in lines if o["kind"] == "event"]
                    assert said.count("completed") == 1, (language, said, lines)
        finally:
            engine.kill()
            engine.wait()


@check
def stores(where):
    """The rings of a store are found by its directory."""
    penstock = os.path.join(BUILD, "penstock")
    if not os.path.exists(penstock):
        return
    store, run = os.path.join(where, "store"), os.path.join(where, "run")
    write(os.path.join(where, "in.ndjson"), b'{"id":1}\n' * 3)
    env = dict(os.environ, PENSTOCK_RUN=run)
    for _ in range(3):  # more than one transaction: the newer meta page is the other one
        call([penstock, "--store", store, "run", os.path.join(where, "in.ndjson"), "--fresh"], env=env)
    wanted = json.loads(call([penstock, "--store", store, "status", "--json"], env=env).stdout)["store_id"]
    shutil.rmtree(run, ignore_errors=True)
    os.makedirs(os.path.join(run, wanted))
    ring = write(os.path.join(run, wanted, "bob%40home.0.ring"), make_ring.plain())
    for command in scripts().values():
        for place in ([store], [ring], [run], [os.path.dirname(ring)], []):
            p = call([*command, "--json", *place], env=env)
            lines = [json.loads(line) for line in p.stdout.splitlines()]
            assert p.returncode == 0 and lines[0]["path"] == ring, (command, place, p)
            assert lines[1]["userId"] == "bob@home", lines[1]
    assert "%016x" % pp.store_id(store) == wanted


@check
def broken_stores(where):
    """A data.mdb that is none, or damaged, has no id, and does no harm."""
    rng = random.Random(SEED)
    store = os.path.join(where, "data.mdb")
    page = bytearray(4096 * 4)
    struct.pack_into("<II", page, 16, 0xBEEFC0DE, 1)
    struct.pack_into("<I", page, 40, 4096)
    for root in (0, 1, 2, 2**40, 2**64 - 1):
        struct.pack_into("<Q", page, 128, root)
        for _ in range(20):
            at = rng.randrange(8192, len(page) - 64)
            page[at:at + 64] = rng.randbytes(64)
            struct.pack_into("<HHH", page, 8192 + 8, 0, rng.choice((1, 2, 3)), rng.randrange(65536))
            write(store, bytes(page))
            assert pp.store_id(where) is None
        if NODE:
            p = call([*PROBE, "id", where])
            assert p.stdout.startswith(b"null"), p


@check
def plain_text(where):
    """Names cannot steer a terminal."""
    r = make_ring.Maker(gauges=1)
    r.gauge(0, 1, 3, label=b"\x1b[2J\x9b", live=((b"\x1b]0;x\x07", 1),), seq=2)
    path = write(os.path.join(where, "e\x1bvil.0.ring"), r.bytes())
    for command in scripts().values():
        p = call([*command, path])
        assert p.returncode == 0 and not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", p.stdout), p.stdout


@check
def examples(where):
    """The examples in docs/READERS.md run as they are printed."""
    with open(os.path.join(ROOT, "docs/READERS.md"), encoding="utf-8") as f:
        blocks = re.findall(r"^```(python|js|c|sh)\n(.*?)^```", f.read(), re.M | re.S)
    assert {language for language, _ in blocks} >= {"python", "js", "c", "sh"}
    for i, (language, code) in enumerate(blocks):
        if language == "js" and not NODE:
            continue
        run = os.path.join(where, str(i))
        os.makedirs(os.path.join(run, "%016x" % 7))
        for name in ("penstock_progress.py", "penstock_progress.mjs"):
            shutil.copy(os.path.join(ROOT, "tools/readers", name), run)
        talker, path = writer(os.path.join(run, "%016x" % 7), "alice.0.ring", events=5, slots=64, gauges=2, burst=1, rest_us=200)
        env = dict(os.environ, PENSTOCK_RUN=run, PYTHONDONTWRITEBYTECODE="1")
        command = example(run, language, code)
        p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, cwd=run)
        time.sleep(0.5)
        talker.say()
        talker.hear()
        talker.end()
        out, err = p.communicate(timeout=30)
        assert p.returncode == 0 and out and not err, "%s example %d: exit %d\n%s%s" % (
            language, i, p.returncode, out.decode(), err.decode())


def example(run, language, code):
    source = write(os.path.join(run, "example." + {"python": "py", "js": "mjs", "c": "c", "sh": "sh"}[language]), code.encode())
    if language == "c":
        p = call(["cc", "-Wall", "-Wextra", "-Werror", "-I", os.path.join(ROOT, "include"), "-o", source[:-2], source])
        assert p.returncode == 0, p.stderr.decode()
        return [source[:-2]]
    if language == "sh" and not NODE:
        write(source, "".join(line for line in code.splitlines(True) if not line.startswith("node")).encode())
    return {"python": [sys.executable, source], "js": [NODE, source], "sh": ["sh", "-e", source]}[language]


def main():
    print("seed %d" % SEED)
    if not NODE:
        print("no node here: its reader is not tested")
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    failed = 0
    for f in CHECKS:
        if WORDS and not any(word in f.__name__ for word in WORDS):
            continue
        where = tempfile.mkdtemp(prefix="penstock-readers-", dir=base)
        try:
            f(where)
            print("ok   " + f.__name__, flush=True)
        except Exception:
            failed += 1
            print("FAIL %s\n%s" % (f.__name__, traceback.format_exc()), flush=True)
        finally:
            shutil.rmtree(where, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
