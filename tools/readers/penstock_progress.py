#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""penstock_progress - reads a Penstock engine's progress ring. One file, standard library only, Python >= 3.9.

    import penstock_progress as pp
    with pp.Ring(path) as ring:                       # or pp.find("STORE")[0]
        for batch in ring.batches(): print(batch.id, batch.percentage)
        for kind, value in ring.follow(timeout=10): print(kind, value)

The engine writes the ring into shared memory and never waits for anyone; this maps it read only, so it can neither slow,
stop nor corrupt the engine. What is returned was written whole, or it is not returned; events that were overwritten
before they were read are counted exactly (Ring.lost).

  Threads   a Ring belongs to one thread; any number of processes may read the same file.
  Memory    one copy of at most 16,384 events at a time.
  Limits    x86-64 (elsewhere loads of a map are not ordered for us: use penstock_progress.h). Files up to 1 GiB.
  Errors    RingError alone, with .reason.

As a command:  penstock_progress.py [--json] [--snapshot | --follow | --dump] [--timeout S] [RING | STORE | RUNDIR]
"""
import argparse
import errno
import glob
import json
import mmap
import os
import platform
import re
import signal
import stat
import struct
import sys
import time
import urllib.parse
import zlib
from typing import Dict, NamedTuple, Optional

MAGIC = b"PENRNG\x1a\n"
ABI_MAJOR = 1
COMPAT_CRC = 1
PAGE = 4096
SECTIONS_AT, SECTION_BYTES = 0x100, 32
HOT, COUNTERS, GAUGES, EVENTS, NAMES = 1, 2, 3, 4, 5
FILE_MAX = 1 << 30
EVENTS_AT_ONCE = 16384
HOT_BYTES = 0x180
LEAST = {COUNTERS: 64, GAUGES: 576, EVENTS: 64, NAMES: 256}
GAUGE_COPY, GAUGE_COPY_BYTES = (0x40, 0x140), 256
NAME_BYTES, NAME_COUNT, NAME_LABEL, NAME_LIVE, NAME_STAGE = 256, 8, 56, 24, 32
TRIES = 64
UNKNOWN = MASK = (1 << 64) - 1
FAR = 1 << 63  # between two indexes of one moment: not possible

STATES = {1: "queued", 2: "waiting", 3: "running", 4: "paused", 5: "completed", 6: "failed", 7: "stopped",
          8: "interrupted", 9: "cancelled"}
WRITER_STATES = {1: "init", 2: "running", 3: "draining", 4: "closed", 5: "failed", 6: "superseded"}
EVENT_TYPES = {1: "queued", 2: "started", 3: "progress", 4: "retry", 5: "completed", 6: "failed", 7: "cancelled",
               8: "stall", 9: "writer_state", 10: "checkpoint", 11: "coalesced", 13: "paused", 14: "resumed",
               15: "stalled", 16: "skipped", 17: "deduplicated", 18: "rate_limited", 19: "dead_lettered",
               20: "dependency_ready", 21: "cleaned", 22: "drained", 23: "stopped", 24: "interrupted", 25: "error",
               26: "error_standard", 27: "error_domain", 28: "done"}
COMPLETED, ERROR_DOMAIN = 5, 27
# What an event says about its batch's state.
STATE_AFTER = {1: 1, 2: 3, 5: 5, 6: 6, 7: 9, 13: 4, 14: 3, 23: 7, 24: 8}


class RingError(Exception):
    """Not a ring that can be read. reason: open, kind, owner, short, magic, version, incompat, crc, section, limit, corrupt,
    platform."""

    def __init__(self, reason, text):
        super().__init__(text)
        self.reason = reason


class Section(NamedTuple):
    offset: int
    length: int
    size: int
    count: int


class Header(NamedTuple):
    abi_major: int
    abi_minor: int
    compat: int
    total_size: int
    epoch: int
    instance: bytes
    boot_id: bytes
    start_ticks: int
    pidns: int
    pid: int
    writer_uid: int
    owner_uid: int
    created_mono_ns: int
    created_real_ns: int
    hb_period_ms: int
    wake_period_us: int
    sections: Dict[int, Section]


class Event(NamedTuple):
    """As it lies in its slot. All numbers are absolute; c is the event's sequence number in the store, 0 if it has none."""
    seq: int
    ts_ns: int
    batch: int
    type: int
    version: int
    stage: int
    gauge: int
    a: int
    b: int
    c: int
    code: int
    crc: int

    @property
    def index(self):
        return self.seq - 1


