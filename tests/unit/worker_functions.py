"""What the tests let workers do; workers find functions by module."""

import os
import signal
import time


def double(number: int) -> int:
    return 2 * number


def slowly_double(number: int) -> int:
    time.sleep(0.1)
    return 2 * number


def misbehave(how: str) -> str:
    match how:
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang":
            time.sleep(60)
        case "swell":
            return str(len(bytearray(3 * 2**30)))
        case "raise":
            raise ValueError("no")
    return how


def allocate(megabytes: int) -> int:
    return len(bytearray(megabytes * 2**20))
