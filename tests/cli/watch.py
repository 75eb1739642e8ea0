#!/usr/bin/python3
# watch - the live view from outside: lines, events, and the picture as tmux shows it
#
#   tests/cli/watch.py PENSTOCK [WORD]      only checks whose name contains WORD
#
# Rings are made in a directory of each check's own ($PENSTOCK_RUN), below /dev/shm.
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from lab import Lab, PENSTOCK, Skip, check, judge_all

SLOW = ("--format", "lines", "--chunk", "100", "--pause-ms", "20", "--progress", "none")  # about 4,000 items a second
KEYS = ["v", "event", "engine", "batch", "state", "code", "items", "committed", "rejected", "failed", "skipped", "duplicates", "retrying",
        "items_total", "bytes", "bytes_total", "rate", "eta_s", "started_ms", "updated_ms", "attempt", "owner", "source", "label", "live"]


class WatchLab(Lab):
    def __init__(self, name):
        super().__init__(name)
        if not os.access("/dev/shm", os.W_OK):
            raise Skip("no /dev/shm to put a ring in")
        self.rings = tempfile.mkdtemp(prefix="penstock-watch-", dir="/dev/shm")
        self.env = {**{k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "LC_ALL", "LC_CTYPE", "TERM")},
                    "PENSTOCK_RUN": self.rings, "LANG": "C.UTF-8"}
        self.tmux = None
        self.servers = 0

    def end(self):
        super().end()
        if self.tmux:
            subprocess.run([*self.tmux, "kill-server"], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.rings, ignore_errors=True)

    def slow(self, n, *args, name="numbers.txt", into="default", **kw):
        f = self.path(name, "".join("%d\n" % i for i in range(n)))
        p = self.start("run", f, "--into", into, *SLOW, *args, env=self.env, **kw)
        self.until_counted(p)
        return p

    def watch(self, *args, **kw):
        return self.start("watch", *args, stdout=subprocess.PIPE, env=self.env, **kw)

    def screen(self, *args, columns=80, rows=24, lang="C.UTF-8", more=""):
        """watch on a terminal of tmux; a shell says how it ended."""
        self.terminal()
        command = "PENSTOCK_RUN=%s LANG=%s %s %s --store %s watch %s; echo ended with $?; stty -a | tr ';' '\\n' | grep -o ' echo '; exec cat" % (
            self.rings, lang, more, PENSTOCK, self.store, " ".join(args))
        subprocess.run([*self.tmux, "-u", "new-session", "-d", "-x", str(columns), "-y", str(rows), command], check=True,
                       env={k: v for k, v in self.env.items() if k != "TMUX"})
        return self.wait_for("BATCH|ended")

    def terminal(self):
        """A server of its own: one that was told to end may still be there."""
        if not shutil.which("tmux"):
            raise Skip("tmux is not installed")
        if self.tmux:
            subprocess.run([*self.tmux, "kill-server"], stderr=subprocess.DEVNULL)
        self.servers += 1
        self.tmux = ["tmux", "-L", "%s-%d" % (os.path.basename(self.rings), self.servers), "-f", "/dev/null"]

    def ended(self, status):
        """The shell's screen is back, the cursor is there, and what is typed is shown."""
        text = self.wait_for("(?s)ended with %d\n.* echo" % status)
        assert "STAGES" not in text, text
        cursor = subprocess.run([*self.tmux, "display-message", "-p", "#{cursor_flag} #{alternate_on}"], stdout=subprocess.PIPE).stdout
        assert cursor == b"1 0\n", cursor

    def shown(self):
        return subprocess.run([*self.tmux, "capture-pane", "-p"], stdout=subprocess.PIPE, check=True).stdout.decode()

    def keys(self, *keys):
        subprocess.run([*self.tmux, "send-keys", *keys], check=True)

    def wait_for(self, pattern, seconds=15):
        end = time.monotonic() + seconds
        while True:
            text = self.shown()
            if re.search(pattern, text):
                return text
            if time.monotonic() > end:
                raise AssertionError("no /%s/ on the screen:\n%s" % (pattern, text))
            time.sleep(0.1)


def rows_of(p, status=0, seconds=60):
    out, err = p.communicate(timeout=seconds)
    assert p.returncode == status, (p.returncode, err)
    return [json.loads(x) for x in out.splitlines()]


