#!/usr/bin/python3
# make_ring - progress rings written by hand, byte by byte: good ones, and every kind of bad one
#
#   make_ring.py DIR       writes the good ones to DIR (tests/readers/golden is made of them), the bad ones to DIR/hostile
#
# It shares no code with the engine, so an error that writer and readers have in common shows here. Every file is the same
# on every machine.
import os
import struct
import sys
import zlib

PAGE = 4096
STAGES = ("read", "cut", "process", "commit", "decode")
BOOT = bytes(range(0x20, 0x30))
HEADER_FIELDS = {
    "magic": (0x00, 8), "abi_major": (0x08, 2), "abi_minor": (0x0a, 2), "endian_tag": (0x0c, 4), "header_len": (0x10, 4),
    "section_align": (0x14, 4), "compat_flags": (0x18, 4), "incompat_flags": (0x1c, 4), "total_size": (0x20, 8),
    "epoch": (0x28, 8), "instance": (0x30, 16), "boot_id": (0x40, 16), "writer_start_ticks": (0x50, 8),
    "pidns_ino": (0x58, 8), "writer_pid": (0x60, 4), "writer_uid": (0x64, 4), "owner_uid": (0x68, 4), "clock_id": (0x6c, 4),
    "created_mono_ns": (0x70, 8), "created_real_ns": (0x78, 8), "event_slots": (0x80, 4), "event_slot_size": (0x84, 4),
    "gauge_slots": (0x88, 4), "gauge_slot_size": (0x8c, 4), "hb_period_ms": (0x90, 4), "wake_period_us": (0x94, 4),
    "section_count": (0x98, 4), "section_entry_size": (0x9c, 4),
}
HOT, COUNTERS, GAUGES, EVENTS, NAMES = 1, 2, 3, 4, 5


def page_up(n):
    return (n + PAGE - 1) // PAGE * PAGE


def padded(name, size):
    return name[:size - 1].ljust(size, b"\0")