class Batch(NamedTuple):
    """One gauge, read whole, with the names that belong to it."""
    gauge: int
    id: int
    state: int
    attempt: int
    queued_ms: int
    started_ms: int
    updated_ms: int
    bytes_total: int
    bytes_done: int
    items_total: int
    committed: int
    rejected: int
    failed: int
    skipped: int
    duplicates: int
    retrying: int
    rate_milli: int
    eta_ms: Optional[int]
    stage: int
    code: int
    commit_lsn: int
    as_of: int
    user_tag: int
    live: Dict[str, int]
    label: str
    stage_name: str
    items_done: int

    @property
    def state_name(self):
        return STATES.get(self.state, "state%d" % self.state)

    @property
    def percentage(self):
        """Committed of total, in hundredths; 100 is said of a completed batch and of no other."""
        if self.state == COMPLETED:
            return 100
        done, total = (self.committed, self.items_total) if self.items_total else (self.bytes_done, self.bytes_total)
        points = min(done * 10000 // total, 9999) if total else 0
        return points // 100 if points % 100 == 0 else points / 100

    @property
    def message(self):
        if not self.items_total:
            return "Processing batch item %d" % ((self.items_done + 1) & MASK)
        return "Processing batch item %d of %d" % (min(self.items_done + 1, self.items_total), self.items_total)

    def view(self, user):
        """As JSON: a progress message for a web page, and behind it the exact numbers."""
        stats = {"sourcesAnalyzed": self.items_done, "currentOperation": self.stage_name,
                 "currentArticle": self.items_done, "totalArticles": self.items_total}
        stats.update(self.live)
        return {"kind": "batch", "userId": user, "stage": self.stage_name, "percentage": self.percentage,
                "message": self.message, "details": {"liveStats": stats}, "batch": "%016x" % self.id,
                "label": self.label, "state": self.state_name, "attempt": self.attempt, "queued_ms": self.queued_ms,
                "started_ms": self.started_ms, "updated_ms": self.updated_ms, "bytes_total": self.bytes_total,
                "bytes_done": self.bytes_done, "items_total": self.items_total, "committed": self.committed,
                "rejected": self.rejected, "failed": self.failed, "skipped": self.skipped,
                "duplicates": self.duplicates, "retrying": self.retrying, "rate_milli": self.rate_milli,
                "eta_ms": self.eta_ms, "code": code_name(self.code), "commit_lsn": self.commit_lsn,
                "as_of": self.as_of, "user_tag": self.user_tag, "gauge": self.gauge}

    def after(self, event):
        """The batch as `event` leaves it; unchanged if it knows of the event already, or if the event is another's."""
        if event.index < self.as_of or event.batch != self.id:
            return self
        new = {"as_of": event.seq, "state": STATE_AFTER.get(event.type, self.state)}
        if event.type == 1:
            new.update(bytes_total=event.a, items_total=event.b)
        elif event.type in (3, 5):
            new.update(bytes_done=event.a, committed=event.b)
        elif event.type == 4:
            new.update(attempt=event.a & 0xffffffff)
        elif event.type in (6, 23):
            new.update(code=event.code)
        return self._replace(**new)


def code_name(code):
    return "PEN%d" % code if code else None


def text(raw):
    """A name: it ends at its NUL, which the last byte is taken for."""
    return raw[:-1].split(b"\0", 1)[0].decode("utf-8", "replace")


def parse_header(page, file_size):
    """The header out of a private copy of the first page. Everything in it is taken for hostile."""
    if len(page) < PAGE:
        raise RingError("short", "shorter than a header")
    major, minor, endian, header_len, _, compat, incompat = struct.unpack_from("<HHIIIII", page, 8)
    if page[:8] != MAGIC or endian != 0x01020304:
        raise RingError("magic", "no progress ring")
    if major != ABI_MAJOR:
        raise RingError("version", "a ring of version %d.%d; this reads %d.x" % (major, minor, ABI_MAJOR))
    if incompat:
        raise RingError("incompat", "a ring with features that this does not know (%#x)" % incompat)
    if zlib.crc32(page[:PAGE - 4]) != struct.unpack_from("<I", page, PAGE - 4)[0]:
        raise RingError("crc", "the header is damaged")
    total, epoch = struct.unpack_from("<QQ", page, 0x20)
    start, pidns, pid, writer_uid, owner_uid, _ = struct.unpack_from("<QQIIII", page, 0x50)
    mono, real, slots, slot_size, gauges, gauge_size, hb, wake, count, entry = struct.unpack_from("<QQ8I", page, 0x70)
    if total > FILE_MAX:
        raise RingError("limit", "larger than a ring may be")
    if total < 2 * PAGE or file_size < total:
        raise RingError("short", "the file is shorter than its header says")
    if not SECTIONS_AT <= header_len <= PAGE - 4 or not SECTION_BYTES <= entry <= PAGE or \
            SECTIONS_AT + count * entry > header_len:
        raise RingError("section", "the section table does not fit")
    sections = {}
    for i in range(count):
        kind, _, offset, length, size, n = struct.unpack_from("<IIQQII", page, SECTIONS_AT + i * entry)
        if not HOT <= kind <= NAMES:
            continue
        if kind in sections or offset < PAGE or offset % 64 or offset > total or length > total - offset:
            raise RingError("section", "section %d lies outside the file" % kind)
        # Sizes come from the file, as newer writers may have longer elements; LEAST is what this needs of each.
        if kind == HOT and length < HOT_BYTES or kind != HOT and (
                not LEAST[kind] <= size <= PAGE or size % 8 or size * n > length):
            raise RingError("section", "section %d is shorter than its elements" % kind)
        if length:
            sections[kind] = Section(offset, length, size, n)
    if not {HOT, GAUGES, EVENTS} <= sections.keys():
        raise RingError("section", "a section is missing")
    events, gauge = sections[EVENTS], sections[GAUGES]
    if (events.size, events.count, gauge.size, gauge.count) != (slot_size, slots, gauge_size, gauges) or \
            slots < 4 or slots & (slots - 1):
        raise RingError("section", "the sections are not those of the header")
    return Header(major, minor, compat, total, epoch, page[0x30:0x40], page[0x40:0x50], start, pidns, pid, writer_uid,
                  owner_uid, mono, real, hb, wake, sections)


def open_file(path, owners=()):
    """Opens what may be a ring, and nothing that blocks, follows a link or was put there by somebody else."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ELOOP:
            raise RingError("kind", "%s: a symbolic link" % path) from error
        raise RingError("open", "%s: %s" % (path, getattr(error, "strerror", None) or error)) from error
    st = os.fstat(fd)
    why = None
    if not stat.S_ISREG(st.st_mode):
        why = RingError("kind", "%s: not a regular file" % path)
    elif st.st_uid not in {0, os.geteuid(), *owners} or st.st_mode & stat.S_IWOTH:
        why = RingError("owner", "%s: belongs to uid %d, mode %o" % (path, st.st_uid, st.st_mode & 0o777))
    elif st.st_size < PAGE:
        why = RingError("short", "%s: shorter than a header" % path)
    if why:
        os.close(fd)
        raise why
    return fd, st


class Ring:
    """One ring file, mapped read only. owners: uids beside root and ours whose rings are believed (a daemon's)."""

    def __init__(self, path, owners=(), check_crc=True):
        if platform.machine() not in ("x86_64", "AMD64"):
            raise RingError("platform", "pure Python reads rings on x86-64 only: use penstock_progress.h")
        self.path = os.fspath(path)
        fd, st = open_file(self.path, owners)
        try:
            self.header = h = parse_header(os.pread(fd, PAGE, 0), st.st_size)
            self._map = mmap.mmap(fd, h.total_size, mmap.MAP_SHARED, mmap.PROT_READ)
        finally:
            os.close(fd)
        self._inode = (st.st_dev, st.st_ino)
        # Hot words are loaded as whole words: struct.unpack may take a live word byte by byte.
        self._bytes = memoryview(self._map)
        self._words = self._bytes[:h.total_size & ~7].cast("Q")
        self._events, self._gauges = h.sections[EVENTS], h.sections[GAUGES]
        self._hot = h.sections[HOT].offset // 8
        self._slot = struct.Struct("<QQQHBBIQQQII%dx" % (self._events.size - 64))
        self._crc = check_crc and bool(h.compat & COMPAT_CRC)
        self._seen = {}
        self._beat = (self._heartbeat()[0], time.monotonic_ns())
        self.lost = 0
        self.stages = self._stage_names()

    def close(self):
        self._words.release()
        self._bytes.release()
        self._map.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def user(self):
        """Whose batches these are: the owner in the file's name, else the owner's uid."""
        named = re.fullmatch(r"(.+)\.[0-9]+\.ring", os.path.basename(self.path), re.DOTALL)
        if not named:
            return str(self.header.owner_uid)
        return urllib.parse.unquote_to_bytes(os.fsencode(named.group(1))).decode("utf-8", "replace")

    @property
    def gauge_count(self):
        return self._gauges.count

    @property
    def tail(self):
        """Events published so far."""
        return self._words[self._hot + 1]

    # ---- events ------------------------------------------------------------------------------------------------
    def oldest(self):
        """The oldest event that can still be read."""
        section, words = self._events, self._words
        index = max(0, words[self._hot] - section.count)
        end = min(self.tail, index + section.count)
        while index < end and not words[(section.offset + (index & (section.count - 1)) * section.size) // 8]:
            index += 1
        return index

    def drain(self, cursor, limit=EVENTS_AT_ONCE):
        """(events, next cursor, lost): what was published from event `cursor` on, as an iterator of Event, at most `limit`.
        Tail, then a copy of the slots, then the claim: what the writer may have touched meanwhile is thrown away."""
        n, words, hot = self._events.count, self._words, self._hot
        tail = words[hot + 1]
        if tail == cursor:
            return (), cursor, 0
        if not 0 < tail - cursor < FAR:
            raise RingError("corrupt", "the ring's tail went back")
        start = max(cursor, tail - n)
        end = min(tail, start + min(limit, EVENTS_AT_ONCE))
        raw = self._copy(start, end)
        claim = words[hot]
        if not 0 <= claim - tail < FAR:
            raise RingError("corrupt", "the ring's claim is behind its tail")
        first = max(start, claim - n)
        end = max(first, end)
        if first > start:
            raw = raw[(first - start) * self._events.size:]
        self._check(raw, first, end)
        self.lost += first - cursor
        return map(Event._make, self._slot.iter_unpack(raw)), end, first - cursor

    def _copy(self, start, end):
        section = self._events
        a, b = start & (section.count - 1), end - start
        head = min(b, section.count - a)
        at = section.offset
        raw = self._map[at + a * section.size:at + (a + head) * section.size]
        return raw + self._map[at:at + (b - head) * section.size] if head < b else raw

    def _check(self, raw, first, end):
        step = self._events.size
        if raw and memoryview(raw).cast("Q")[::step // 8].tolist() != list(range(first + 1, end + 1)):
            raise RingError("corrupt", "an event is not where it must be")
        if self._crc:
            at = struct.Struct("<60sI%dx" % (step - 64))
            if any(zlib.crc32(body) != crc for body, crc in at.iter_unpack(raw)):
                raise RingError("corrupt", "an event is damaged")

    def wait(self, cursor, timeout):
        """Waits until there is an event behind `cursor`, at most `timeout` seconds. True when there is. Polls: every
        50 us at first, every 5 ms in the end."""
        end, pause = time.monotonic() + timeout, 0.00005
        while self.tail == cursor:
            left = end - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, 0.005)
        return True

    # ---- batches -----------------------------------------------------------------------------------------------
    def gauge(self, g):
        """The batch in gauge g, None if it is free. If the writer is always faster: what was read last, or None."""
        at = self._gauges.offset + g * self._gauges.size
        words, seq_at = self._words, at // 8
        for _ in range(TRIES):
            seq = words[seq_at]
            copy = at + GAUGE_COPY[seq & 1]
            raw = self._map[copy:copy + GAUGE_COPY_BYTES]
            if words[seq_at] == seq:
                break
        else:
            return self._seen.get(g)
        w = struct.unpack("<32Q", raw)
        if not w[1] & 0xffffffff:
            self._seen.pop(g, None)
            return None
        batch = self._batch(g, w)
        self._seen[g] = batch
        return batch

    def batches(self):
        """Every batch that has a gauge, each read whole."""
        for g in range(self._gauges.count):
            batch = self.gauge(g)
            if batch:
                yield batch

    def _batch(self, g, w):
        label, live = self._names(g, w[0])
        stage = w[16] & 0xffffffff
        return Batch(g, w[0], w[1] & 0xffffffff, w[1] >> 32, *w[2:15], None if w[15] == UNKNOWN else w[15], stage,
                     w[16] >> 32, *w[17:20], {name: w[20 + i] for i, name in enumerate(live) if name}, label,
                     self.stage_name(stage) or STATES.get(w[1] & 0xffffffff, ""), sum(w[8:12]) & MASK)

    def _names(self, g, batch):
        """Label and names of the live counters; they are the batch's only if they say so before and after."""
        section = self.header.sections.get(NAMES)
        if not section or g + 1 >= section.count:
            return "", ()
        at = section.offset + (g + 1) * section.size
        if not batch or self._words[at // 8] != batch:
            return "", ()
        raw = self._map[at + 8:at + NAME_BYTES]
        if self._words[at // 8] != batch:
            return "", ()
        return text(raw[:NAME_LABEL]), [text(raw[NAME_LABEL + i * NAME_LIVE:NAME_LABEL + (i + 1) * NAME_LIVE])
                                        for i in range(NAME_COUNT)]

    def _stage_names(self):
        section = self.header.sections.get(NAMES)
        if not section or not section.count:
            return [""] * NAME_COUNT
        return [text(self._map[section.offset + i * NAME_STAGE:section.offset + (i + 1) * NAME_STAGE])
                for i in range(NAME_COUNT)]

    def stage_name(self, stage):
        return self.stages[stage] if stage < NAME_COUNT else ""

    # ---- the writer --------------------------------------------------------------------------------------------
    def hot(self):
        """The words of the whole engine, each by itself."""
        w = self._words[self._hot:self._hot + 0x138 // 8].tolist()
        return {"claim": w[0], "tail": w[1], "coalesced": w[3], "hb_mono_ns": w[16], "hb_count": w[17],
                "real_minus_mono": w[18] - (1 << 64) if w[18] >> 63 else w[18], "state": w[19] & 0xffffffff,
                "state_reason": w[19] >> 32, "last_batch": w[32], "commit_lsn": w[33], "durable_lsn": w[34],
                "inflight_chunks": w[35], "inflight_bytes": w[36], "queued_batches": w[37]}

    def counters(self):
        """[(id, name, unit, value)] in the order of the file, added up over the threads."""
        section, sums = self.header.sections.get(COUNTERS), {}
        for i in range(section.count if section else 0):
            at = section.offset + i * section.size
            number, _, unit, _, off = struct.unpack("<IBBHQ", self._map[at:at + 16])
            inside = off % 8 == 0 and off <= section.length - 8
            name, value = text(self._map[at + 16:at + 64]), self._words[(section.offset + off) // 8] if inside else 0
            old = sums.get(number)
            sums[number] = (number, old[1], old[2], (old[3] + value) & UNKNOWN) if old else (number, name, unit, value)
        return list(sums.values())

    def life(self):
        """alive, stalled (no heartbeat, the process may be there), dead (no heartbeat and no process), replaced (another file
        has the name, or none: open again), ended (closed in good order, or failed: hot()["state"])."""
        state = self._words[self._hot + 19] & 0xffffffff
        if state in (4, 5):
            return "ended"
        if state == 6 or not self._is_named():
            return "replaced"
        h, now, count, beat = self.header, time.monotonic_ns(), *self._heartbeat()
        if not same_boot(h.boot_id):
            return "dead"
        if count != self._beat[0]:
            self._beat = (count, now)
        here, patience = inode_of("/proc/self/ns/pid") == h.pidns, 4 * h.hb_period_ms * 1000000
        # Its clock reads like ours unless namespaces differ, and then only progress that we saw counts.
        if now - self._beat[1] <= patience and (not here or now - beat <= patience):
            return "alive"
        return "dead" if here and not process_lives(h.pid, h.start_ticks) else "stalled"

    def _heartbeat(self):
        return self._words[self._hot + 17], self._words[self._hot + 16]

    def _is_named(self):
        try:
            st = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return False
        return (st.st_dev, st.st_ino) == self._inode

    # ---- all together ------------------------------------------------------------------------------------------
    def follow(self, timeout=None):
        """Yields ("batch", Batch) for every batch now, and after each of its events; ("event", Event); ("lost", n), after
        which all batches come again; ("life", word) when it changes. Ends with the writer, or when nothing came for
        `timeout` seconds."""
        follower, came = Follower(self), time.monotonic()
        while True:
            items = follower.step()
            yield from items
            if follower.over:
                return
            if items:
                came = time.monotonic()
            left = 0.25 if timeout is None else min(0.25, came + timeout - time.monotonic())
            if left <= 0:
                return
            self.wait(follower.cursor, left)


class Follower:
    """The state of all batches, kept by gauges and events together. It is right at once, and right again after a loss: first
    the tail, then all gauges, then the events from that tail on, of which a gauge ignores those it contains."""

    LOOK_NS = 200_000_000

    def __init__(self, ring):
        self.ring = ring
        self.cursor = ring.tail
        self.batches = {}
        self.life = "alive"
        self.over = False
        self._looked = 0
        self._fresh = True

    def step(self, limit=4096):
        """What is new, as in Ring.follow, without waiting. Sets over when nothing will come any more."""
        out = []
        events, self.cursor, lost = self.ring.drain(self.cursor, limit)
        if lost:
            out.append(("lost", lost))
        if lost or self._fresh:
            self._fresh = False
            self.batches = {batch.gauge: batch for batch in self.ring.batches()}
            out += [("batch", batch) for batch in self.batches.values()]
        touched = {}
        for event in events:
            if event.type not in EVENT_TYPES:
                continue
            out.append(("event", event))
            batch = self.batches.get(event.gauge)
            if batch:
                self.batches[event.gauge] = batch.after(event)
            if event.gauge < self.ring.gauge_count:
                touched[event.gauge] = True
        for g in touched:
            batch = self.ring.gauge(g)
            if batch:
                self.batches[g] = batch
                out.append(("batch", batch))
        if not events:
            self._look(out)
        return out

    def _look(self, out):
        now = time.monotonic_ns()
        if now - self._looked < self.LOOK_NS:
            return
        self._looked = now
        life = self.ring.life()
        # What it published last may have come between our drain and its end.
        self.over = life in ("ended", "replaced", "dead") and self.ring.tail == self.cursor
        if life != self.life and (self.over or life in ("alive", "stalled")):
            self.life = life
            out.append(("life", life))


def same_boot(boot_id):
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as f:
            return boot_id == bytes(16) or bytes.fromhex(f.read().strip().replace("-", "")) == boot_id
    except (OSError, ValueError):
        return True


def inode_of(path):
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def process_lives(pid, start_ticks):
    """A zombie does not live, nor does another process that got the number."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as f:
            fields = f.read().rsplit(b")", 1)[1].split()
        return fields[0] not in (b"Z", b"X") and int(fields[19]) == start_ticks
    except FileNotFoundError:
        return False
    except (OSError, IndexError, ValueError):
        return True


# ---- where rings are ---------------------------------------------------------------------------------------------
def rundirs():
    """Where an engine may have put its ring, in its order of preference. Only root's and our own are believed."""
    given, session = os.environ.get("PENSTOCK_RUN"), os.environ.get("XDG_RUNTIME_DIR")
    wanted = [given] if given else ["/run/penstock", *([session + "/penstock"] if session else []),
                                    "/dev/shm/penstock-%d" % os.geteuid()]
    found = []
    for path in wanted:
        try:
            st = os.lstat(path)
        except OSError:
            continue
        if stat.S_ISDIR(st.st_mode) and st.st_uid in (0, os.geteuid()) and path not in found:
            found.append(path)
    return found


def store_id(store):
    """A store's id: the value "meta" of its database penstock.meta, found by LMDB's format 1 alone. None: not found."""
    try:
        with open(os.path.join(store, "data.mdb"), "rb") as f:
            for _ in range(8):
                # Nobody holds the pages for us; the id never changes, so any page that makes sense will do.
                try:
                    return _store_id(f.fileno())
                except (struct.error, IndexError, ValueError, OverflowError):
                    time.sleep(0.002)
    except OSError:
        pass
    return None


def _store_id(fd):
    size = struct.unpack_from("<I", os.pread(fd, PAGE, 0), 40)[0]
    if size not in (1 << k for k in range(9, 17)):
        raise ValueError
    metas = [os.pread(fd, 160, n * size) for n in (0, 1)]
    newest = max((m for m in metas if struct.unpack_from("<II", m, 16) == (0xBEEFC0DE, 1)),
                 key=lambda m: struct.unpack_from("<Q", m, 144)[0])
    sub = _lmdb_find(fd, size, struct.unpack_from("<Q", newest, 128)[0], b"penstock.meta")
    meta = _lmdb_find(fd, size, struct.unpack_from("<Q", sub, 40)[0], b"meta")
    kind, = struct.unpack_from("<H", meta, 4)
    if kind != 1:
        raise ValueError
    return struct.unpack_from("<Q", meta, 16)[0]


def _lmdb_find(fd, size, page_no, wanted):
    """The value of a key in an LMDB tree, for values that lie in their page."""
    for _ in range(32):
        page = os.pread(fd, size, page_no * size)
        flags, lower = struct.unpack_from("<HH", page, 10)
        below = None
        for i in range((lower - 16) // 2):
            at, = struct.unpack_from("<H", page, 16 + 2 * i)
            lo, hi, more, key_size = struct.unpack_from("<4H", page, at)
            key = page[at + 8:at + 8 + key_size]
            if flags & 1 and (i == 0 or key <= wanted):
                below = lo | hi << 16 | more << 32
            elif flags & 2 and key == wanted:
                return page[at + 8 + key_size:at + 8 + key_size + (lo | hi << 16)]
        if below is None:
            break
        page_no = below
    raise ValueError


def find(where=None):
    """Paths of rings: `where` itself, those of a store's directory, of a directory of rings, or (None) all that can be seen."""
    if where is None:
        return sorted({path for run in rundirs() for path in glob.glob(os.path.join(glob.escape(run), "*/*.ring"))})
    if not os.path.isdir(where):
        return [where]
    if os.path.exists(os.path.join(where, "data.mdb")):
        number = store_id(where)
        if number is None:
            raise RingError("open", "%s: this store's id cannot be read" % where)
        return sorted(path for run in rundirs()
                      for path in glob.glob(os.path.join(glob.escape(run), "%016x" % number, "*.ring")))
    return sorted(glob.glob(os.path.join(glob.escape(where), "*.ring")) +
                  glob.glob(os.path.join(glob.escape(where), "*/*.ring")))


# ---- the command -------------------------------------------------------------------------------------------------
def ring_view(ring, still=False):
    """The ring as JSON. still: only what is in the file, so that one file always gives one text."""
    h, hot = ring.header, ring.hot()
    o = {"kind": "ring"} if still else {"kind": "ring", "path": ring.path, "life": ring.life()}
    o.update(abi="%d.%d" % (h.abi_major, h.abi_minor), compat=h.compat, epoch=h.epoch, instance=h.instance.hex(),
             boot_id=h.boot_id.hex(), writer_pid=h.pid, writer_start_ticks=h.start_ticks, pidns=h.pidns,
             writer_uid=h.writer_uid, owner_uid=h.owner_uid, created_mono_ns=h.created_mono_ns,
             created_real_ns=h.created_real_ns, hb_period_ms=h.hb_period_ms, wake_period_us=h.wake_period_us,
             event_slots=h.sections[EVENTS].count, gauge_slots=h.sections[GAUGES].count)
    hot["state"] = WRITER_STATES.get(hot["state"], "state%d" % hot["state"])
    hot["last_batch"] = "%016x" % hot["last_batch"]
    o.update(hot, stages=ring.stages)
    return o


def event_view(ring, event):
    return {"kind": "event", "index": event.index, "time_ns": event.ts_ns, "batch": "%016x" % event.batch,
            "type": EVENT_TYPES[event.type], "stage": ring.stage_name(event.stage), "gauge": event.gauge, "a": event.a,
            "b": event.b, "sequence": event.c,
            "code": event.code if event.type == ERROR_DOMAIN else code_name(event.code)}


def item_view(ring, kind, value):
    if kind == "batch":
        return value.view(ring.user)
    if kind == "event":
        return event_view(ring, value)
    return {"kind": kind, "path": ring.path, "events" if kind == "lost" else "life": value}


def dump(ring):
    """All that is in the file, oldest event first."""
    yield ring_view(ring, still=True)
    for number, name, unit, value in ring.counters():
        yield {"kind": "counter", "id": number, "name": name, "unit": unit, "value": value}
    for batch in ring.batches():
        yield batch.view(ring.user)
    cursor, tail = ring.oldest(), ring.tail
    while cursor < tail:
        events, cursor, lost = ring.drain(cursor, min(EVENTS_AT_ONCE, tail - cursor))
        if lost:
            yield {"kind": "lost", "events": lost}
        for event in events:
            if event.type in EVENT_TYPES:
                yield event_view(ring, event)


def line(view, as_json):
    if as_json:
        return json.dumps(view, ensure_ascii=False, separators=(",", ":"))
    if view["kind"] == "batch":
        return "%s  %s  %s  %s  %s %%  %s, %s/s" % (
            view["batch"], view["userId"], view["state"], view["stage"], view["percentage"], view["message"],
            view["rate_milli"] // 1000)
    return "  ".join(str(v) for k, v in view.items() if k != "kind" or v in ("lost", "life", "ring", "event", "counter"))


def put(view, as_json):
    # A name from a file may hold control characters; a terminal must not get them.
    said = line(view, as_json)
    print(said if as_json else "".join(c if c.isprintable() else "?" for c in said), flush=True)


def follow_all(where, timeout, as_json):
    """Every ring there is and every one that comes, until all their writers are gone. Exit status."""
    followers, known, bad, looked = {}, {}, 0, 0.0
    came = time.monotonic()
    pause = 0.0005
    while True:
        if time.monotonic() - looked > 1.0:
            looked = time.monotonic()
            bad |= open_new(where, followers, known, as_json)
        busy = False
        for path, follower in list(followers.items()):
            items = follower.step()
            for kind, value in items:
                put(item_view(follower.ring, kind, value), as_json)
            busy = busy or bool(items)
            if follower.over:
                bad |= follower.life == "dead"
                follower.ring.close()
                del followers[path]
        now = time.monotonic()
        came = now if busy else came
        if timeout is not None and now - came > timeout or not followers and timeout is None:
            return int(bad)
        pause = 0.0005 if busy else min(pause * 1.5, 0.01)
        time.sleep(pause)


def open_new(where, followers, known, as_json):
    """Starts to follow the files that were not there when we looked last. 1 if one is refused."""
    bad = 0
    for path in find(where):
        try:
            st = os.stat(path, follow_symlinks=False)
            if known.get(path) == (st.st_dev, st.st_ino) or path in followers:
                continue
            known[path] = (st.st_dev, st.st_ino)
            # Before anything is said: who reads us may then count on the events that follow.
            followers[path] = Follower(Ring(path))
            put(ring_view(followers[path].ring), as_json)
        except (OSError, RingError) as error:
            print("penstock_progress: %s" % error, file=sys.stderr)
            bad = 1
    return bad


def show(args):
    paths, bad = find(args.where), 0
    for path in paths:
        try:
            with Ring(path) as ring:
                if args.dump:
                    for view in dump(ring):
                        put(view, args.json)
                    continue
                put(ring_view(ring), args.json)
                for batch in ring.batches():
                    put(batch.view(ring.user), args.json)
        except RingError as error:
            print("penstock_progress: %s: %s" % (path, error), file=sys.stderr)
            bad = 3
    if not paths:
        print("penstock_progress: no engine runs there", file=sys.stderr)
    return bad


def main():
    parser = argparse.ArgumentParser(description="Shows what an engine's progress ring says.")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--snapshot", action="store_true", help="every batch as it is now (the default)")
    mode.add_argument("--follow", action="store_true", help="then events, until the engines are gone")
    mode.add_argument("--dump", action="store_true", help="all that is in the file, and nothing that is not")
    parser.add_argument("--timeout", type=float, metavar="S", help="with --follow: end when nothing came for S seconds")
    parser.add_argument("where", nargs="?", metavar="RING|STORE|RUNDIR", help="default: every ring that can be seen")
    args = parser.parse_args()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        return follow_all(args.where, args.timeout, args.json) if args.follow else show(args)
    except RingError as error:
        print("penstock_progress: %s" % error, file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
