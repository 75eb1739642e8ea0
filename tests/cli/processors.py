#!/usr/bin/python3
# processors - conditions, built-in processors and plugins, judged from outside
#
#   tests/cli/processors.py PENSTOCK [WORD]      only checks whose name contains WORD
#
# The laboratory is run.py's. Plugins are compiled here against include/ alone; the example's plugin is the built one.
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run
from run import PENSTOCK, be, check

run.CHECKS.clear()
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TIDY = os.path.join(os.path.dirname(PENSTOCK), "docs/examples/tidy_plugin.so")

PLUGIN = """
#include <penstock_plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
%s
const struct pen_plugin penstock_plugin = { PEN_PLUGIN_ABI, FLAGS, sizeof(struct pen_plugin), "test", VERSION, EXTRA, 0, item, 0 };
"""
ITEM = "static int item(void *self, const struct pen_plugin_item *in, struct pen_plugin_sink *out)\n{\n(void)self; (void)in; (void)out;\n%s\n}\n"


def plugin(lab, body, name="p", flags="0", version='"1"', extra="0", whole=None, language="c"):
    """A plugin whose item function has this body; returns its path."""
    source = lab.path("%s.%s" % (name, language), whole or PLUGIN % (
        "#define FLAGS %s\n#define VERSION %s\n#define EXTRA %s\n" % (flags, version, extra) + ITEM % body))
    so = lab.path(name + ".so")
    if os.path.exists(so):
        os.unlink(so)
    subprocess.run(["c++" if language == "cc" else "cc", "-shared", "-fPIC", "-Wall", "-Werror", "-O1", "-I", os.path.join(ROOT, "include"),
                    "-o", so, source], check=True)
    return so


def values(lab, dataset="default"):
    return [v for _, v in lab.dump(dataset)]


@check
def conditions(lab):
    rows = [{"id": i, "n": i % 7, "s": "even" if i % 2 == 0 else "odd", **({"x": None} if i % 3 == 0 else {})} for i in range(5000)]
    f = lab.path("a.ndjson", "".join(json.dumps(r) + "\n" for r in rows))
    cases = ((["/s==even"], lambda r: r["s"] == "even"), (["/n>=3", "/s!=odd"], lambda r: r["n"] >= 3 and r["s"] != "odd"),
             (["/x"], lambda r: "x" in r), (["!/x", "/n<2"], lambda r: "x" not in r and r["n"] < 2), (["/no==1"], lambda r: False))
    for i, (where, wanted) in enumerate(cases):
        o = lab.load(f, "--key", "/id", "--into", "d%d" % i, *[x for w in where for x in ("--where", w)])
        want = [r["id"] for r in rows if wanted(r)]
        assert sorted(json.loads(v)["id"] for v in values(lab, "d%d" % i)) == want
        assert (o["committed"], o["skipped"], o["rejected"]) == (len(want), 5000 - len(want), 0), o
        assert lab.lines("items", o["batch"]) == []
        plan = json.loads(lab.run("plan", f, "--key", "/id", "--into", "new", "--json", *[x for w in where for x in ("--where", w)]).stdout)
        assert (plan["committed"], plan["skipped"]) == (o["committed"], o["skipped"])
    # What was left out before a reject is no reject: the threshold counts rejects alone.
    g = lab.path("b.ndjson", '{"n":1}\n' * 500 + "broken\n" + '{"n":2}\n' * 10)
    o = lab.load(g, "--where", "/n==2", "--max-rejects", "0", rc=4)
    assert (o["items"], o["skipped"], o["rejected"]) == (501, 500, 1), o
    # A table's cells are strings.
    t = lab.path("t.csv", "id,year\na,1999\nb,2020\nc,\n")
    assert lab.load(t, "--key", "id", "--into", "t", "--where", "/year>=2000")["committed"] == 1
    assert [k for k, _ in lab.dump("t")] == [b"b"]
    lab.verify()


