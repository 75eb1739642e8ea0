#!/usr/bin/python3
# completion - the scripts for shells, run in the shells that are there
#
#   tests/cli/completion.py PENSTOCK [WORD]      only checks whose name contains WORD
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run
from run import Skip, check

run.CHECKS.clear()


def commands(lab):
    """From the overview: name -> its options, by its help page."""
    names = re.findall(r"^  ([a-z]+) +\S", lab.run("-h").stdout.decode(), re.M)
    return {n: set(re.findall(r"^  (?:-\w, |    )--([a-z0-9-]+)", lab.run(n, "--help").stdout.decode(), re.M)) for n in names}


def bash(lab, words, cword=None):
    """What bash's function offers for these words, the last of which is being typed."""
    script = lab.path("c.bash", lab.run("completion", "bash").stdout)
    subprocess.run(["bash", "-n", script], check=True)
    quoted = " ".join("'%s'" % w for w in words)
    p = subprocess.run(["bash", "--norc", "-c", 'source "$0"; COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _penstock; '
                        'printf "%%s\\n" "${COMPREPLY[@]}"' % quoted, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=lab.dir)
    assert p.returncode == 0 and not p.stderr, p.stderr
    return set(p.stdout.decode().split("\n")) - {""}


@check
def bash_offers_what_the_tables_hold(lab):
    known = commands(lab)
    assert len(known) > 15 and "into" in known["run"], known
    assert set(known) <= bash(lab, ["penstock", ""])
    assert bash(lab, ["penstock", "com"]) == {"completion"}
    for name, options in known.items():
        offered = bash(lab, ["penstock", name, "--"])
        assert offered == {"--" + o for o in options}, (name, offered ^ {"--" + o for o in options})
    assert bash(lab, ["penstock", "run", "x", "--dura"]) == {"--durability"}
    assert bash(lab, ["penstock", "run", "--durability", ""]) == {"commit", "group", "relaxed"}
    assert bash(lab, ["penstock", "run", "--durability", "=", ""]) == {"commit", "group", "relaxed"}
    assert bash(lab, ["penstock", "run", "--durability", "=", "g"]) == {"group"}
    assert bash(lab, ["penstock", "--store", "run", "export", "--form"]) == {"--format"}
    assert bash(lab, ["penstock", "export", "d", "--format", ""]) == {"ndjson", "csv", "dump"}
    assert bash(lab, ["penstock", "scan", "d", "--format", ""]) == {"ndjson", "raw"}
    assert bash(lab, ["penstock", "--color", "a"]) == {"auto", "always"}
    assert bash(lab, ["penstock", "completion", ""]) >= {"bash", "zsh", "fish"}
    assert bash(lab, ["penstock", "help", "exp"]) == {"export", "explain"}
    # Bash hands over what is left and right of a colon as words of their own.
    assert bash(lab, ["penstock", "run", "--format", "frames", ":"]) == {"u32be", "u32le", "u16be", "leb128"}
    assert bash(lab, ["penstock", "run", "--format", "frames", ":", "u3"]) == {"u32be", "u32le"}
    lab.path("inbox.ndjson", b"")
    assert bash(lab, ["penstock", "run", "inb"]) == {"inbox.ndjson"}
    assert bash(lab, ["penstock", "run", "--items", "inb"]) == {"inbox.ndjson"}


@check
def the_other_shells_accept_theirs(lab):
    known = commands(lab)
    for shell in ("zsh", "fish"):
        text = lab.run("completion", shell).stdout.decode()
        for name, options in known.items():
            assert name in text
            for o in options:
                assert ("--%s" % o if shell == "zsh" else "-l %s" % o) in text, (shell, name, o)
    assert "penstock completion" in lab.run("completion", "tcsh", rc=2).err or "bash, zsh and fish" in lab.run("completion", "tcsh", rc=2).err
    there = [s for s in ("zsh", "fish") if shutil.which(s)]
    for shell in there:
        subprocess.run([shell, "-n", lab.path("c", lab.run("completion", shell).stdout)], check=True)
    if not there:
        raise Skip("neither zsh nor fish is installed")


if __name__ == "__main__":
    sys.exit(run.main())
