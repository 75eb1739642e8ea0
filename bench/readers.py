#!/usr/bin/python3
# readers - how fast the Python and the Node reader of the progress ring are
#
#   readers.py [--smoke]      (bench/run.sh calls it)
#
# One JSON line a result. A ring of 16,384 events and 1,024 gauges, 64 of them in use, lies in /dev/shm and nobody writes to it:
# drain reads all of it again and again. records_per_s counts events that were copied, found to be whole, and given out one by one
# (Python: tuples; Node: columns, and once as objects); poll_ns is one look for new events when there are none; snapshot_us is all
# batches. The median of 7 rounds.
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(ROOT, "tests/readers"), os.path.join(ROOT, "tools/readers")]
import make_ring  # noqa: E402
import penstock_progress as pp  # noqa: E402

SMOKE = "--smoke" in sys.argv
SECONDS = 0.01 if SMOKE else 0.5
ROUNDS = 1 if SMOKE else 7
SLOTS = 16384


def ring_file(where, crc):
    r = make_ring.Maker(events=SLOTS, gauges=1024, compat=int(crc))
    for g in range(64):
        r.gauge(g * 16, g + 1, 3, label=b"papers.ndjson", live=((b"words", g),), items_total=1000, committed=g, seq=2)
    for i in range(SLOTS):
        r.event(3, batch=1 + i % 64, gauge=i % 64 * 16, ts=i, a=i, b=i)
    path = os.path.join(where, "crc.0.ring" if crc else "plain.0.ring")
    with open(path, "wb") as f:
        f.write(r.bytes())
    return path


def rate(work, per_call):
    """Median of `per_call` things a second."""
    rounds = []
    for _ in range(ROUNDS):
        n, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < SECONDS:
            work()
            n += per_call
        rounds.append(n / (time.perf_counter() - begun))
    return statistics.median(rounds)


def report(bench, **kw):
    print(json.dumps(dict(bench=bench, command="bench/readers.py", **{k: float("%.4g" % v) for k, v in kw.items()})), flush=True)


def python(paths):
    for path, check in ((paths[0], False), (paths[1], True)):
        with pp.Ring(path, check_crc=check) as ring:
            def drain():
                for event in ring.drain(0)[0]:
                    event.a

            def poll():
                for _ in range(1000):
                    ring.drain(SLOTS)

            report("readers_python" + ("_crc" if check else ""), records_per_s=rate(drain, SLOTS), poll_ns=1e9 / rate(poll, 1000),
                   snapshot_us=1e6 / rate(lambda: list(ring.batches()), 1))


NODE = """
import { Ring } from %s
const [seconds, rounds, slots, plain, crc] = [%f, %d, %d, %s, %s]
function rate(work, per) {
	const all = []
	for (let r = 0; r < rounds; r++) {
		const begun = process.hrtime.bigint()
		let n = 0
		let took = 0
		while (took < seconds) {
			work()
			n += per
			took = Number(process.hrtime.bigint() - begun) / 1e9
		}
		all.push(n / took)
	}
	return all.sort((a, b) => a - b)[rounds >> 1]
}
let sum = 0
const out = {}
for (const [name, path] of [['', plain], ['_crc', crc]]) {
	const ring = new Ring(path)
	const columns = () => {
		const { events } = ring.drain(0n)
		for (let i = 0; i < events.length; i++)
			if (events.type(i) === 3)
				sum += events.number(i, 0)
	}
	const objects = () => {
		for (const event of ring.drain(0n).events)
			sum += event.type
	}
	const end = BigInt(slots)
	out[name] = { records_per_s: rate(columns, slots), objects_per_s: rate(objects, slots),
		poll_ns: 1e9 / rate(() => { for (let i = 0; i < 1000; i++) ring.drain(end) }, 1000),
		snapshot_us: 1e6 / rate(() => [...ring.batches()], 1) }
}
console.log(JSON.stringify(out), sum > 0 ? '' : 'nothing read')
"""


def node(paths):
    if not shutil.which("node"):
        print("no node here: its reader is not measured", file=sys.stderr)
        return
    script = NODE % (json.dumps(os.path.join(ROOT, "tools/readers/penstock_progress.mjs")), SECONDS, ROUNDS, SLOTS,
                     *map(json.dumps, paths))
    p = subprocess.run(["node", "--input-type=module", "-e", script], stdout=subprocess.PIPE, check=True)
    for name, figures in json.loads(p.stdout).items():
        report("readers_node" + name, **figures)


def main():
    if platform.machine() != "x86_64":
        sys.exit("pure Python reads rings on x86-64 only")
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as where:
        paths = [ring_file(where, crc) for crc in (False, True)]
        python(paths)
        node(paths)


if __name__ == "__main__":
    main()