@check
def conditions_belong_to_the_batch(lab):
    f = lab.path("a.ndjson", '{"n":1}\n{"n":2}\n')
    a = lab.load(f, "--where", "/n==1")
    assert lab.load(f, "--where", "/n==1")["batch"] == a["batch"]
    assert lab.load(f, "--where", "/n==2")["batch"] != a["batch"]
    assert lab.load(f)["batch"] != a["batch"]
    for bad in ("n==1", "/n<true", "!/n==1", ""):
        p = lab.run("run", f, "--where", bad, rc=2, store=lab.path("none"))
        assert "condition" in p.err, p.err
    assert not os.path.exists(lab.path("none")), "a usage error made a store"


@check
def built_in(lab):
    rows = ['{"id":"%d","a":[%d],"m":{"y":%d},"t":"%s"}' % (i, i, i, "x" * (i % 300)) for i in range(4000)]
    f = lab.path("a.ndjson", "\n".join(rows) + "\n")
    for name, f_of in (("digest:sha256", lambda r: hashlib.sha256(r.encode()).hexdigest()),
                       ("project:a,/m/y,name=/id", lambda r: '{"a":%s,"y":%d,"name":"%s"}' % (
                           json.dumps(json.loads(r)["a"]), json.loads(r)["m"]["y"], json.loads(r)["id"])),
                       ("json", lambda r: r), ("copy", lambda r: r)):
        for more in ((), ("--chunk-bytes", "1024"), ("--jobs", "3", "--io", "threads")):
            o = lab.load(f, "--processor", name, "--into", "d", "--fresh", *more)
            assert o["committed"] == 4000
            got = dict(lab.dump("d"))
            assert [got[be(i + 4000 * 0 + min(k for k in [int.from_bytes(x, "big") for x in got]))].decode() for i in range(4000)] == [
                f_of(r) for r in rows], name
            lab.run("drop", "d", "--yes")
    xxh = subprocess.run(["xxhsum", "-H2", f], stdout=subprocess.PIPE) if subprocess.run(["which", "xxhsum"], stdout=subprocess.DEVNULL).returncode == 0 else None
    lab.load(f, "--format", "files", "--into", "w", "--processor", "digest")
    assert len(values(lab, "w")[0]) == 32
    if xxh:
        assert values(lab, "w")[0] == xxh.stdout.split()[0]
    # json judges what no format would: lines, and whole files.
    g = lab.path("l.txt", '{"a":1}\nnope\n[2]\n')
    o = lab.load(g, "--format", "lines", "--processor", "json", "--validate", "fast", rc=1)
    assert (o["committed"], o["rejected"]) == (2, 1)
    assert lab.lines("items", o["batch"])[0]["code"] == "PEN1042"
    o = lab.load(g, "--format", "ndjson", "--processor", "project:a", "--into", "p", rc=1)
    assert sorted(r["code"] for r in lab.lines("items", o["batch"])) == ["PEN1042", "PEN1306"]
    lab.verify()


@check
def content_keys_are_of_the_result(lab):
    f = lab.path("a.ndjson", '{"a":1,"b":1}\n{"a":1,"b":2}\n')
    o = lab.load(f, "--processor", "project:a", "--key", "@content")
    assert o["duplicates"] == 1 and values(lab) == [b'{"a":1}']
    g = lab.path("b.ndjson", '{"a":1}\n')
    lab.load(g, "--key", "@content", "--into", "plain")
    assert lab.dump("plain") == lab.dump()
    lab.verify()


@check
def results_of_all(lab):
    f = lab.path("a.csv", "id,n\n" + "".join("k%d,%d\n" % (i % 900, i % 10) for i in range(1000)) + "x\n")
    o = lab.load(f, "--key", "id", "--on-duplicate", "keep", "--where", "/n!=3", "--results", "all", rc=1)
    rows = lab.lines("items", o["batch"])
    assert [r["seq"] for r in rows] == list(range(1001)) and o["items"] == 1001
    count = {s: sum(r["state"] == s for r in rows) for s in ("committed", "skipped", "rejected")}
    assert count == {s: o[s] for s in count}, (count, o)
    text = open(f).read()
    for r in rows:
        assert text[r["offset"]:].startswith("k%d,%d\n" % (r["seq"] % 900, r["seq"] % 10)) or r["state"] == "rejected", r
        assert r["line"] == r["seq"] + 2
    assert {r["code"] for r in rows if r["state"] == "skipped"} == {"PEN1305", "PEN1050"}
    assert lab.lines("items", o["batch"], "--state", "committed", "--limit", "3")[0]["key"] == "k0"
    lab.verify()
    # The rows are those of the first run, whatever the second one wants.
    g = lab.path("b.ndjson", '{"n":1}\n' * 100 + "broken\n" + '{"n":1}\n' * 100)
    o = lab.load(g, "--results", "all", "--into", "b", "--max-rejects", "0", rc=4)
    assert len(lab.lines("items", o["batch"])) == 101
    o = lab.load(g, "--into", "b", "--max-rejects", "5", rc=1)
    assert o["resumed"] and len(lab.lines("items", o["batch"])) == 201
    lab.verify()


