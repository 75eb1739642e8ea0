#!/usr/bin/python3
# processor - workers and commands that misbehave, each under its own name
#
#   processor.py worker NAME      speaks the protocol of docs/WORKERS.md, until it does not
#   processor.py exec NAME        one item on stdin
#
# What is done to one item is done to the item whose text is "poison"; all others are given back.
import ctypes
import json
import os
import random
import signal
import subprocess
import sys
import time

POISON = "poison"
out = sys.stdout


def raw(data):
    os.write(1, data)


def say(reply):
    out.write(json.dumps(reply) + "\n")
    out.flush()


def echo(request):
    say({"id": request["id"], "value_text": request.get("item_text", "")})


def requests():
    for line in sys.stdin:
        yield json.loads(line)


def sleep_for_ever():
    while True:
        time.sleep(1000)


def ignore_term():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def escape_and_stay(hold_pipes=True):
    """A grandchild in a session of its own, which the group's end does not reach."""
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    if not hold_pipes:
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
    ignore_term()
    sleep_for_ever()


def grandchild():
    if os.fork() == 0:
        ignore_term()
        sleep_for_ever()


def crash():
    ctypes.string_at(0)


# ---- workers: what happens at the poisoned item --------------------------------------------------------

def w_exit(r): os._exit(3)
def w_exit_clean(r): os._exit(0)
def w_segv(r): crash()
def w_abort(r): os.abort()
def w_kill_itself(r): os.kill(os.getpid(), signal.SIGKILL)
def w_kill_group(r): os.killpg(0, signal.SIGKILL)
def w_raise(r): raise RuntimeError("no idea what to do with this")
def w_hang(r): sleep_for_ever()


def w_hang_deaf(r):
    ignore_term()
    sleep_for_ever()


def w_spin(r):
    ignore_term()
    while True:
        pass


def w_stop_itself(r): os.kill(os.getpid(), signal.SIGSTOP)
def w_garbage(r): raw(b"Traceback (most recent call last):\n")
def w_binary(r): raw(bytes(range(256)) * 4 + b"\n")
def w_nul(r): raw(b"\0\n")
def w_half_line_then_die(r): raw(b'{"id":%d,"value_te' % r["id"]); os._exit(1)
def w_half_line_then_hang(r): raw(b'{"id":%d,"value_te' % r["id"]); sleep_for_ever()
def w_unknown_id(r): say({"id": 10 ** 9, "ok": True})
def w_negative_id(r): raw(b'{"id":-1,"ok":true}\n')
def w_string_id(r): say({"id": str(r["id"]), "ok": True})
def w_no_id(r): say({"ok": True})
def w_array(r): raw(b"[1,2,3]\n")
def w_two_values(r): raw(b'{"id":%d,"ok":true}{"id":%d,"ok":true}\n' % (r["id"], r["id"]))
def w_error_and_value(r): say({"id": r["id"], "error": "reject", "value": 1})
def w_unknown_error(r): say({"id": r["id"], "error": "maybe"})
def w_bad_base64(r): say({"id": r["id"], "value_base64": "###"})
def w_bad_utf8(r): raw(b'{"id":%d,"value_text":"\xff\xfe"}\n' % r["id"])
def w_surrogate(r): raw(b'{"id":%d,"value_text":"\\ud800"}\n' % r["id"])
def w_deep(r): raw(b'{"id":%d,"value":' % r["id"] + b"[" * 5000 + b"]" * 5000 + b"}\n")
def w_ok_twice(r): raw(b'{"id":%d,"ok":true,"ok":true}\n' % r["id"])
def w_deed_without_key(r): say({"id": r["id"], "ok": True, "put": [{"dataset": "d", "value": 1}]})
def w_too_many_deeds(r): say({"id": r["id"], "ok": True, "delete": [{"dataset": "d", "key": str(i)} for i in range(1025)]})


def w_flood_line(r):
    raw(b'{"id":%d,"value_text":"' % r["id"])
    while True:
        raw(b"x" * 65536)


def w_flood_lines(r):
    while True:
        raw(b'{"id":1000000,"ok":true}\n' * 1000)


def w_flood_stderr(r):
    for _ in range(200):
        os.write(2, b"z" * 65536)
    os.write(2, b"the last line\n")
    os._exit(4)


def w_large_value(r): say({"id": r["id"], "value_text": "y" * 3000000})
def w_close_stdin(r): os.close(0); sleep_for_ever()
def w_close_stdout(r): os.close(1); sleep_for_ever()
def w_fork_and_die(r): grandchild(); os._exit(5)
def w_escape_and_die(r): escape_and_stay(); os._exit(5)


def w_memory(r):
    hold = []
    while True:
        hold.append(bytearray(16 << 20))


def w_fork_bomb(r):
    ignore_term()
    for _ in range(64):
        if os.fork() == 0:
            for _ in range(2):
                os.fork()
            sleep_for_ever()
    sleep_for_ever()


def w_open_files(r):
    while True:
        os.open("/dev/null", os.O_RDONLY)