@check
def events_of_one_batch(lab):
    """From its ring: numbers that grow, the same end as the store's, nothing lost, and the batch's status."""
    p = lab.slow(20000)
    rows = rows_of(lab.watch("@running", "--json"))
    assert p.wait(60) == 0
    assert all(r["v"] == 1 for r in rows)
    kinds = [r["event"] for r in rows]
    assert "engine" in kinds and "batch" in kinds and kinds[-1] == "end" and "lost" not in kinds, kinds
    batch = next(r for r in rows if r["event"] == "batch")
    assert list(batch) == KEYS and batch["state"] == "running" and 0 < batch["items"] < 20000 and batch["source"] == "numbers.txt", batch
    progress = [r["items"] for r in rows if r["event"] == "progress"]
    assert len(progress) > 10 and progress == sorted(progress) and len(set(r["batch"] for r in rows if "batch" in r)) == 1, progress
    assert "completed" in kinds, kinds
    done = next(r for r in rows if r["event"] == "completed")
    durable = next(e for e in lab.lines("events", "@last") if e["type"] == "completed")
    assert done["seq"] == durable["seq"], (done, durable)
    assert (rows[-1]["state"], rows[-1]["committed"], rows[-1]["exit"]) == ("completed", 20000, 0), rows[-1]
    index = [r["index"] for r in rows if "index" in r]
    assert index == sorted(set(index))


@check
def status_of_the_batch(lab):
    for name, args, status, state in (("good", (), 0, "completed"), ("bad", (), 1, "completed"), ("stop", ("--max-rejects", "0"), 4, "stopped")):
        text = "1\n" * 50 + ("bad\n" if name != "good" else "")
        lab.run("run", lab.path(name, text), "--format", "ndjson", "--into", name, *args, rc=status)
        rows = rows_of(lab.watch("@last", "--json"), status)  # it is over: ends at once
        assert rows[-1]["event"] == "end" and rows[-1]["state"] == state and rows[-1]["exit"] == status, rows
    lab.run("watch", "ffff", rc=5)
    assert b"live view" in lab.run("watch", "--help").stdout
    lab.run("watch", store=lab.path("none"), rc=3)
    p = lab.slow(60000)
    w = lab.watch("@running", "--json")
    time.sleep(0.5)
    p.kill()
    p.wait()
    rows = rows_of(w, 130)
    assert rows[-1]["state"] == "interrupted" and any(r["event"] == "engine" and r["life"] == "died" for r in rows), rows[-3:]


@check
def runs_come_and_go(lab):
    lab.run("run", lab.path("one", "1\n"), "--format", "lines", "--into", "one")
    w = lab.watch("--json", stderr=subprocess.PIPE)
    time.sleep(0.5)
    for i in range(2):
        assert lab.slow(4000, into="d%d" % i, name="n%d" % i).wait(60) == 0
    time.sleep(0.5)
    w.send_signal(signal.SIGINT)
    out, err = w.communicate(timeout=20)
    rows = [json.loads(x) for x in out.splitlines()]
    lives = [r["life"] for r in rows if r["event"] == "engine"]
    assert lives == ["alive", "ended"] * 2, lives
    # It was there before they began: nothing of them is missing.
    for kind in ("queued", "started", "completed"):
        assert len([r for r in rows if r["event"] == kind]) == 2, (kind, [r["event"] for r in rows])
    assert w.returncode == 130 and err.count(b"no engine runs on this store") == 3, err


@check
def several_engines_and_one_that_sleeps(lab):
    a = lab.slow(60000, "--owner", "alice", into="a", name="a")
    b = lab.slow(60000, "--owner", "bob", into="b", name="b", store=lab.store)
    w = lab.watch("--json")
    time.sleep(1)
    a.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    a.send_signal(signal.SIGCONT)
    time.sleep(1.5)
    w.send_signal(signal.SIGINT)
    rows = [json.loads(x) for x in w.communicate(timeout=20)[0].splitlines()]
    lives = [r["life"] for r in rows if r["event"] == "engine" and r["engine"].startswith("alice.")]
    assert lives == ["alive", "stalled", "alive"], lives
    owners = {r["engine"].split(".")[0]: r["owner"] for r in rows if r["event"] == "batch"}
    assert owners == {"alice": "alice", "bob": "bob"}, owners
    for p in (a, b):
        mine = [r for r in rows if r["event"] == "engine" and r["pid"] == p.pid]
        assert mine and len({r["engine"].rsplit(".", 1)[1] for r in mine}) == 1, mine