class Maker:
    """A ring with its sections at known places, open to any change before bytes() seals the header."""

    def __init__(self, events=16, gauges=4, counters=(), event_size=64, gauge_size=576, name_size=256, entry=32, minor=0,
                 compat=0, strange=False, pid=4242, start=99, pidns=4026531836, boot=BOOT, hb_period=250, owner=1000):
        self.n, self.event_size, self.gauge_size, self.name_size, self.entry = events, event_size, gauge_size, name_size, entry
        self.crc = compat & 1
        threads = 1 + max((c[3] for c in counters), default=0)
        values = page_up(64 * len(counters))
        sizes = [(HOT, PAGE, 0, 0), (COUNTERS, values + 256 * threads, 64, len(counters)),
                 (GAUGES, gauge_size * gauges, gauge_size, gauges), (EVENTS, event_size * events, event_size, events),
                 (NAMES, name_size * (gauges + 1), name_size, gauges + 1)]
        if strange:
            sizes.insert(2, (77, 100, 10, 10))
        self.at, place = {}, PAGE
        for kind, length, _, _ in sizes:
            self.at[kind] = place
            place += page_up(length)
        self.b = bytearray(place)
        self.put(0x08, "<HHIIIII", 1, minor, 0x01020304, max(0x300, 0x100 + entry * len(sizes)), PAGE, compat, 0)
        self.put(0x20, "<QQ", place, 7)
        self.b[0:8] = b"PENRNG\x1a\n"
        self.b[0x30:0x40], self.b[0x40:0x50] = bytes(range(16)), boot
        self.put(0x50, "<QQIIII", start, pidns, pid, 1000, owner, 1)
        self.put(0x70, "<QQ8I", 5_000_000_000, 1_700_000_000_000_000_000, events, event_size, gauges, gauge_size, hb_period, 1000,
                 len(sizes), entry)
        for i, (kind, length, size, count) in enumerate(sizes):
            self.put(0x100 + i * entry, "<IIQQII", kind, 0, self.at[kind], length, size, count)
        for i, name in enumerate(STAGES):
            self.b[self.at[NAMES] + 32 * i:self.at[NAMES] + 32 * i + len(name)] = name.encode()
        for i, (number, kind, unit, thread, name, value) in enumerate(counters):
            off = values + 256 * thread + 8 * (i % 32)
            self.put(self.at[COUNTERS] + 64 * i, "<IBBHQ48s", number, kind, unit, thread, off, padded(name, 48))
            self.put(self.at[COUNTERS] + off, "<Q", value)
        self.claim = self.tail = 0
        self.hot(state=2, hb_mono_ns=6_000_000_000, hb_count=5)

    def put(self, at, layout, *values):
        struct.pack_into(layout, self.b, at, *values)

    def hot(self, **words):
        places = {"coalesced": (0x18, "<Q"), "hb_mono_ns": (0x80, "<Q"), "hb_count": (0x88, "<Q"), "real_minus_mono": (0x90, "<q"),
                  "state": (0x98, "<I"), "state_reason": (0x9c, "<I"), "last_batch": (0x100, "<Q"), "commit_lsn": (0x108, "<Q"),
                  "durable_lsn": (0x110, "<Q"), "inflight_chunks": (0x118, "<Q"), "inflight_bytes": (0x120, "<Q"),
                  "queued_batches": (0x128, "<Q")}
        for name, value in words.items():
            at, layout = places[name]
            self.put(self.at[HOT] + at, layout, value)

    def gauge(self, g, batch, state, label=None, live=(), seq=1, names_of=None, **words):
        order = ("queued", "started", "updated", "bytes_total", "bytes_done", "items_total", "committed", "rejected", "failed",
                 "skipped", "duplicates", "retrying", "rate_milli", "eta_ms")
        w = [batch, state | words.get("attempt", 1) << 32, *(words.get(k, 0) for k in order),
             words.get("stage", 0) | words.get("err", 0) << 32, words.get("commit_lsn", 0), words.get("as_of", 0),
             words.get("user_tag", 0), *[v for _, v in live], *[0] * (8 - len(live)), *[0] * 4]
        at = self.at[GAUGES] + g * self.gauge_size
        self.put(at, "<Q", seq)
        self.put(at + 0x40 + 0x100 * (seq & 1), "<32Q", *w)
        self.put(at + 0x40 + 0x100 * (1 - (seq & 1)), "<32Q", *[0xdead] * 32)
        if label is not None:
            at = self.at[NAMES] + (g + 1) * self.name_size
            self.put(at, "<Q56s", batch if names_of is None else names_of, padded(label, 56))
            for i, (name, _) in enumerate(live):
                self.b[at + 64 + 24 * i:at + 64 + 24 * (i + 1)] = padded(name, 24)

    def event(self, kind, batch=0, gauge=0xffffffff, ts=0, stage=0, a=0, b=0, c=0, code=0):
        at = self.at[EVENTS] + (self.tail % self.n) * self.event_size
        self.put(at, "<QQQHBBIQQQI", self.tail + 1, ts, batch, kind, 1, stage, gauge, a, b, c, code)
        self.put(at + 60, "<I", zlib.crc32(self.b[at:at + 60]) if self.crc else 0)
        self.tail += 1
        self.claim = self.tail

    def bytes(self):
        self.put(self.at[HOT], "<QQ", self.claim, self.tail)
        return seal(self.b)


def seal(b):
    b = bytearray(b)
    struct.pack_into("<I", b, PAGE - 4, zlib.crc32(bytes(b[:PAGE - 4])))
    return bytes(b)


# ---- the good ones -----------------------------------------------------------------------------------------------
COUNTED = ((0x001, 1, 1, 0, b"read.items", 1000), (0x002, 1, 2, 0, b"read.bytes", 1 << 40), (0x301, 1, 1, 0, b"commit.items", 7),
           (0x301, 1, 1, 1, b"commit.items", 35), (0x305, 1, 4, 1, b"commit.some_us", 2**64 - 1), (0x307, 2, 0, 0, b"commit.queued", 3))


