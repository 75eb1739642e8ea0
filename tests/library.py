#!/usr/bin/python3
# library - libpenstock.so loads into a running process and exports what the header declares, and nothing else
#
#   library.py LIBPENSTOCK.SO PENSTOCK.H
import ctypes
import re
import subprocess
import sys

so, header = sys.argv[1:]
library = ctypes.CDLL(so)

script = subprocess.run(["tools/dev/exports.sh", header], capture_output=True, text=True, check=True).stdout
declared = set(re.findall(r"\bpen_\w+", script))
table = subprocess.run(["nm", "-D", "--defined-only", so], capture_output=True, text=True, check=True).stdout
exported = {name.split("@")[0] for _, kind, name in map(str.split, table.splitlines()) if kind != "A"}

wrong = [f"declared, not exported: {name}" for name in sorted(declared - exported)]
wrong += [f"exported, not declared: {name}" for name in sorted(exported - declared)]

library.pen_error_name.restype = ctypes.c_char_p
library.pen_error_name.argtypes = [ctypes.c_int]
if library.pen_error_name(-1042) != b"PEN1042":
    wrong.append(f"pen_error_name(-1042) is {library.pen_error_name(-1042)}")

print("\n".join(wrong) or f"{len(declared)} functions")
sys.exit(1 if wrong else 0)
