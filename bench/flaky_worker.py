# flaky_worker - gives items back; every SHARE-th one fails the first time (0: none). flaky_worker.py SHARE
import json
import sys

share = int(sys.argv[1])
out = sys.stdout
for line in sys.stdin:
    r = json.loads(line)
    if share and r["seq"] % share == 0 and r["attempt"] == 1:
        out.write('{"id":%d,"error":"retry","message":"once"}\n' % r["id"])
    else:
        out.write('{"id":%d,"value":%d}\n' % (r["id"], r["seq"]))
    out.flush()