def plain():
    """Every state of a batch, every event; names with quotes, controls, other scripts and broken UTF-8."""
    r = Maker(events=32, gauges=12, counters=COUNTED)
    r.hot(coalesced=3, real_minus_mono=-5, last_batch=0x1122334455667788, commit_lsn=2**63 + 1, durable_lsn=2**53 + 1,
          inflight_chunks=2, inflight_bytes=65536, queued_batches=1)
    r.gauge(0, 0x1122334455667788, 3, label="papers \u00e9\u4e2d\U0001f600.ndjson".encode(), seq=4, queued=1700000000001,
            started=1700000000002, updated=1700000000003, bytes_total=2**53 + 3, bytes_done=2**52, items_total=3000000,
            committed=1830000, rejected=12, failed=3, skipped=4, duplicates=5, retrying=6, rate_milli=412000500, eta_ms=2100,
            stage=3, commit_lsn=99, as_of=2, user_tag=2**64 - 1,
            live=((b"totalWordsRead", 12345678901234567890), (b"currentArticle", 17), (b"__proto__", 1), (b"7", 2)))
    r.gauge(1, 1, 1, seq=1, eta_ms=2**64 - 1)
    r.gauge(2, 2, 5, label=b'say "hi"\\\n\x01\x7f', seq=3, items_total=3, committed=1, rejected=2, stage=7, eta_ms=0)
    r.gauge(3, 3, 6, label=b"bad \xff\xfe\xe2\x82 \xf0\x9f\x98 \xed\xa0\x80 \xc0\xaf end", seq=2, err=1042, bytes_total=3, bytes_done=2)
    r.gauge(4, 4, 7, label=b"not its", names_of=5, seq=2, items_total=10, committed=10, err=309)
    r.gauge(6, 6, 4, label=b"x" * 60, seq=2, items_total=3, committed=2, live=((b"y" * 30, 1), (b"y" * 30, 2)), stage=2**32 - 1)
    r.gauge(7, 7, 8, seq=2, items_total=2**64 - 1, committed=2**64 - 2)
    r.gauge(8, 8, 9, seq=2, items_total=7, committed=8, rejected=2**64 - 1)
    r.gauge(9, 9, 2, seq=2, items_total=200, committed=1)
    r.gauge(10, 10, 44, seq=2)
    for kind in range(1, 32):
        r.event(kind, batch=kind % 5, gauge=kind % 5, ts=10**9 + kind, stage=kind % 9, a=2**64 - kind, b=kind, c=kind % 3,
                code=1000 + kind if kind % 2 else 0)
    return r.bytes()


def strides():
    """What a later minor version may do: longer elements, more header, sections, types and flags than we know; CRCs."""
    r = Maker(events=8, gauges=3, event_size=128, gauge_size=704, name_size=320, entry=48, minor=9, compat=0xfffffffd, strange=True,
              counters=COUNTED[:2])
    r.gauge(1, 0xabc, 3, label=b"wide", live=((b"words", 5),), items_total=10, committed=1, seq=7)
    for i in range(5):
        r.event((3, 5, 40, 1000, 65535)[i], batch=0xabc, gauge=1, a=i, b=i, c=i)
    return r.bytes()


def lapped():
    """Overwritten twice, and the writer died while it wrote the next two: those cannot be trusted."""
    r = Maker(events=8, gauges=1)
    for i in range(21):
        r.event(3, batch=1, gauge=0, a=i, b=i)
    r.claim = r.tail + 2
    r.hot(state=4)
    return r.bytes()


def empty():
    return Maker(events=4, gauges=1).bytes()


GOOD = {"alice.0": plain, "strides.12": strides, "lapped.1": lapped, "empty.0": empty}


# ---- the bad ones ------------------------------------------------------------------------------------------------
def patched(good, at, value, sealed=True):
    b = bytearray(good)
    b[at:at + len(value)] = value
    return seal(b) if sealed else bytes(b)


