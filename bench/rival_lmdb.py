#!/usr/bin/python3
# rival_lmdb - what people write: python's csv module, an object of strings a row, 10,000 rows a transaction into LMDB
#
#   rival_lmdb.py FILE DIR      prints {"rows":N,"version":"…"}
#
# Keys are row numbers, appended. LMDB's default flags, so every transaction is synced. No resume, no rejected rows:
# a cell too many or too few is not noticed.
import csv
import json
import struct
import sys

import lmdb

env = lmdb.open(sys.argv[2], map_size=1 << 40)
n = 0
txn = env.begin(write=True)
with open(sys.argv[1], newline="", encoding="utf-8") as f:
    rows = csv.reader(f)
    names = next(rows)
    for row in rows:
        value = json.dumps(dict(zip(names, row)), ensure_ascii=False, separators=(",", ":"))
        txn.put(struct.pack(">Q", n), value.encode(), append=True)
        n += 1
        if n % 10000 == 0:
            txn.commit()
            txn = env.begin(write=True)
txn.commit()
env.close()
print(json.dumps({"rows": n, "version": "lmdb %s" % ".".join(map(str, lmdb.version()))}))
