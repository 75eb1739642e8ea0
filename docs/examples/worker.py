#!/usr/bin/env python3
"""A worker in Python: counts the words of each item.

    penstock run --processor 'worker:python3 worker.py' --format lines notes.txt

One JSON object a line comes in, one goes out, with the same id. See docs/WORKERS.md.
"""
import json
import sys

for line in sys.stdin:
    request = json.loads(line)
    reply = {"id": request["id"]}
    text = request.get("item_text")
    if text is None:
        reply |= {"error": "reject", "code": "NOT_TEXT", "message": "this worker takes lines of text"}
    elif not text.strip():
        reply |= {"error": "drop", "message": "an empty line"}
    else:
        words = text.split()
        reply["value"] = {"words": len(words)}
        # A reply may also write into other datasets, in the same transaction.
        reply["put"] = [{"dataset": "longest", "key": max(words, key=len), "value": request["seq"]}]
    print(json.dumps(reply), flush=True)