@check
def example_plugin(lab):
    lines = [" Hello  ", "", "WORLD\t", "a\0b", "x"]
    f = lab.path("l.txt", "\n".join(lines) + "\n")
    o = lab.load(f, "--format", "lines", "--processor", "so:" + TIDY, rc=1)
    assert (o["committed"], o["skipped"], o["rejected"]) == (3, 1, 1)
    assert lab.dump() == [(be(0), b"hello"), (be(2), b"world"), (be(4), b"x")]
    row, = lab.lines("items", o["batch"])
    assert row["code"] == "PEN1302" and row["message"].endswith("7: there is a NUL byte in the text"), row
    assert row["line"] == 4 and row["raw"] == "a\0b"
    lab.load(f, "--format", "lines", "--processor", "so:%s:penstock_plugin" % TIDY, "--processor-config", "shout", "--into", "s", rc=1)
    assert [v for _, v in lab.dump("s")] == [b"HELLO!", b"WORLD!", b"X!"]
    t = lab.path("t.csv", "id,a\n k1 ,x\n")
    lab.load(t, "--key", "id", "--into", "t", "--processor", "so:" + TIDY)
    assert [k for k, _ in lab.dump("t")] == [b"k1"]
    p = lab.run("run", f, "--processor", "so:" + TIDY, "--processor-config", "whisper", rc=3)
    assert "PEN1300" in p.err and "not 'whisper'" in p.err
    lab.verify()


@check
def plugins_that_cannot_be_loaded(lab):
    f = lab.path("l.txt", "a\n")
    head = "#include <penstock_plugin.h>\n"
    cases = ((lab.path("none.so"), 3, "PEN1300"), (f, 3, "PEN1300"), (lab.dir, 3, "PEN1300"),
             (plugin(lab, "return 0;") + ":other", 2, "no symbol 'other'"),
             (plugin(lab, "", "abi", whole=head + "const struct pen_plugin penstock_plugin = { 7, 0, 64, 0, 0, 0, 0, 0, 0 };\n"), 2, "interface 7"),
             (plugin(lab, "", "size", whole=head + "const struct pen_plugin penstock_plugin = { 1, 0, 16, 0, 0, 0, 0, 0, 0 };\n"), 2, "16 bytes"),
             (plugin(lab, "", "item", whole=head + "const struct pen_plugin penstock_plugin = { 1, 0, sizeof(struct pen_plugin), \"x\", \"1\", 0, 0, 0, 0 };\n"), 2, "item function"),
             (plugin(lab, "return 0;", "flags", flags="64"), 2, "flags"), (plugin(lab, "return 0;", "extra", extra="70000"), 2, "70000"))
    for path, rc, word in cases:
        p = lab.run("run", f, "--format", "lines", "--processor", "so:" + path, rc=rc)
        assert word in p.err, (path, p.err)
        assert lab.lines("status")[0]["batches_total"] == 0, "something ran"
    for words, rc in ((("--processor", "so:"), 2), (("--processor", "nothing"), 2), (("--processor-config", "x"), 2), (("--processor", "project:a,a"), 2)):
        lab.run("run", f, *words, rc=rc)