def hostile():
    """(name, bytes, refused): refused says that opening it must fail; the others must be read without harm."""
    good = plain()
    for name, (at, size) in HEADER_FIELDS.items():
        yield "flip-" + name, patched(good, at, bytes(x ^ 0x55 for x in good[at:at + size]), sealed=False), True
        for label, fill in (("zero", b"\0"), ("ones", b"\xff")):
            b = patched(good, at, fill * size)
            yield "%s-%s" % (label, name), b, None
    yield "no-crc", patched(good, PAGE - 4, b"\0\0\0\0", sealed=False), True
    yield "reserved", patched(good, 0x800, b"x", sealed=False), True
    for length in (0, 1, 7, 8, 0x300, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, len(good) // 2, len(good) - 1):
        yield "cut-%d" % length, good[:length], True
    for field, value in (("event_slots", 3), ("event_slots", 1 << 31), ("event_slot_size", 0), ("event_slot_size", 32),
                         ("event_slot_size", 65), ("gauge_slots", 2**32 - 1), ("gauge_slot_size", 64), ("section_count", 17),
                         ("section_count", 0), ("section_entry_size", 8), ("section_entry_size", 2**31), ("header_len", 4093)):
        yield "%s-%d" % (field, value), patched(good, HEADER_FIELDS[field][0], struct.pack("<I", value)), True
    for size in (2**30 + 1, 2**63, 2**64 - 4096, len(good) + 1, 4096):
        yield "total_size-%d" % size, patched(good, 0x20, struct.pack("<Q", size)), True
    yield from hostile_sections(good)
    yield from hostile_contents(good)


def hostile_sections(good):
    for i, kind in enumerate(("hot", "counters", "gauges", "events", "names")):
        at = 0x100 + 32 * i
        for offset in (0, 8, PAGE + 4, 2**64 - 8, 2**63, len(good), len(good) - 64):
            yield "%s-at-%d" % (kind, offset), patched(good, at + 8, struct.pack("<Q", offset)), True
        for length in (2**64 - 1, 2**64 - PAGE, len(good)):
            yield "%s-long-%d" % (kind, length), patched(good, at + 16, struct.pack("<Q", length)), True
        if kind != "hot":
            for size, count in ((2**32 - 1, 2**32 - 1), (2**31, 2), (0, 5), (12, 1), (8192, 1)):
                yield "%s-of-%dx%d" % (kind, size, count), patched(good, at + 24, struct.pack("<II", size, count)), True
        yield "no-" + kind, patched(good, at, struct.pack("<I", 99)), kind in ("hot", "gauges", "events")
        yield "twice-" + kind, patched(good, 0x100 + 32 * ((i + 1) % 5), good[at:at + 32]), True


def hostile_contents(good):
    """A header that holds, and nonsense behind it."""
    hot = PAGE
    yield "tail-behind", patched(good, hot, struct.pack("<QQ", 0, 5)), False
    yield "tail-far", patched(good, hot, struct.pack("<QQ", 2**63, 2**63)), False
    yield "tail-end", patched(good, hot, struct.pack("<QQ", 2**64 - 1, 2**64 - 1)), False
    yield "tail-without-events", patched(Maker().bytes(), hot, struct.pack("<QQ", 0, 2**63)), False
    yield "claim-far", patched(good, hot, struct.pack("<QQ", 2**64 - 1, 31)), False
    for name, fill in (("zeros", b"\0"), ("ones", b"\xff"), ("fives", b"\x55")):
        yield "body-" + name, good[:PAGE] + fill * (len(good) - PAGE), False
    counter = struct.unpack_from("<Q", good, 0x100 + 32 + 8)[0]
    for off in (2**64 - 1, 2**64 - 8, 4, 2**32):
        yield "counter-off-%d" % off, patched(good, counter + 8, struct.pack("<Q", off)), False
    # All sections are one and the same: each is then made of another's bytes.
    b = bytearray(good)
    for i in range(5):
        struct.pack_into("<Q", b, 0x100 + 32 * i + 8, PAGE)
    yield "overlapping", seal(b), None


def main():
    where = sys.argv[1]
    os.makedirs(os.path.join(where, "hostile"), exist_ok=True)
    for name, make in GOOD.items():
        with open(os.path.join(where, name + ".ring"), "wb") as f:
            f.write(make())
    for name, data, _ in hostile():
        with open(os.path.join(where, "hostile", name + ".ring"), "wb") as f:
            f.write(data)


if __name__ == "__main__":
    main()
