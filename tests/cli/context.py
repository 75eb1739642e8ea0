#!/usr/bin/python3
# context - one id for all that is done for a batch: given, made up, or taken from a W3C trace; and everywhere the same
#
#   tests/cli/context.py PENSTOCK [WORD]      only checks whose name contains WORD
import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run
from run import check

run.CHECKS.clear()

UUID = "123e4567-e89b-42d3-a456-426614174000"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE_UUID = "0af76519-16cd-43dd-8448-eb211c80319c"
WORKER = '''
import json, os, sys
for line in sys.stdin:
    r = json.loads(line)
    v = {"told": r["correlation_id"], "env": os.environ["PENSTOCK_CORRELATION_ID"], "trace": os.environ["TRACEPARENT"]}
    print(json.dumps({"id": r["id"], "value": v}), flush=True)
'''


def env_of(value):
    return dict(x.split("=", 1) for x in value.decode().splitlines() if "=" in x)


@check
def everywhere_the_same(lab):
    f = lab.path("a", "one\ntwo\n")
    o = lab.load(f, "--format", "lines", "--correlation-id", UUID, "--processor", "exec:env")
    assert o["correlation_id"] == UUID, o
    assert json.loads(lab.run("status", "@last", "--json").stdout)["correlation_id"] == UUID
    assert {e["correlation_id"] for e in lab.lines("events", "@last")} == {UUID}
    rows = lab.lines("items", "@last")
    assert len(rows) == 2 and {r["correlation_id"] for r in rows} == {UUID}, rows
    env = env_of(lab.dump()[0][1])
    assert env["PENSTOCK_CORRELATION_ID"] == UUID
    assert re.fullmatch("00-%s-(?!0{16})[0-9a-f]{16}-00" % UUID.replace("-", ""), env["TRACEPARENT"]), env
    w = lab.path("w.py", WORKER)
    o = lab.load(f, "--format", "lines", "--into", "w", "--processor", "worker:python3 " + w)
    assert o["correlation_id"] != UUID
    v = [json.loads(v) for _, v in lab.dump("w")]
    assert len(v) == 2 and all(x["told"] == x["env"] == o["correlation_id"] for x in v), (v, o)
    # Events of all batches: each with its own.
    assert {e["correlation_id"] for e in lab.lines("events")} == {UUID, o["correlation_id"]}
    lab.verify()


@check
def a_trace_goes_on(lab):
    f = lab.path("a", "one\n")
    o = lab.load(f, "--format", "lines", "--traceparent", TRACE, "--processor", "exec:env")
    assert o["correlation_id"] == TRACE_UUID, o
    env = env_of(lab.dump()[0][1])
    assert env["TRACEPARENT"].startswith(TRACE[:36]) and env["TRACEPARENT"].endswith("-01") and env["TRACEPARENT"] != TRACE, env
    assert "traceparent=" + TRACE in json.loads(lab.run("status", "@last", "--json").stdout)["labels"]
    # As tracers pass it on; what is none of theirs is no news, unless it was typed.
    around = dict(os.environ, TRACEPARENT=TRACE)
    assert lab.load(f, "--format", "lines", "--into", "b", env=around)["correlation_id"] == TRACE_UUID
    assert lab.load(f, "--format", "lines", "--into", "c", "--correlation-id", UUID, env=around)["correlation_id"] == UUID
    o = lab.load(f, "--format", "lines", "--into", "d", env=dict(os.environ, TRACEPARENT="00-zz"))
    assert o["correlation_id"][14] == "4" and o["correlation_id"] != TRACE_UUID, o
    p = lab.run("run", f, "--traceparent", "00-zz", rc=2)
    assert "--traceparent" in p.err and "00-0af7" in p.err, p.err
    # Submitted here, worked on there: the environment of the worker's process is another.
    lab.run("submit", f, "--format", "lines", "--into", "e", "--processor", "exec:env", env=around)
    lab.run("work", env=dict(os.environ, TRACEPARENT="00-11111111111111111111111111111111-1111111111111111-00"))
    assert env_of(lab.dump("e")[0][1])["TRACEPARENT"].startswith(TRACE[:36])
    lab.verify()


@check
def a_batch_keeps_its_own(lab):
    """The same command later is the same batch: its id is the first one's, for children too."""
    f = lab.path("a", "1\nno\n3\n")
    command = 'exec:sh -c \'read x; [ "$x" != no ] || [ -e "%s" ] || exit 1; env\'' % lab.path("fixed")
    args = (f, "--format", "lines", "--processor", command, "--max-retries", "0", "--jobs", "1")
    first = lab.load(*args, "--halt", "now,fail=1", rc=4)
    lab.path("fixed", "")
    again = lab.load(*args, rc=(0, 1))
    assert again["resumed"] and again["correlation_id"] == first["correlation_id"], (first, again)
    ids = {env_of(v)["PENSTOCK_CORRELATION_ID"] for _, v in lab.dump()}
    assert ids == {first["correlation_id"]}, (ids, first)
    assert {e["correlation_id"] for e in lab.lines("events", "@last")} == ids
    lab.verify()


if __name__ == "__main__":
    sys.exit(run.main())
