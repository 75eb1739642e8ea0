#!/usr/bin/python3
# probe - the Python reader, driven line by line by run.py
#
#   probe.py soak PATH      follows a ring of ring_cast from its start; says "ready", and counts at the end
#   probe.py life PATH      for each line on stdin: the writer's life
#   probe.py late PATH      joins at once, follows by gauges and events to the end, and says what it then believes
import json
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/readers"))
import penstock_progress as pp  # noqa: E402

ODD = 0x9E3779B97F4A7C15


def say(text):
    print(text, flush=True)


def soak(path):
    """Reads a ring of ring_cast to its end; every number must follow from its event's or its gauge's one number."""
    mask, seen, gauges, cursor = (1 << 64) - 1, 0, 0, 0
    with pp.Ring(path) as ring:
        say("ready")
        spins = 0
        while True:
            events, cursor, _ = ring.drain(cursor)
            for e in events:
                x = e.index
                assert (e.a, e.b, e.c, e.code, e.type) == (x + 1, x + 1, x * ODD & mask, ~x & 0xffffffff, 3), e
                seen += 1
            spins += 1
            for b in ring.batches() if spins % 2 else [ring.gauge(0)]:
                if not b:
                    continue  # the writer was always faster
                n = b.bytes_done
                assert (b.bytes_total, b.committed, b.rejected, b.eta_ms, b.user_tag, b.live, b.label, b.as_of) == (
                    n * ODD & mask, n, ~n & mask, n ^ ODD, n + ODD & mask, {"same": n, "not": ~n & mask}, "torn?", n), b
                gauges += 1
            if ring.hot()["state"] == 4 and ring.tail == cursor:
                break
        say(json.dumps({"seen": seen, "lost": ring.lost, "gauges": gauges}))


class Late(pp.Ring):
    """Its gauges are looked at all together or not at all, so that events must do the rest."""
    all = False

    def gauge(self, g):
        return super().gauge(g) if self.all else None

    def batches(self):
        self.all = True
        yield from super().batches()
        self.all = False


def late(path):
    with Late(path) as ring:
        follower = pp.Follower(ring)
        while not follower.over:
            follower.step()
            time.sleep(0.001)
        say(json.dumps({"b%d" % b.id: [b.bytes_done, b.committed, b.as_of] for b in follower.batches.values()}))


def life(path):
    with pp.Ring(path) as ring:
        say("ready")
        for _ in sys.stdin:
            say(ring.life())


if __name__ == "__main__":
    {"soak": soak, "life": life, "late": late}[sys.argv[1]](sys.argv[2])