@check
def answers_that_cannot_be(lab):
    body = """
	const char *t = in->value;
	static char big[65536];
	if (t[0] == 'v') return 17;
	if (t[0] == 'n') return -1;
	if (t[0] == 'l') { out->value_len = in->value_len + 1; return PEN_PLUGIN_EMIT; }
	if (t[0] == 'h') { out->value_len = (size_t)-1; return PEN_PLUGIN_EMIT; }
	if (t[0] == 'k') { out->key_len = 600; return PEN_PLUGIN_KEEP; }
	if (t[0] == 'm') { memset(big, 'x', sizeof big - 1); out->code = -3; out->message = big; return PEN_PLUGIN_REJECT; }
	if (t[0] == 'u') { out->message = "bad \\xff bytes\\n"; return PEN_PLUGIN_REJECT; }
	if (t[0] == 'r') return PEN_PLUGIN_REJECT;
	memset(out->value, 'e', out->value_cap); out->value_len = out->value_cap;
	return PEN_PLUGIN_EMIT;"""
    so = plugin(lab, body, flags="PEN_PLUGIN_KEYS")
    f = lab.path("a.csv", "id\n" + "".join(x + "%d\n" % i for i, x in enumerate("vnlhkmurg" * 50)))
    for more in ((), ("--chunk-bytes", "1024"), ("--chunk", "7")):
        o = lab.load(f, "--value", "raw", "--format", "csv", "--key", "id", "--processor", "so:" + so, "--fresh", *more, rc=1)
        assert (o["committed"], o["rejected"]) == (50, 400), o
        rows = lab.lines("items", o["batch"])
        assert [r["code"] for r in rows[:8]] == ["PEN1303"] * 5 + ["PEN1302"] * 3, rows[:8]
        assert "room for" in rows[2]["message"] and "600" in rows[4]["message"] and "-3: xxx" in rows[5]["message"]
        assert rows[6]["message"].endswith("bad ? bytes ") and len(rows[5]["message"]) < 400
        assert all(r["line"] == r["seq"] + 2 for r in rows)
    assert set(values(lab)) == {b"eee", b"eeee", b"ee"} or all(set(v) == {ord("e")} for v in values(lab))
    # Keys that are numbers of the engine's are not the plugin's to change.
    so = plugin(lab, "if (out->key) abort();\nout->key_len = 3;\nreturn PEN_PLUGIN_KEEP;", "k", flags="PEN_PLUGIN_KEYS")
    o = lab.load(f, "--format", "lines", "--processor", "so:" + so, "--into", "k", rc=1)
    assert o["rejected"] == o["items"] == 451
    lab.verify()