@check
def lines_when_nobody_looks(lab):
    p = lab.slow(20000, "--owner", "alice")
    w = lab.watch()
    assert p.wait(60) == 0
    time.sleep(1.2)
    w.send_signal(signal.SIGTERM)
    lines = w.communicate(timeout=20)[0].decode().splitlines()
    assert "\x1b" not in "".join(lines)
    numbers = [x for x in lines if " items" in x]
    seconds = [x[:8] for x in numbers]
    assert 3 <= len(numbers) <= 9 and max(seconds.count(s) for s in seconds) <= 2, lines
    assert re.fullmatch(r"\d\d:\d\d:\d\d  [0-9a-f]{16}  running  \d+%  [\d,]+ items  [\d.]+k?/s  ETA \d:\d\d  alice  numbers.txt", numbers[1]), numbers
    assert "completed  100%  20,000 items" in numbers[-1], numbers[-1]
    assert any("engine alice." in x and x.endswith("alive") for x in lines), lines
    head = subprocess.run('"%s" --store "%s" watch @last | head -1' % (PENSTOCK, lab.store), shell=True, stdout=subprocess.PIPE, env=lab.env, timeout=20)
    assert b"completed" in head.stdout


@check
def a_reader_that_leaves(lab):
    p = lab.slow(40000)
    w = lab.watch("--json")
    w.stdout.readline()
    w.stdout.close()
    assert w.wait(10) == 0 and p.poll() is None, w.stderr.read()


@check
def the_picture(lab):
    """80 x 24, with what a person looks for in its place."""
    lab.run("run", lab.path("rejects.ndjson", '{"a":\n' * 3 + "1\n"), "--format", "ndjson", "--into", "r", "--label", "team=x", rc=1)
    p = lab.slow(100000)
    lab.screen()
    text = lab.wait_for(r"commit \d+%")
    rows = text.split("\n")
    assert rows[0].startswith("penstock ") and rows[0].endswith("? help  q quit") and len(rows[0]) <= 80, text
    assert re.search(r"BATCH .*STATE .*PROGRESS .*ITEMS +RATE +ETA +REJ OWNER +SOURCE", rows[1]), text
    assert re.match(r"▶[0-9a-f]{8,16} running +.* +\d+% +[\d.]+k +[\d.]+k +\d:\d\d +0 \w+ +numbers", rows[2]), text
    assert re.match(r" [0-9a-f]{8,16} completed ▕?█+▏? *100% .* 3 \w+ +rejects", rows[3]), text
    assert re.search(r"RINGS .*process \d+/\d+ .*events/s +0 lost", text) and re.search(r"ENGINES +process %d alive" % p.pid, text), text
    assert "ERRORS   none" in text, text
    lab.keys("j")
    lab.wait_for(r"ERRORS +3× PEN1043 .*rejects\.ndjson:3")
    lab.keys("Enter")
    text = lab.wait_for("items that were not simply committed")
    assert len(re.findall(r"rejected +PEN1043 rejects\.ndjson:[123] ", text)) == 3, text
    lab.keys("Escape")
    lab.wait_for("BATCH")
    lab.keys("?")
    lab.wait_for("(?s)penstock watch.*Any key goes back")
    lab.keys("x")
    lab.wait_for("BATCH")
    lab.keys("/", "n", "u", "m", "Enter")
    text = lab.wait_for("only batches with 'num'")
    assert "rejects" not in text, text
    lab.keys("Escape")
    lab.keys("t")
    lab.wait_for("AVG/s")
    p.kill()
    p.wait()
    text = lab.wait_for(r"process %d died 0:0\d ago" % p.pid)
    lab.keys("q")
    lab.ended(0)


