#!/usr/bin/python3
# rivals - the same file into penstock's store and into other programs' own, each durable at its end
#
#   rivals.py DIR [--smoke] [--only NAME]...      (bench/run.sh calls it; DIR is for the data and must be on a disk)
#
# Environment: as for ingest.py. Each side is a process; its time is that from its start to its exit, and its rate the
# records of the input by that. What a rival stores, and in which way, is its own: the line says it (`rival`, `does`). A rival
# that is not installed is skipped, and the line says why. DuckDB comes from npm, into B/bench-npm; not in a smoke run.
import json
import os
import shutil
import subprocess
import time

from measure import B, MIB, ONLY, RIVAL, SMOKE, STORE, command, files_of, generate, pairs, report, settle, sig

HERE = os.path.dirname(os.path.abspath(__file__))
DUCKDB = "@duckdb/node-api@1.5.6-r.1"
NPM = os.path.join(B, "bench-npm")


class Absent(Exception):
    pass


def need(program, package):
    if not shutil.which(program):
        raise Absent("no %s (Debian: %s)" % (program, package))


def run(argv, **kw):
    p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kw)
    if p.returncode:
        raise Absent("%s: status %d: %s" % (argv[0], p.returncode, (p.stderr.strip().splitlines() or [""])[0][:200]))
    return p.stdout


def stored(at):
    """MiB on disk; a sparse file counts what it takes."""
    return sig(sum(os.stat(path).st_blocks for path in files_of(at)) / 2048)


def duckdb(path):
    need("node", "nodejs")
    if not os.path.isdir(os.path.join(NPM, "node_modules", "@duckdb", "node-api")):
        if SMOKE:
            raise Absent("%s is not in %s, and a smoke run fetches nothing" % (DUCKDB, os.path.relpath(NPM)))
        need("npm", "npm")
        run(["npm", "install", "--no-audit", "--no-fund", "--prefix", NPM, DUCKDB], timeout=600)
    env = dict(os.environ, NODE_PATH=os.path.join(NPM, "node_modules"))
    argv = ["node", os.path.join(HERE, "rival_duckdb.js"), path, os.path.join(RIVAL, "records.duckdb")]
    return (argv, env, lambda out: json.loads(out)["rows"], lambda out: "DuckDB " + json.loads(out)["version"],
            "columns with types, compressed, in a database file; all rows or none; all processors")


def sqlite(path):
    need("sqlite3", "sqlite3")
    database = os.path.join(RIVAL, "records.sqlite")
    count = lambda out: int(run(["sqlite3", database, "SELECT count(*) FROM records"]))
    return (["sqlite3", database, '.import --csv "%s" records' % path], None, count,
            lambda out: "SQLite " + run(["sqlite3", "--version"]).split()[0],
            "columns of text in a database file, default PRAGMAs (rollback journal, synchronous=FULL); all rows or none")


def miller(path):
    need("mlr", "miller")
    return (["mlr", "-S", "--icsv", "--ojsonl", "cat", path], None, None,
            lambda out: "Miller " + run(["mlr", "--version"]).split()[-1],
            "stores nothing: rows become JSON objects of strings, into /dev/null")


def python(path):
    if subprocess.run(["/usr/bin/python3", "-c", "import lmdb"], stderr=subprocess.DEVNULL).returncode:
        raise Absent("no lmdb module (Debian: python3-lmdb)")
    return (["/usr/bin/python3", os.path.join(HERE, "rival_lmdb.py"), path, RIVAL], None,
            lambda out: json.loads(out)["rows"], lambda out: "python3 csv + " + json.loads(out)["version"],
            "JSON objects of strings in LMDB, 10,000 rows a transaction, each synced; no resume")


def timed(argv, env, out):
    """What it wrote to stdout if that is wanted, and its seconds."""
    began = time.monotonic()
    p = subprocess.run(argv, env=env, stdout=out, check=True)
    return p.stdout, time.monotonic() - began


def check(who, stored, records):
    if stored != records:
        raise SystemExit("%s: %d records, %d stored" % (who, records, stored))


def against(bench, path, records, rival):
    try:
        argv, env, count, name, does = rival(path)
    except (Absent, subprocess.TimeoutExpired) as why:
        report(bench, skipped=str(why))
        return

    said = {"does": does, "records": records}

    def ours():
        settle(path)
        out, s = timed(command(path, "@seq"), None, subprocess.PIPE)
        check("penstock", json.loads(out)["committed"], records)
        said["store_mib"] = stored(STORE)
        return records / s

    def theirs():
        settle(path)
        os.mkdir(RIVAL)
        out, s = timed(argv, env, subprocess.PIPE if count else subprocess.DEVNULL)
        if count:
            check(bench, count(out), records)
        said["rival"] = name(out)
        said["rival_store_mib"] = stored(RIVAL)
        return records / s

    pairs(bench, path, ours, theirs,
          "penstock run FILE --key @seq; " + " ".join(argv).replace(path, "FILE").replace(RIVAL, "DIR").replace(HERE, "bench"), said)


def main():
    path, records = generate("table.csv", str(MIB), "csv")
    series = (("rival_duckdb", duckdb), ("rival_sqlite", sqlite), ("rival_miller", miller), ("rival_python", python))
    for name, rival in series:
        if not ONLY or name in ONLY:
            against(name, path, records, rival)
    if not ONLY or "rival_duckdb_ndjson" in ONLY:
        path, records = generate("table.ndjson", "%dr" % records)
        against("rival_duckdb_ndjson", path, records, duckdb)


main()
