"""What the checks of the Python clients share: the server, skipping, and one line a check."""

import os
import sys
import time
import traceback

BASE_URL = os.environ["BASE_URL"]
MODEL = os.environ["MODEL"]
SERVER = os.environ["SERVER"]
EMBED_BASE = os.environ["EMBED_BASE"]
EMBED_MODEL = os.environ.get("EMBED_MODEL", "")
LIMITED_KEY = os.environ.get("LIMITED_KEY", "")
DAILY_KEY = os.environ.get("DAILY_KEY", "")

# openai refuses to start without a key, so a server that asks for none gets one all the same.
OPEN = os.environ["KEY"] == "-"
KEY = "anything" if OPEN else os.environ["KEY"]

HELLO = [{"role": "user", "content": "Say hello."}]


class Skip(Exception):
    """The server is not made for this check; the text says why."""


def only_fairlane(what):
    if SERVER != "fairlane":
        raise Skip(f"{SERVER} {what}")


def only_with_keys():
    if OPEN:
        raise Skip("the server asks for no key")


def raises(kind, call):
    """Call, and return the exception of this kind that it must raise."""
    try:
        result = call()
    except kind as error:
        return error
    raise AssertionError(f"expected {kind.__name__}, got {result!r}")


def same(got, want, what):
    assert got == want, f"{what}: got {got!r}, want {want!r}"


def main(client, checks):
    """Run every check, print a line each, and exit with 1 if one failed."""
    failed = False
    for check in checks:
        name = check.__name__.replace("_", " ")
        start = time.monotonic()
        try:
            check()
            verdict = f"ok    {client}: {name} ({time.monotonic() - start:.1f}s)"
        except Skip as reason:
            verdict = f"skip  {client}: {name} ({reason})"
        except Exception as error:
            failed = True
            line = traceback.extract_tb(error.__traceback__)[1].lineno
            verdict = f"FAIL  {client}: {name}: line {line}: {type(error).__name__}: {error}"
        print(verdict, flush=True)
    sys.exit(failed)