@check
def pause_and_cancel_whoever_runs_it(lab):
    p = lab.slow(100000)
    lab.screen()
    lab.wait_for(r"▶[0-9a-f]+ running")
    lab.keys("p")
    lab.wait_for("is asked to pause; p lets it go on")
    lab.wait_for(r"▶[0-9a-f]+ paused")
    committed = lambda: json.loads(lab.run("status", "@last", "--json").stdout)["committed"]
    before = committed()
    time.sleep(0.5)
    assert committed() == before and p.poll() is None
    lab.keys("p")
    lab.wait_for(r"batch [0-9a-f]{16} goes on")
    lab.wait_for(r"▶[0-9a-f]+ running")
    lab.keys("c")
    lab.wait_for(r"cancel batch [0-9a-f]{16} for good\?")
    lab.keys("n")
    lab.keys("c", "y")
    lab.wait_for("is asked to end; what it committed stays")
    lab.wait_for(r"▶[0-9a-f]+ cancelled")
    assert p.wait(20) == 1 and before < committed() < 100000
    lab.keys("c")
    lab.wait_for("it is cancelled")
    lab.keys("q")
    lab.ended(0)
    wish = json.loads(lab.run("status", "@last", "--json").stdout)["wish"]
    assert wish["what"] == "cancel" and wish["by"], wish
    lab.verify()


@check
def what_waits_is_shown_without_an_engine(lab):
    """Also behind a hundred newer ones."""
    f = lab.path("old", "1\n")
    old = lab.run("submit", f, "--format", "lines", "--not-before", "+1h", "--owner", "ann").stdout.decode().strip()
    for i in range(101):
        lab.run("run", f, "--format", "lines", "--fresh", "--into", "d")
    lab.screen()
    text = lab.wait_for(r"▶%s[0-9a-f]* queued .* 59:\d\d +0 ann +old" % old[:8])
    assert "none runs on this store" in text, text
    lab.keys("p")
    lab.wait_for("is paused; p lets it go on")
    lab.wait_for(r"▶%s[0-9a-f]* paused" % old[:8])
    lab.run("work")  # it is not taken up
    lab.keys("p")
    lab.wait_for(r"%s may go on" % old)
    lab.wait_for(r"▶%s[0-9a-f]* queued" % old[:8])
    lab.keys("c", "y")
    lab.wait_for("%s is cancelled; what it committed stays" % old)
    lab.keys("q")
    lab.ended(0)
    assert json.loads(lab.run("status", old, "--json").stdout)["state"] == "cancelled"


@check
def sizes_and_locales(lab):
    lab.slow(100000)
    for columns, rows, lang in ((60, 20, "C"), (120, 40, "C.UTF-8"), (200, 50, "C.UTF-8"), (80, 12, "C")):
        lab.screen(columns=columns, rows=rows, lang=lang)
        text = lab.wait_for(r"commit \d+%  p50 [\d.]+ p99 [\d.]+ ms" if columns >= 100 else
                            r"commit \d+% [\d.]+/[\d.]+ ms" if columns >= 80 else r"STAGES +read")
        assert all(len(x) <= columns for x in text.split("\n")) and text.isascii() == (lang == "C"), text
        assert ("SOURCE" in text) == (columns >= 80) and re.search(r"running .*\d+%", text), text
        subprocess.run([*lab.tmux, "resize-window", "-x", "30", "-y", "8"], check=True)
        lab.wait_for("the window is too small")
        subprocess.run([*lab.tmux, "resize-window", "-x", "100", "-y", "30"], check=True)
        lab.wait_for("(?s)SOURCE.*ENGINES")
        lab.keys("C-c")
        lab.ended(130)


@check
def every_end_gives_the_terminal_back(lab):
    lab.slow(100000)
    ends = [signal.SIGTERM, signal.SIGHUP, signal.SIGABRT] + ([] if "ASAN_OPTIONS" in os.environ else [signal.SIGSEGV])
    for sig in ends:
        lab.screen()
        pid = int(subprocess.run(["pgrep", "-n", "-f", "%s watch" % lab.store], stdout=subprocess.PIPE, check=True).stdout)
        os.kill(pid, sig)
        lab.ended(128 + sig)


@check
def terminals_without_a_cursor(lab):
    lab.slow(100000)
    for term in ("TERM=dumb", "TERM=", "TERM=nonsense"):
        lab.terminal()
        subprocess.run([*lab.tmux, "-u", "new-session", "-d", "-x", "120", "-y", "24",
                        "PENSTOCK_RUN=%s %s %s --store %s watch; exec cat" % (lab.rings, term, PENSTOCK, lab.store)], check=True, env=lab.env)
        lab.wait_for(r"running +\d+%  [\d,]+ items")


if __name__ == "__main__":
    sys.exit(judge_all(WatchLab))
