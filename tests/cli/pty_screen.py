# pty_screen - a command on a terminal of its own, and what is to be seen there
#
# Screen understands what the progress line and messages use and refuses anything else, so that a new sequence does not
# slip by. It is no terminal for full-screen programs: tests of those use tmux.
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time


class Screen:
    """Rows of text as a terminal of so many columns (0: endless) shows them."""

    def __init__(self, columns):
        self.columns = columns
        self.rows = [[]]
        self.x = 0
        self.wraps = self.cursor = True
        self.wrapped = 0  # rows that a line too long ran over into

    def feed(self, text):
        for part in re.split("(\x1b\\[[?]?[0-9;]*[a-zA-Z])", text):
            if part.startswith("\x1b["):
                self.control(part[2:])
            else:
                for c in part:
                    self.put(c)
        return self

    def control(self, what):
        if what == "K":
            del self.rows[-1][self.x:]
        elif what in ("?7l", "?7h"):
            self.wraps = what == "?7h"
        elif what in ("?25l", "?25h"):
            self.cursor = what == "?25h"
        else:
            assert re.fullmatch("[0-9;]*m", what), "not expected: ESC [ " + what

    def put(self, c):
        if c == "\r":
            self.x = 0
        elif c == "\n":
            self.rows.append([])
        else:
            assert c >= " ", "not expected: %r" % c
            row = self.rows[-1]
            if self.columns and self.x == self.columns:
                if self.wraps:
                    self.wrapped += 1
                    self.rows.append([])
                    row, self.x = self.rows[-1], 0
                else:
                    self.x -= 1
            row += " " * (self.x + 1 - len(row))
            row[self.x] = c
            self.x += 1

    def lines(self):
        return ["".join(r).rstrip() for r in self.rows]

    def usable(self):
        return self.wraps and self.cursor


class Terminal:
    """Starts argv with the given streams on a terminal: "tty", "pipe", "file" or "closed" for each of 0, 1, 2."""

    def __init__(self, argv, columns=80, rows=24, streams=("tty", "tty", "tty"), env=None, file=None):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.begun = time.monotonic()
        self.raw = b""
        self.reads = []  # (seconds since the start, bytes)
        self.file = file
        kinds = {"tty": slave, "pipe": subprocess.PIPE, "closed": None}
        fds = [os.open(file + str(i), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600) if k == "file" else kinds[k]
               for i, k in enumerate(streams)]

        def ready():
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            for i, k in enumerate(streams):
                if k == "closed":
                    os.close(i)

        self.p = subprocess.Popen(argv, stdin=fds[0], stdout=fds[1], stderr=fds[2], start_new_session=True, preexec_fn=ready,
                                  env=env, pass_fds=(slave,))
        self.slave = slave  # kept: what is on the screen stays readable after the end
        for i, k in enumerate(streams):
            if k == "file":
                os.close(fds[i])
        if self.p.stdin:
            self.p.stdin.close()
        self.out, self.err = b"", b""

    def pump(self, seconds):
        """Reads for so long, or until the end."""
        end = time.monotonic() + seconds
        pipes = {f.fileno(): name for f, name in ((self.p.stdout, "out"), (self.p.stderr, "err")) if f}
        over = False
        while True:
            ready, _, _ = select.select([self.master, *pipes], [], [], 0 if over else 0.02)
            for fd in ready:
                data = os.read(fd, 65536)
                if fd == self.master:
                    self.raw += data
                    self.reads.append((time.monotonic() - self.begun, data))
                elif data:
                    setattr(self, pipes[fd], getattr(self, pipes[fd]) + data)
                else:
                    del pipes[fd]
            if over and not ready:
                return True
            over = over or (self.p.poll() is not None and not pipes)
            if time.monotonic() > end:
                return False

    def type(self, data):
        os.write(self.master, data)

    def end(self, seconds=60):
        """Waits for the end; returns the exit status and closes everything."""
        over = self.pump(seconds)
        if not over:
            self.p.kill()
            self.p.wait()
        self.after = termios.tcgetattr(self.slave)
        for fd in (self.master, self.slave):
            os.close(fd)
        for f in (self.p.stdout, self.p.stderr):
            if f:
                f.close()
        for i, name in ((1, "out"), (2, "err")):
            if self.file and os.path.exists(self.file + str(i)):
                with open(self.file + str(i), "rb") as f:
                    setattr(self, name, f.read())
        assert over, "no end after %d s: %r" % (seconds, self.raw[-500:])
        return self.p.returncode

    def text(self):
        return self.raw.decode("utf-8")

    def screen(self, columns=80):
        return Screen(columns).feed(self.text())
