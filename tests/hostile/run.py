#!/usr/bin/python3
# run - processors that do what they should not: what becomes of their items, of their neighbours', and of the machine
#
#   run.py BUILD_DIR [NAME]...        (NAME: worker/exit, exec/floods, ...)
#
# Each check runs crew_run with one processor of processor.py and looks at every result. After each one, whatever it
# was: no process is left (they are found by a mark in their environment), no descriptor, no temporary file, and
# the crew's own memory has stayed small. Controls at the end break the crew on purpose and expect to be told.
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

BUILD = os.path.abspath(sys.argv[1])
ONLY = set(sys.argv[2:])
HERE = os.path.dirname(os.path.abspath(__file__))
CREW = os.path.join(BUILD, "tests/hostile/crew_run")
ECHO = os.path.join(BUILD, "tests/hostile/echo_worker")
PROCESSOR = os.path.join(HERE, "processor.py")
SANITIZED = "asan" in os.path.basename(BUILD)
RSS_KIB = (900 if SANITIZED else 120) << 10
MARK = f"PEN_HOSTILE_MARK=run-{os.getpid()}"

good = bad = 0


def marked():
    """Processes of the run in hand that are alive."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                if MARK.encode() not in f.read().split(b"\0"):
                    continue
            with open(f"/proc/{pid}/stat") as f:
                state = f.read().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if state not in "ZX":
            found.append(int(pid))
    return found


class Outcome:
    def __init__(self, results, summary):
        self.results, self.summary = results, summary

    def fates(self):
        return {k: v for k, v in self.summary.items()
                if k in ("done", "rejected", "retry", "failed", "dropped", "crashed", "uncharged") and v}


def crew(kind, command, items, tmp, crew_program=CREW, **options):
    env = dict(os.environ, TMPDIR=tmp)
    name, value = MARK.split("=")
    env[name] = value
    arguments = [crew_program, kind, command, f"tmpdir={tmp}", *(f"{k}={v}" for k, v in options.items())]
    ran = subprocess.run(arguments, input="".join(i + "\n" for i in items), capture_output=True, text=True, timeout=60,
                         env=env)
    if ran.returncode:
        raise AssertionError(f"crew_run ended with {ran.returncode}: {ran.stderr[-2000:]}")
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    return Outcome({r["id"]: r for r in lines[:-1]}, lines[-1])


def need(condition, what):
    if not condition:
        raise AssertionError(what)


def check(name, test, leftovers=0):
    """leftovers: how many processes a control expects to find."""
    global good, bad
    if ONLY and name not in ONLY:
        return
    with tempfile.TemporaryDirectory() as tmp:
        try:
            outcome = test(tmp)
            left = marked()
            if leftovers:
                need(left, "a crew that does not kill groups left nothing: the check would not have noticed")
            else:
                need(not left, f"processes are left: {left}")
                need(not os.listdir(tmp), f"files are left: {os.listdir(tmp)}")
            if outcome:
                s = outcome.summary
                need(s["fds"] == 0, f"{s['fds']} descriptors are left")
                need(s["children"] == 0, f"{s['children']} children are left")
                need(s.get("rss_kib", 0) < RSS_KIB, f"{s.get('rss_kib')} KiB resident")
        except (AssertionError, subprocess.SubprocessError, KeyError, ValueError) as error:
            print(f"FAIL {name}: {error!r}", flush=True)
            bad += 1
        else:
            print(f"ok   {name}", flush=True)
            good += 1
        finally:
            for pid in marked():
                os.kill(pid, 9)


# ---- workers -------------------------------------------------------------------------------------------

ITEMS = [f"item {i}" for i in range(40)]
ITEMS[17] = "poison"


def poison(name, fate, code, **options):
    """Among forty items one does harm: it alone is charged, the others are done."""
    says = options.pop("says", "")
    expect_exit = options.pop("expect_exit", None)
    expect_signal = options.pop("expect_signal", None)
    options = {"jobs": 2, "window": 16, "grace_ms": 300, **options}

    def test(tmp):
        o = crew("worker", f"{PROCESSOR} worker {name}", ITEMS, tmp, **options)
        need(len(o.results) == 40, f"{len(o.results)} results")
        for i, r in o.results.items():
            if i != 17:
                need(r["fate"] == "done" and r["value"] == ITEMS[i], f"neighbour {i}: {r}")
                need(r["attempt"] == 1, f"neighbour {i} was charged: {r}")
        r = o.results[17]
        need((r["fate"], r["code"]) == (fate, code), f"the guilty one: {r}")
        need(says in r["message"] + r["stderr"], f"{says!r} is not in {r['message']!r}")
        need(expect_exit is None or r["exit"] == expect_exit, f"exit status of {r}")
        need(expect_signal is None or r["signal"] == expect_signal, f"signal of {r}")
        need(o.summary["broken"] == 0, o.summary["text"])
        return o
    check(f"worker/{name}", test)


def crashes(name, **options):
    poison(name, "crashed", 1090, **options)


def not_a_reply(name, **options):
    poison(name, "crashed", 1091, **options)


crashes("exit", expect_exit=3)
crashes("exit_clean", expect_exit=0)
crashes("segv", expect_signal=11)
crashes("abort", expect_signal=6)
crashes("kill_itself", expect_signal=9)
crashes("kill_group", expect_signal=9)
crashes("raise", says="no idea what to do with this", expect_exit=1)
crashes("half_line_then_die")
crashes("flood_stderr", says="the last line", expect_exit=4, stderr_keep=1000)
crashes("close_stdout", expect_signal=15)
for _ in range(6):  # requests may be under way when it closes, or not: each must end the same way
    crashes("close_stdin")
crashes("fork_and_die", expect_exit=5)
crashes("escape_and_die", expect_exit=5)
crashes("memory", memory_max=600 << 20, says="MemoryError") if not SANITIZED else None
crashes("open_files")
poison("hang", "retry", 1083, timeout_ms=500, expect_signal=15)
poison("hang_deaf", "retry", 1083, timeout_ms=500, expect_signal=9)
poison("spin", "retry", 1083, timeout_ms=500, expect_signal=9)
poison("stop_itself", "retry", 1083, timeout_ms=500)
poison("half_line_then_hang", "retry", 1083, timeout_ms=500)
poison("fork_bomb", "retry", 1083, timeout_ms=500, expect_signal=9)
not_a_reply("garbage", says="Traceback (most recent call last):")
not_a_reply("binary")
not_a_reply("nul")
not_a_reply("unknown_id", says="1000000000")
not_a_reply("negative_id")
not_a_reply("string_id")
not_a_reply("no_id")
not_a_reply("array", says="[1,2,3]")
not_a_reply("two_values")
not_a_reply("error_and_value")
not_a_reply("unknown_error", says="maybe")
not_a_reply("bad_base64")
not_a_reply("bad_utf8")
not_a_reply("surrogate")
not_a_reply("deep")
not_a_reply("ok_twice")
not_a_reply("deed_without_key")
not_a_reply("too_many_deeds")
not_a_reply("flood_line", output_max=1 << 20)
not_a_reply("flood_lines")
poison("large_value", "failed", 1084, output_max=2500000)
poison("answer_then_die", "done", 0)
poison("change_others", "done", 0)
poison("answer_twice", "done", 0)


def all_done(name, items=ITEMS, **options):
    def test(tmp):
        o = crew("worker", f"{PROCESSOR} worker {name}", items, tmp, **{"jobs": 2, "window": 16, "grace_ms": 300, **options})
        need(o.fates() == {"done": len(items)}, f"{o.fates()} {o.summary['text']}")
        for i, r in o.results.items():
            need(r["value"] == items[i], f"{i}: {r}")
        return o
    check(f"worker/{name}", test)


all_done("backwards", [f"item {i}" for i in range(3000)])
all_done("ready_first")
all_done("one_item_each")
all_done("leaves_pipe_to_child")
all_done("slow_bytes")
all_done("talks_on_stderr", [f"item {i}" for i in range(500)])
all_done("ignores_eof")


def broken(name, code, **options):
    says = options.pop("says", "")

    def test(tmp):
        o = crew("worker", f"{PROCESSOR} worker {name}", ITEMS, tmp, **{"jobs": 2, "window": 16, **options})
        need(o.summary["broken"] == code, f"{o.summary}")
        need(o.fates() == {"uncharged": o.summary["over"]}, f"items were charged: {o.fates()}")
        need(says in o.summary["text"], o.summary["text"])
        return o
    check(f"worker/{name}", test)


broken("dies_at_once", 333, says="status 7")
broken("says_hello_and_dies", 333, says="status 8")
broken("syntax_error", 333, says="SyntaxError: invalid syntax")


broken("never_reads", 333, timeout_ms=150, grace_ms=100)


def all_or_nothing(tmp):
    """The poison is not the first that was not answered: still it alone is charged."""
    o = crew("worker", f"{PROCESSOR} worker all_or_nothing", ITEMS, tmp, jobs=1, window=40)
    need(o.fates() == {"done": 39, "crashed": 1} and o.results[17]["fate"] == "crashed", f"{o.fates()} {o.summary['text']}")
    return o


def many_poisons(tmp):
    """A fifth of all items kills; each is quarantined after three crashes, no other is charged."""
    items = ["poison" if i % 5 == 2 else f"item {i}" for i in range(60)]
    o = crew("worker", f"{PROCESSOR} worker exit", items, tmp, jobs=2, window=16, retries=2)
    need(o.fates() == {"done": 48, "crashed": 12}, f"{o.fates()} {o.summary['text']}")
    for i, r in o.results.items():
        need(r["attempt"] == (3 if items[i] == "poison" else 1), f"{i}: {r}")
    return o


def only_poisons(tmp):
    o = crew("worker", f"{PROCESSOR} worker segv", ["poison"] * 6, tmp, jobs=2, retries=2)
    need(o.fates() == {"crashed": 6}, f"{o.fates()} {o.summary['text']}")
    return o


def cancelled(kind):
    def test(tmp):
        o = crew("worker", f"{PROCESSOR} worker hang", ITEMS, tmp, jobs=1, window=4, grace_ms=300, **{kind: 17})
        need(o.fates().get("done", 0) >= 17 and o.results[17]["fate"] == "uncharged", f"{o.fates()}")
        need(o.summary["over"] == len(o.results), f"{o.summary}")
        return o
    return test


def missing(tmp):
    o = crew("worker", "there-is-no-such-program --now", ["a"], tmp)
    need(o.summary["open"] == 332, f"{o.summary}")
    return o


def no_places(tmp):
    o = crew("worker", "cat {}", ["a"], tmp)
    need(o.summary["open"] == 301, f"{o.summary}")
    return o


check("worker/all_or_nothing", all_or_nothing)
check("worker/many_poisons", many_poisons)
check("worker/only_poisons", only_poisons)
check("worker/cancel_soft", cancelled("cancel"))
check("worker/cancel_hard", cancelled("hard"))
check("worker/missing", missing)
check("worker/no_places", no_places)

# ---- commands ------------------------------------------------------------------------------------------


def command(name, fate, code, items=("a", "b", "c"), value=None, says="", **options):
    def test(tmp):
        o = crew("exec", f"{PROCESSOR} exec {name}", items, tmp, **{"jobs": 2, "grace_ms": 300, **options})
        need(len(o.results) == len(items), f"{len(o.results)} results")
        for r in o.results.values():
            need((r["fate"], r["code"]) == (fate, code), f"{r}")
            need(value is None or r["value"] == value, f"{r['value']!r}")
            need(says in r["message"], r["message"])
        return o
    check(f"exec/{name}", test)


LARGE = ["x" * 300000] * 2
command("closes_stdin", "done", 0, value="fine\n", items=LARGE)
command("ignores_stdin", "done", 0, value="fine\n", items=LARGE)
command("hangs", "retry", 1083, timeout_ms=400, says="Terminated")
command("hangs_deaf", "retry", 1083, timeout_ms=400, says="Killed")
command("exits_0_on_term", "retry", 1083, timeout_ms=600)
command("segv", "retry", 1082, says="Segmentation fault")
command("kills_group", "retry", 1082)
command("stops_itself", "retry", 1083, timeout_ms=400)
command("floods", "failed", 1084, output_max=1 << 20)
command("floods_stderr", "retry", 1081, says="the last line", stderr_keep=1000)
command("leaves_grandchild", "done", 0, value="fine\n")
command("escapes", "done", 0, value="fine\n")
command("escapes_quietly", "done", 0, value="fine\n")
command("fork_bomb", "retry", 1083, timeout_ms=600, items=["a"])
if not SANITIZED:
    command("memory", "retry", 1081, memory_max=600 << 20, says="MemoryError")
command("closes_all", "retry", 1083, timeout_ms=600)
command("says_no", "rejected", 1080)
command("lists_descriptors", "done", 0, value="[0, 1, 2]")


def background_writer(tmp):
    """What is left behind writes into our pipe until it is killed; the value begins with what was meant."""
    o = crew("exec", f"{PROCESSOR} exec leaves_background_writer", ["a"], tmp, output_max=64 << 20)
    need(o.fates() == {"done": 1}, f"{o.fates()}")
    need("fine" in o.results[0]["value"] or o.results[0]["value"].startswith("more"), o.results[0]["value"][:100])
    return o


def inherits_nothing(tmp):
    """A child sees three descriptors, an empty mask, nothing ignored, its own group, and what the item brings."""
    o = crew("exec", f"{PROCESSOR} exec shows_itself", ["a"], tmp)
    shown = json.loads(o.results[0]["value"])
    need(shown["blocked"] == 0 and shown["ignored"] == 0 and shown["leads"], f"{shown}")
    masks = crew("exec", "grep -E 'Sig(Blk|Ign)' /proc/self/status", ["a"], tmp).results[0]["value"]
    need(masks.split() == ["SigBlk:", "0" * 16, "SigIgn:", "0" * 16], masks)
    need({k: shown["env"].get(k) for k in ("PENSTOCK_ITEM_KEY", "PENSTOCK_ITEM_SEQ", "PENSTOCK_ATTEMPT")} ==
         {"PENSTOCK_ITEM_KEY": "k0", "PENSTOCK_ITEM_SEQ": "0", "PENSTOCK_ATTEMPT": "1"}, f"{shown}")
    return o


def nasty_names(tmp):
    """Names of files are never read by a shell, whatever is in them and whichever quotes are around {}."""
    with tempfile.TemporaryDirectory() as away:
        names = ["a b", "$(touch x)", "`touch x`", "a'b", 'a"b', "a;touch x", "-rf", "*", "ü\\n", "a&b|c"]
        for n in names:
            with open(os.path.join(away, n), "w") as f:
                f.write(n)
        paths = [os.path.join(away, n) for n in names]
        for form in ("cat {}", "cat \"{}\"", "cat '{}'", "cat {} | cat", "cat \"{}\" | cat", "cat '{}' | cat",
                     "x=$(cat {}); printf %s \"$x\"", "x=\"$(cat \"{}\")\"; printf %s \"$x\"", "cat `echo /dev/null` {}",
                     "sh -c 'cat \"$1\"' sh {}"):
            o = crew("exec", form, paths, tmp, form="path")
            for i, n in enumerate(names):
                need(o.results[i]["fate"] == "done", f"{form}: {o.results[i]}")
                need(o.results[i]["value"].encode("latin-1").decode() == n, f"{form}: {o.results[i]['value']!r}")
        need(not os.path.exists("x"), "a name was run")
    return o


def places(tmp):
    o = crew("exec", "printf '%s %s %s' {key} {seq} x{seq}{key}y; cat {} -", ["one", "two"], tmp)
    need(o.results[1]["value"] == "k1 1 x1k1ytwotwo", f"{o.results[1]}")
    return o


def gone_file(tmp):
    o = crew("exec", "cat", ["/proc/nonexistent/file", "/proc/self", "/bin/sh"], tmp, form="path")
    need((o.results[0]["fate"], o.results[0]["code"]) == ("rejected", 1048), f"{o.results[0]}")
    need((o.results[1]["fate"], o.results[1]["code"]) == ("rejected", 1049), f"{o.results[1]}")
    need(o.results[2]["fate"] == "done", f"{o.results[2]}")
    return o


def cancel_exec(kind):
    def test(tmp):
        o = crew("exec", "sh -c 'read x; [ $x = sleep ] && exec sleep 1000; echo $x'", ["a", "b", "sleep", "sleep"] + ["c"] * 20,
                 tmp, jobs=2, grace_ms=300, **{kind: 2})
        need(o.fates().get("done", 0) >= 2 and o.results[2]["fate"] == "uncharged", f"{o.fates()}")
        need(o.summary["over"] == len(o.results), f"{o.summary}")
        return o
    return test


def killed_crew(tmp):
    """SIGKILL of the whole engine: its launcher takes every child along, and the files of {}."""
    env = dict(os.environ, TMPDIR=tmp)
    name, value = MARK.split("=")
    env[name] = value
    p = subprocess.Popen([CREW, "exec", f"sh -c 'cat {{}}; {PROCESSOR} exec leaves_grandchild; sleep 1000'", f"tmpdir={tmp}", "jobs=2",
                          "count=4"], stdout=subprocess.DEVNULL, env=env)
    patience(lambda: len(marked()) >= 8, "the commands do not start")
    p.kill()
    p.wait()
    patience(lambda: not marked(), "children outlive the engine")
    patience(lambda: not os.listdir(tmp), "the files of {} outlive the engine")


def killed_launcher(tmp):
    """SIGKILL of the launcher: the crew is broken and says so, its children die."""
    env = dict(os.environ, TMPDIR=tmp)
    name, value = MARK.split("=")
    env[name] = value
    p = subprocess.Popen([CREW, "exec", "sleep 1000", f"tmpdir={tmp}", "jobs=2", "count=4"], stdout=subprocess.PIPE, text=True,
                         env=env)
    patience(lambda: len(marked()) >= 4, "the commands do not start")
    for pid in marked():
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            if f.read().split(b"\0")[1:2] == [b"launcher"]:
                os.kill(pid, 9)
    lines = [json.loads(line) for line in p.communicate()[0].splitlines()]
    need(lines[-1]["broken"] == 331 and lines[-1]["uncharged"] == 4, f"{lines[-1]}")
    patience(lambda: not marked(), "children outlive the launcher")


def launcher_of(pids):
    for pid in pids:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            if f.read().split(b"\0")[1:2] == [b"launcher"]:
                return pid
    return 0


def launcher_with_grandchildren(kind, script, tmp, crew_program=CREW):
    """
    SIGKILL of the launcher when its children have children, which are deaf, left their group, hold the pipes and start more:
    the crew is broken, says so, and takes them along, with the files of {}.
    """
    env = dict(os.environ, TMPDIR=tmp)
    name, value = MARK.split("=")
    env[name] = value
    p = subprocess.Popen([crew_program, kind, script, f"tmpdir={tmp}", "jobs=2", "window=1", "count=4"], stdout=subprocess.PIPE, text=True, env=env)
    # The crew's own, the launcher, two children, and two of each.
    patience(lambda: len(marked()) >= 8, "the commands do not start")
    os.kill(launcher_of(marked()), 9)
    # Not until it says nothing more: a grandchild may hold what it wrote to.
    need(p.wait(30) == 0, f"exit {p.returncode}")
    left = marked()
    summary = json.loads(p.stdout.readlines()[-1])
    need(summary["broken"] == 331 and summary["uncharged"] == 4, f"{summary}")
    return left


GRANDCHILDREN = "trap \"\" TERM HUP; sleep 1000 & setsid -f true; set -m; sh -c \"trap : TERM; while :; do sleep 0.05; done\" & wait"


def killed_launcher_of_commands(tmp):
    left = launcher_with_grandchildren("exec", f"sh -c 'cat {{}}; {GRANDCHILDREN}'", tmp)
    need(not left, f"processes outlive the launcher: {left}")


def killed_launcher_of_workers(tmp):
    left = launcher_with_grandchildren("worker", f"sh -c 'read x; {GRANDCHILDREN}'", tmp)
    need(not left, f"processes outlive the launcher: {left}")


def patience(condition, what):
    until = time.monotonic() + 30
    while not condition():
        need(time.monotonic() < until, what)
        time.sleep(0.01)


def many(tmp):
    """A thousand commands, each with a child in the background: nobody is left."""
    o = crew("exec", "sleep 1000 & echo {seq}", [], tmp, count=1000, quiet=1)
    need(o.fates() == {"done": 1000}, f"{o.fates()}")
    return o


check("exec/background_writer", background_writer)
check("exec/inherits_nothing", inherits_nothing)
check("exec/nasty_names", nasty_names)
check("exec/places", places)
check("exec/gone_file", gone_file)
check("exec/cancel_soft", cancel_exec("cancel"))
check("exec/cancel_hard", cancel_exec("hard"))
check("exec/killed_crew", killed_crew)
check("exec/killed_launcher", killed_launcher)
check("exec/killed_launcher_of_grandchildren", killed_launcher_of_commands)
check("worker/killed_launcher_of_grandchildren", killed_launcher_of_workers)
check("exec/many_backgrounds", many)

# ---- examples ------------------------------------------------------------------------------------------

EXAMPLES = os.path.join(os.path.dirname(os.path.dirname(HERE)), "docs/examples")


def python_example(tmp):
    o = crew("worker", f"/usr/bin/python3 {EXAMPLES}/worker.py", ["three short words", "", "one"], tmp)
    need((o.results[0]["value"], o.results[0]["json"]) == ('{"words": 3}', True), f"{o.results[0]}")
    need(o.results[0]["deeds"] == [{"del": False, "dataset": "longest", "key": "three", "value": "0"}], f"{o.results[0]}")
    need(o.results[1]["fate"] == "dropped", f"{o.results[1]}")
    return o


def node_example(tmp):
    o = crew("worker", f"node {EXAMPLES}/worker.mjs", [f"name {i}" for i in range(200)] + ["later"], tmp)
    need(o.fates() == {"done": 200, "retry": 1}, f"{o.fates()}")
    need(o.results[7]["value"] == "NAME 7" and o.results[200]["retry_after_ms"] == 500, f"{o.results[200]}")
    return o


def jq_example(tmp):
    o = crew("worker", "jq --unbuffered -c '{id, value: (.item_text | length)}'", ["four", "seven77"], tmp)
    need([o.results[i]["value"] for i in (0, 1)] == ["4", "7"], f"{o.results}")
    return o


check("example/python", python_example)
if shutil.which("node"):
    check("example/node", node_example)
check("example/jq", jq_example)

# ---- controls: a crew that is broken on purpose ----------------------------------------------------------


def planted(defect, path):
    """crew_run with a defect compiled in."""
    objects = subprocess.run(["make", "-s", "list-LIBS"], capture_output=True, text=True, env=CLEAN, check=True).stdout.split()
    sources = {"PEN_PLANT_NO_GROUP_KILL": "engine/launcher_main.c", "PEN_PLANT_BLAME_FIRST": "engine/crew_worker.c",
               "PEN_PLANT_INHERIT": "engine/launcher_main.c", "PEN_PLANT_NO_SESSION_KILL": "engine/launcher.c"}
    subprocess.run([os.environ.get("CC", "cc"), "-std=c17", "-D_GNU_SOURCE", "-I.", "-O1", "-w", f"-D{defect}", "-pthread", "-o", path,
                    "tests/hostile/crew_run.c", sources[defect], os.path.join(BUILD, "libpenstock.a"), *objects],
                   check=True, cwd=ROOT, env=CLEAN)


ROOT = os.path.dirname(os.path.dirname(HERE))
CLEAN = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "B", "MODE")}


def control_group(tmp):
    with tempfile.TemporaryDirectory() as d:
        planted("PEN_PLANT_NO_GROUP_KILL", os.path.join(d, "crew_run"))
        # The group's other members are found while the crew is still open: close sweeps them up.
        env = dict(os.environ)
        name, value = MARK.split("=")
        env[name] = value
        p = subprocess.Popen([os.path.join(d, "crew_run"), "exec", f"{PROCESSOR} exec leaves_grandchild", f"tmpdir={tmp}", "count=3",
                              "linger_ms=20000"], stdout=subprocess.PIPE, text=True, env=env)
        for _ in range(3):
            p.stdout.readline()
        left = [pid for pid in marked() if b"leaves_grandchild" in open(f"/proc/{pid}/cmdline", "rb").read()]
        p.kill()
        p.communicate()
        need(left, "without the kill of groups nothing was left: the checks would not notice")
        patience(lambda: not marked(), "the launcher does not clean up")


def control_blame(tmp):
    with tempfile.TemporaryDirectory() as d:
        planted("PEN_PLANT_BLAME_FIRST", os.path.join(d, "crew_run"))
        o = crew("worker", f"{PROCESSOR} worker all_or_nothing", ITEMS, tmp, crew_program=os.path.join(d, "crew_run"), jobs=1,
                 window=40)
        need(any(r["fate"] == "crashed" for i, r in o.results.items() if i != 17),
             "blaming the first one was not noticed: the checks would not notice")
    return o


def control_inherit(tmp):
    with tempfile.TemporaryDirectory() as d:
        planted("PEN_PLANT_INHERIT", os.path.join(d, "crew_run"))
        o = crew("exec", f"{PROCESSOR} exec lists_descriptors", ["a"], tmp, crew_program=os.path.join(d, "crew_run"))
        need(o.results[0]["value"] != "[0, 1, 2]", "an inherited descriptor was not noticed")
    return o


def control_session(tmp):
    with tempfile.TemporaryDirectory() as d:
        planted("PEN_PLANT_NO_SESSION_KILL", os.path.join(d, "crew_run"))
        left = launcher_with_grandchildren("worker", f"sh -c 'read x; {GRANDCHILDREN}'", tmp, os.path.join(d, "crew_run"))
        need(left, "what a killed launcher left was not noticed")
        for pid in left:
            os.kill(pid, 9)
        patience(lambda: not marked(), "they do not end")


if not SANITIZED:
    check("control/no_session_kill", control_session)
    check("control/no_group_kill", control_group)
    check("control/blame_first", control_blame)
    check("control/inherits", control_inherit)

print(f"{good} passed, {bad} failed")
sys.exit(1 if bad or not good else 0)