def w_answer_then_die(r): echo(r); os._exit(6)


def w_answer_twice(r):
    echo(r)
    echo(r)


def w_change_others(r):
    os.kill(os.getppid(), signal.SIGTERM)  # the launcher, which does not listen
    echo(r)


# ---- workers that are odd as a whole -------------------------------------------------------------------

def worker_backwards():
    """Gathers what it can get, and answers it in an order of its own."""
    random.seed(1)
    held = []
    os.set_blocking(0, False)
    data = b""
    while True:
        try:
            got = os.read(0, 65536)
            if not got:
                break
            data += got
        except BlockingIOError:
            random.shuffle(held)
            for r in held:
                echo(r)
            held = []
            time.sleep(0.001)
            continue
        *lines, data = data.split(b"\n")
        held += [json.loads(line) for line in lines]


def worker_all_or_nothing():
    """Reads what it can get before it answers any of it, and ends when the poison is among it."""
    os.set_blocking(0, False)
    data = b""
    quiet = 0
    while True:
        try:
            got = os.read(0, 65536)
            if not got:
                break
            data += got
            quiet = 0
        except BlockingIOError:
            time.sleep(0.005)
            quiet += 1
            if quiet < 10:
                continue
            held = [json.loads(line) for line in data.splitlines()]
            data = b""
            if any(r["item_text"] == POISON for r in held):
                os._exit(3)
            for r in reversed(held):
                echo(r)


def worker_never_reads(): sleep_for_ever()
def worker_dies_at_once(): os._exit(7)
def worker_says_hello_and_dies(): say({"ready": True}); os._exit(8)
def worker_syntax_error(): raise SyntaxError("invalid syntax")


def worker_ready_first():
    say({"ready": True, "message": "here"})
    for r in requests():
        echo(r)


def worker_one_item_each():
    """Ends after each answer, as some servers recycle their children."""
    for r in requests():
        echo(r)
        os._exit(0)


def worker_leaves_pipe_to_child():
    grandchild()
    for r in requests():
        echo(r)


def worker_slow_bytes():
    for r in requests():
        for b in (json.dumps({"id": r["id"], "value_text": r["item_text"]}) + "\r\n\n").encode():
            raw(bytes([b]))


def worker_talks_on_stderr():
    for r in requests():
        os.write(2, b"working on it, working on it\n" * 100)
        echo(r)


def worker_ignores_eof():
    ignore_term()
    for r in requests():
        echo(r)
    sleep_for_ever()


def worker_poison(name):
    act = globals()["w_" + name]
    for r in requests():
        if r.get("item_text") == POISON:
            act(r)
        else:
            echo(r)


# ---- commands ------------------------------------------------------------------------------------------

def exec_closes_stdin(): os.close(0); print("fine")
def exec_ignores_stdin(): print("fine")
def exec_hangs(): sleep_for_ever()
def exec_hangs_deaf(): ignore_term(); sleep_for_ever()
def exec_exits_0_on_term(): signal.signal(signal.SIGTERM, lambda *_: os._exit(0)); sleep_for_ever()
def exec_segv(): crash()
def exec_kills_group(): os.killpg(0, signal.SIGKILL)
def exec_stops_itself(): os.kill(os.getpid(), signal.SIGSTOP)


def exec_floods():
    while True:
        raw(b"x" * 65536)


def exec_floods_stderr():
    for _ in range(200):
        os.write(2, b"z" * 65536)
    os.write(2, b"the last line\n")
    sys.exit(9)


def exec_leaves_grandchild(): grandchild(); print("fine")
def exec_escapes(): escape_and_stay(); print("fine")
def exec_escapes_quietly(): escape_and_stay(False); print("fine")


def exec_fork_bomb():
    ignore_term()
    for _ in range(64):
        if os.fork() == 0:
            os.fork()
            sleep_for_ever()
    sleep_for_ever()


def exec_memory():
    hold = []
    while True:
        hold.append(bytearray(16 << 20))


def exec_closes_all(): os.closerange(0, 3); sleep_for_ever()
def exec_says_no(): sys.exit(65)
def exec_leaves_background_writer(): subprocess.Popen(["sh", "-c", "while echo more; do :; done"]); print("fine")


def exec_lists_descriptors():
    # The listing itself holds one open.
    print(json.dumps(sorted({int(fd) for fd in os.listdir("/proc/self/fd")} - {3})), end="")


def exec_shows_itself():
    with open("/proc/self/status") as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
    print(json.dumps({"blocked": int(status["SigBlk"], 16), "ignored": int(status["SigIgn"], 16) & ~(1 << 12 | 1 << 24),
                      "leads": os.getpgid(0) == os.getpid(), "parent": os.getppid(),
                      "env": {k: v for k, v in os.environ.items() if k.startswith("PENSTOCK_")}}), end="")


def main():
    kind, name = sys.argv[1:]
    if kind == "worker" and "w_" + name in globals():
        worker_poison(name)
    else:
        globals()[kind + "_" + name]()


main()
