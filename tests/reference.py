#!/usr/bin/python3
# reference - docs/REFERENCE.md promises commands, documents and tests: are they there?
#
#   tests/reference.py PENSTOCK
#
# A test is `FILE:NAME`: a function with the decorator @check, or a Test(suite, NAME) of Criterion. A control: names that are
# not there must be found missing.
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PENSTOCK = os.path.abspath(sys.argv[1])
DOCS = os.path.join(ROOT, "docs")


def test_exists(path, name):
    try:
        text = open(os.path.join(ROOT, path), encoding="utf-8").read()
    except OSError:
        return False
    if path.endswith(".py"):
        return re.search(r"^@check\S*\n(?:@\S+\n)*def %s\(" % re.escape(name), text, re.M) is not None
    return re.search(r"\bTest\(\w+, %s[,)]" % re.escape(name), text) is not None


def command_exists(words):
    p = subprocess.run([PENSTOCK, words[0], "--help"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if p.returncode:
        return False
    return all(w in p.stdout for w in words[1:] if w.startswith("--"))


def missing(text):
    """What the page names and is not there, one sentence each."""
    out = []
    tests = re.findall(r"`(tests/[\w./]+):(\w+)`", text)
    out += ["no test %s:%s" % t for t in tests if not test_exists(*t)]
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        if not link.startswith("http") and not os.path.exists(os.path.join(DOCS, link)):
            out.append("no document " + link)
    header = open(os.path.join(ROOT, "include/penstock.h"), encoding="utf-8").read()
    for call in set(re.findall(r"`(pen_\w+)\(\)`", text)):
        if not re.search(r"\b%s\(" % call, header):
            out.append("no call " + call)
    for line in re.findall(r"^ {7}(penstock .*)$", text, re.M):
        for command in line.split("&&"):
            if not command_exists(command.split()[1:]):
                out.append("no command: " + command)
    rows = [r for r in text.splitlines() if r.startswith("|") and not r.startswith("|---")]
    return out, len(tests), len(rows)


def main():
    text = open(os.path.join(DOCS, "REFERENCE.md"), encoding="utf-8").read()
    wrong, tests, rows = missing(text)
    for w in wrong:
        print("FAIL reference: " + w)
    if not wrong:
        print("ok   reference: %d tests and what else it names in %d rows" % (tests, rows))
    control = "| x | `tests/cli/run.py:no_such_test` | [x](NO.md) `pen_no_call()` |\n\n       penstock no-command\n       penstock run x --no-option\n"
    found = missing(control)[0]
    good = len(found) == 5 and tests > 50
    print("%s control: what is not there is missed" % ("ok  " if good else "FAIL"))
    bad = len(wrong) + (not good)
    print("%d passed, %d failed" % (2 - bool(wrong) - (not good), bad))
    return bad != 0


sys.exit(main())