@check
def room_for_what_is_made(lab):
    """The largest values a plugin may emit, with keys of its own, from records, files, archives and one large file."""
    body = """
	memset(out->value, 'a' + in->value_len % 26, out->value_cap); out->value_len = out->value_cap;
	if (out->key) { out->key_len = snprintf(out->key, 511, "%0500llu-%.8s", (unsigned long long)in->seq, (const char *)in->key); }
	return PEN_PLUGIN_EMIT;"""
    so = plugin(lab, body, flags="PEN_PLUGIN_KEYS", extra="16384")
    r = random.Random(1)
    sizes = [r.choice((0, 1, 50, 3000, 70000, 300000)) for _ in range(60)] + [1 << 20]
    for i, n in enumerate(sizes):
        lab.path("t/f%03d" % i, b"y" * n)
    want = sorted(n + 16384 for n in sizes)
    for more in ((), ("--chunk-bytes", "4096")):
        o = lab.load(lab.path("t"), "--format", "files", "--key", "@path", "--into", "f", "--processor", "so:" + so, "--fresh", *more)
        assert o["committed"] == 61
        got = lab.dump("f")
        assert sorted(len(v) for _, v in got) == want and all(len(k) == 505 for k, _ in got)
        lab.run("drop", "f", "--yes")
        # One file by its name.
        o = lab.load(lab.path("t/f060"), "--format", "files", "--into", "one", "--processor", "so:" + so, "--fresh", *more)
        assert len(values(lab, "one")[-1]) == (1 << 20) + 16384
    subprocess.run(["tar", "-C", lab.path("t"), "-cf", lab.path("t.tar"), "."], check=True)
    for more in ((), ("--chunk-bytes", "4096")):
        lab.load(lab.path("t.tar"), "--key", "@path", "--into", "f", "--processor", "so:" + so, "--fresh", *more)
        assert sorted(len(v) for _, v in lab.dump("f")) == want
        lab.run("drop", "f", "--yes")
    text = "".join("y" * n + "\n" for n in sizes)
    for more in ((), ("--chunk-bytes", "4096"), ("--chunk", "3")):
        lab.load(lab.path("l.txt", text), "--format", "lines", "--into", "l", "--processor", "so:" + so, "--fresh", *more)
        assert sorted(len(v) for v in values(lab, "l")) == want
        lab.run("drop", "l", "--yes")
    # A table: the room of its objects, and that of what is made of them.
    table = "id,t\n" + "".join('"%d","%s"\n' % (i, '""' * (n // 2)) for i, n in enumerate(sizes))
    objects = ['{"id":"%d","t":"%s"}' % (i, '\\"' * (n // 2)) for i, n in enumerate(sizes)]
    for more in ((), ("--chunk-bytes", "4096")):
        lab.load(lab.path("t.csv", table), "--key", "id", "--into", "c", "--processor", "so:" + so, "--fresh", *more)
        assert sorted(len(v) for v in values(lab, "c")) == sorted(len(x) + 16384 for x in objects)
        lab.run("drop", "c", "--yes")
    lab.load(lab.path("l.txt"), "--into", "most", "--format", "lines", "--processor", "so:" + plugin(lab, body, "x", extra="65536"))
    assert sorted(len(v) - 65536 for v in values(lab, "most")) == sorted(sizes)
    lab.verify()


@check
def a_plugin_is_part_of_the_batch(lab):
    f = lab.path("l.txt", "a\nb\n")
    words = ("--format", "lines", "--processor", "so:" + lab.path("p.so"))
    plugin(lab, "return 0;")
    a = lab.load(f, *words)
    assert lab.load(f, *words)["batch"] == a["batch"]
    assert lab.load(f, *words, "--processor-config", "x")["batch"] != a["batch"]
    plugin(lab, "return 0 * (int)in->seq;", version='"2"')
    b = lab.load(f, *words)
    assert b["batch"] != a["batch"] and b["committed"] == 2
    # Another name for the same file is the same plugin.
    os.symlink(lab.path("p.so"), lab.path("q.so"))
    assert lab.load(f, "--format", "lines", "--processor", "so:" + lab.path("p.so"))["batch"] == b["batch"]


@check
def what_a_plugin_is_told(lab):
    body = """
	int n = snprintf(out->value, out->value_cap, "%llu %u %s %llu %llu %.*s|", (unsigned long long)in->seq, in->attempt, in->path,
		(unsigned long long)in->offset, (unsigned long long)in->line, (int)in->key_len, in->key ? (const char *)in->key : "");
	memcpy(out->value + n, in->value, in->value_len);
	out->value_len = n + in->value_len;
	return PEN_PLUGIN_EMIT;"""
    so = plugin(lab, body, extra="300")
    f = lab.path("a.ndjson", '{"k":"x"}\n\n{"k":"y"}\n')
    lab.load(f, "--key", "/k", "--processor", "so:" + so)
    assert values(lab) == [b'0 1 %s 0 1 x|{"k":"x"}' % f.encode(), b'1 1 %s 11 3 y|{"k":"y"}' % f.encode()], values(lab)
    lab.path("t/u/v", "text")
    lab.load(lab.path("t"), "--format", "files", "--key", "@path", "--into", "t", "--processor", "so:" + so)
    assert values(lab, "t") == [b"0 1 u/v 0 0 u/v|text"], values(lab, "t")
    # On whose behalf.
    so = plugin(lab, """
	out->value_len = snprintf(out->value, out->value_cap, "%s %s %d", in->correlation_id, in->user, in->started_ms > 1577836800000ull);
	return PEN_PLUGIN_EMIT;""", name="whose", extra="300")
    o = lab.load(lab.path("x.txt", "x\n"), "--format", "lines", "--into", "whose", "--owner", "ann", "--processor", "so:" + so)
    assert values(lab, "whose") == [("%s ann 1" % o["correlation_id"]).encode()], values(lab, "whose")
    # C++, JSON asked for, and what is none never seen.
    so = plugin(lab, "", "cpp", language="cc", whole='''
#include <penstock_plugin.h>
#include <cstdlib>
static int item(void *, const struct pen_plugin_item *in, struct pen_plugin_sink *)
{
	if (*(const char *)in->value != '{') abort();
	return PEN_PLUGIN_KEEP;
}
extern "C" PEN_PLUGIN_EXPORT const struct pen_plugin another;
const struct pen_plugin another = { PEN_PLUGIN_ABI, PEN_PLUGIN_JSON, sizeof(struct pen_plugin), "c++", "1", 0, nullptr, item, nullptr };
''')
    g = lab.path("l.txt", '{"a":1}\nx\n')
    o = lab.load(g, "--format", "lines", "--into", "j", "--processor", "so:%s:another" % so, rc=1)
    assert (o["committed"], o["rejected"]) == (1, 1)


@check
def submitted_and_run_elsewhere(lab):
    """A plugin's path is taken from where the batch was submitted; conditions come before commands too."""
    os.makedirs(lab.path("here"))
    os.makedirs(lab.path("there"))
    lab.path("here/l.txt", " Aa\n\nb\n")
    os.symlink(TIDY, lab.path("here/tidy.so"))
    lab.run("submit", "l.txt", "--format", "lines", "--processor", "so:tidy.so", "--processor-config", "shout", cwd=lab.path("here"))
    lab.run("work", cwd=lab.path("there"))
    assert values(lab) == [b"AA!", b"B!"], values(lab)
    f = lab.path("n.ndjson", '{"n":1}\n{"n":2}\n')
    for results in ("auto", "all"):
        o = lab.load(f, "--into", "e", "--processor", "exec:cat", "--where", "/n==2", "--results", results, "--fresh")
        assert (o["committed"], o["skipped"]) == (1, 1), o
    assert set(values(lab, "e")) == {b'{"n":2}'}
    lab.verify()


@check
def once_each_whatever_is_killed(lab):
    """SIGKILL while a plugin works: the same command ends with what an undisturbed run makes."""
    body = """
	usleep(in->seq % 50 == 0 ? 2000 : 0);
	if (in->seq % 11 == 0) return PEN_PLUGIN_DROP;
	if (in->seq % 13 == 0) { out->message = "no"; return PEN_PLUGIN_REJECT; }
	memcpy(out->value, in->value, in->value_len); out->value[0] = '#'; out->value_len = in->value_len;
	return PEN_PLUGIN_EMIT;"""
    so = plugin(lab, body)
    f = lab.path("l.txt", "".join("line %d\n" % i for i in range(30000)))
    words = ("run", f, "--format", "lines", "--processor", "so:" + so, "--chunk-bytes", "2048", "--chunk", "100", "--progress", "none")
    kills = 0
    for _ in range(12):
        p = lab.start(*words)
        time.sleep(lab.random.random() * 0.3)
        if p.poll() is None:
            p.send_signal(signal.SIGKILL)
            kills += 1
        p.wait()
    assert kills, "no kill hit a run: the check has shown nothing"
    o = lab.load(*words[1:-2], rc=1)
    n = range(30000)
    want = [i for i in n if i % 11 and i % 13]
    assert (o["committed"], o["skipped"], o["rejected"]) == (len(want), sum(i % 11 == 0 for i in n), sum(i % 13 == 0 and i % 11 != 0 for i in n)), o
    assert lab.dump() == [(be(i), b"#ine %d" % i) for i in want]
    lab.verify()


@check
def cancelled_items_return(lab):
    """A plugin that would work for a minute stops when the batch does: --max-rejects stops it."""
    body = """
	if (in->seq == 0) return PEN_PLUGIN_REJECT;
	for (int i = 0; i < 6000; i++) { if (out->cancelled(out)) return PEN_PLUGIN_DROP; usleep(10000); }
	return PEN_PLUGIN_KEEP;"""
    so = plugin(lab, body)
    f = lab.path("l.txt", "a\nb\n")
    began = time.monotonic()
    o = lab.load(f, "--format", "lines", "--processor", "so:" + so, "--chunk", "1", "--max-rejects", "0", rc=4)
    assert o["items"] == 1 and time.monotonic() - began < 50, "it worked on"
    lab.verify()


if __name__ == "__main__":
    sys.exit(run.main())
