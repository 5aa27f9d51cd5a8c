#!/usr/bin/python3
"""main.py package|document: checks of the installed package, in a system booted by lab/uml-run -r.

tests/boot runs it. The checks run in the order in which they are written, each on what the ones before it
have left. After each of them, the kernel's table must be the same as before, if it does not change it."""

import importlib
import os
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import support

if __name__ == "__main__":
    checks = importlib.import_module(sys.argv[1]).CHECKS
    passed = failed = 0
    for name, function in checks:
        started = time.monotonic()
        expected = getattr(support, "expected_table", None)
        try:
            function()
            if expected is not None:
                found = support.table()
                support.require(found == expected, f"the kernel's table has changed:\n{found}instead of\n{expected}")
            passed += 1
            print(f"ok - {name} ({time.monotonic() - started:.1f} s)", flush=True)
        except support.Failure as failure:
            failed += 1
            print(f"NOT OK - {name}\n    {failure}", flush=True)
        except Exception:
            failed += 1
            print(f"NOT OK - {name}\n{traceback.format_exc()}", flush=True)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    sys.exit(failed != 0)
