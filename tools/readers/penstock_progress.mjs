#!/usr/bin/env node
// SPDX-License-Identifier: MIT
/*
 * penstock_progress - reads a Penstock engine's progress ring. One file, no addon, Node >= 20.
 *
 *     import { Ring, find } from './penstock_progress.mjs'
 *     const ring = new Ring(find('STORE')[0])
 *     for (const batch of ring.batches()) console.log(batch.id, batch.percentage)
 *     for await (const [kind, value] of ring.follow({ timeout: 10 })) console.log(kind, value)
 *
 * The engine writes the ring into shared memory and never waits for anyone; this reads the file, so it can neither slow,
 * stop nor corrupt the engine. What is returned was written whole, or it is not returned; events that were overwritten
 * before they were read are counted exactly (ring.lost). Node has no maps: tail, slots and claim are separate reads, each
 * of which a system call orders, on every machine.
 *
 *   Memory    two buffers of at most 16,384 events.
 *   Numbers   64-bit ones are BigInt (nanoseconds pass 2^53 after 104 days). toJson() writes them as plain numbers.
 *   Limits    little-endian machines; files up to 1 GiB.
 *   Errors    RingError alone, with .reason.
 *
 * As a command:  penstock_progress.mjs [--json] [--snapshot | --follow | --dump] [--timeout S] [RING | STORE | RUNDIR]
 */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import zlib from 'node:zlib'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const PAGE = 4096
const MAGIC = 0x0a1a474e524e4550n
const COMPAT_CRC = 1
const SECTIONS_AT = 0x100
const SECTION_BYTES = 32
const [HOT, COUNTERS, GAUGES, EVENTS, NAMES] = [1, 2, 3, 4, 5]
const HOT_BYTES = 0x180
const LEAST = [0, 0, 64, 576, 64, 256]
const FILE_MAX = 1n << 30n
const EVENTS_AT_ONCE = 16384
const COPY_BYTES = 256
const TRIES = 64
const MASK = (1n << 64n) - 1n
const FAR = 1n << 63n // between two indexes of one moment: not possible

export const STATES = ['', 'queued', 'waiting', 'running', 'paused', 'completed', 'failed', 'stopped', 'interrupted', 'cancelled']
const WRITER_STATES = ['', 'init', 'running', 'draining', 'closed', 'failed', 'superseded']
export const EVENT_TYPES = [, 'queued', 'started', 'progress', 'retry', 'completed', 'failed', 'cancelled', 'stall',
	'writer_state', 'checkpoint', 'coalesced', , 'paused', 'resumed', 'stalled', 'skipped', 'deduplicated', 'rate_limited',
	'dead_lettered', 'dependency_ready', 'cleaned', 'drained', 'stopped', 'interrupted', 'error', 'error_standard',
	'error_domain', 'done']
const COMPLETED = 5
const ERROR_DOMAIN = 27
// What an event says about its batch's state.
const STATE_AFTER = { 1: 1, 2: 3, 5: 5, 6: 6, 7: 9, 13: 4, 14: 3, 23: 7, 24: 8 }

/* Not a ring that can be read. reason: open, kind, owner, short, magic, version, incompat, crc, section, limit, corrupt,
 * platform. */
export class RingError extends Error {
	constructor(reason, message) {
		super(message)
		this.name = 'RingError'
		this.reason = reason
	}
}

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true })

/* A name: it ends at its NUL, which the last byte is taken for. */
function text(bytes) {
	const end = bytes.subarray(0, bytes.length - 1).indexOf(0)
	return utf8.decode(bytes.subarray(0, end < 0 ? bytes.length - 1 : end))
}

function hex(bytes) {
	return Buffer.from(bytes).toString('hex')
}

const hex16 = (n) => n.toString(16).padStart(16, '0')
const codeName = (code) => (code ? `PEN${code}` : null)
const stateName = (names, state) => (state && names[state]) || `state${state}`

let table
function crc32(bytes) {
	if (zlib.crc32)
		return zlib.crc32(bytes)
	table ??= Uint32Array.from({ length: 256 }, (_, n) => {
		for (let k = 0; k < 8; k++)
			n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1
		return n
	})
	let crc = ~0
	for (const byte of bytes)
		crc = table[(crc ^ byte) & 255] ^ (crc >>> 8)
	return ~crc >>> 0
}

/* The header out of a private copy of the first page. Everything in it is taken for hostile. */
export function parseHeader(page, fileSize) {
	if (page.length < PAGE)
		throw new RingError('short', 'shorter than a header')
	const v = new DataView(page.buffer, page.byteOffset, PAGE)
	const u32 = (at) => v.getUint32(at, true)
	const u64 = (at) => v.getBigUint64(at, true)
	if (u64(0) !== MAGIC || u32(0x0c) !== 0x01020304)
		throw new RingError('magic', 'no progress ring')
	const h = { abiMajor: v.getUint16(8, true), abiMinor: v.getUint16(10, true), compat: u32(0x18) }
	if (h.abiMajor !== 1)
		throw new RingError('version', `a ring of version ${h.abiMajor}.${h.abiMinor}; this reads 1.x`)
	if (u32(0x1c))
		throw new RingError('incompat', `a ring with features that this does not know (0x${u32(0x1c).toString(16)})`)
	if (crc32(page.subarray(0, PAGE - 4)) !== u32(PAGE - 4))
		throw new RingError('crc', 'the header is damaged')
	const total = u64(0x20)
	if (total > FILE_MAX)
		throw new RingError('limit', 'larger than a ring may be')
	if (total < 2 * PAGE || fileSize < total)
		throw new RingError('short', 'the file is shorter than its header says')
	Object.assign(h, {
		epoch: u64(0x28), instance: hex(page.subarray(0x30, 0x40)), bootId: hex(page.subarray(0x40, 0x50)),
		startTicks: u64(0x50), pidns: u64(0x58), pid: u32(0x60), writerUid: u32(0x64), ownerUid: u32(0x68),
		createdMonoNs: u64(0x70), createdRealNs: u64(0x78), hbPeriodMs: u32(0x90), wakePeriodUs: u32(0x94),
	})
	h.sections = parseSections(u32, u64, Number(total))
	return h
}

function parseSections(u32, u64, total) {
	const sections = []
	const [length, count, entry] = [u32(0x10), u32(0x98), u32(0x9c)]
	if (length < SECTIONS_AT || length > PAGE - 4 || entry < SECTION_BYTES || entry > PAGE || SECTIONS_AT + count * entry > length)
		throw new RingError('section', 'the section table does not fit')
	for (let i = 0; i < count; i++) {
		const at = SECTIONS_AT + i * entry
		const kind = u32(at)
		if (kind < HOT || kind > NAMES)
			continue
		const s = { offset: Number(u64(at + 8)), length: Number(u64(at + 16)), size: u32(at + 24), count: u32(at + 28) }
		// Numbers are exact below 2^53, and what is above total is refused whatever it is.
		if (sections[kind] || s.offset < PAGE || s.offset > total || s.offset % 64 || s.length > total - s.offset)
			throw new RingError('section', `section ${kind} lies outside the file`)
		// Sizes come from the file, as newer writers may have longer elements; LEAST is what this needs of each.
		if (kind === HOT ? s.length < HOT_BYTES :
			s.size < LEAST[kind] || s.size > PAGE || s.size % 8 || s.size * s.count > s.length)
			throw new RingError('section', `section ${kind} is shorter than its elements`)
		if (s.length)
			sections[kind] = s
	}
	if (!sections[HOT] || !sections[GAUGES] || !sections[EVENTS])
		throw new RingError('section', 'a section is missing')
	const [slots, slotSize, gauges, gaugeSize] = [u32(0x80), u32(0x84), u32(0x88), u32(0x8c)]
	if (sections[EVENTS].count !== slots || sections[EVENTS].size !== slotSize || sections[GAUGES].count !== gauges ||
		sections[GAUGES].size !== gaugeSize || slots < 4 || !Number.isInteger(Math.log2(slots)))
		throw new RingError('section', 'the sections are not those of the header')
	return sections
}

/* Opens what may be a ring, and nothing that blocks, follows a link or was put there by somebody else. */
function openFile(file, owners) {
	const c = fs.constants
	let fd
	try {
		fd = fs.openSync(file, c.O_RDONLY | c.O_NOFOLLOW | c.O_NONBLOCK)
	} catch (error) {
		if (error.code === 'ELOOP')
			throw new RingError('kind', `${file}: a symbolic link`)
		throw new RingError('open', `${file}: ${error.message}`)
	}
	const st = fs.fstatSync(fd, { bigint: true })
	let why
	if (!st.isFile())
		why = new RingError('kind', `${file}: not a regular file`)
	else if (![0, process.geteuid(), ...owners].includes(Number(st.uid)) || st.mode & 2n)
		why = new RingError('owner', `${file}: belongs to uid ${st.uid}, mode ${(st.mode & 0o777n).toString(8)}`)
	else if (st.size < PAGE)
		why = new RingError('short', `${file}: shorter than a header`)
	if (why) {
		fs.closeSync(fd)
		throw why
	}
	return [fd, st]
}

/* A buffer of whole words, seen in every width. */
class Words {
	constructor(bytes) {
		this.bytes = new Uint8Array(bytes)
		this.u16 = new Uint16Array(this.bytes.buffer)
		this.u32 = new Uint32Array(this.bytes.buffer)
		this.u64 = new BigUint64Array(this.bytes.buffer)
	}
}

/* Events of one drain, as they were copied: valid until the next drain. Iterate for objects; for speed, use the columns. */
export class Events {
	constructor(words, stride, offset, first, length) {
		Object.assign(this, { words, stride, offset, first, length })
	}
	/* Where event i begins in words.u64; its fields are seq, ts, batch, type.., a, b, c, code|crc. */
	at(i) {
		return (this.offset + i) * this.stride / 8
	}
	type(i) {
		return this.words.u16[this.at(i) * 4 + 12]
	}
	/* Field a, b or c (0, 1, 2) as a number: exact up to 2^53. */
	number(i, field) {
		const at = (this.at(i) + 4 + field) * 2
		return this.words.u32[at] + this.words.u32[at + 1] * 4294967296
	}
	get(i) {
		const at = this.at(i)
		const { bytes, u32, u64 } = this.words
		return { index: u64[at] - 1n, timeNs: u64[at + 1], batch: u64[at + 2], type: this.type(i), version: bytes[at * 8 + 26],
			stage: bytes[at * 8 + 27], gauge: u32[at * 2 + 7], a: u64[at + 4], b: u64[at + 5], c: u64[at + 6],
			code: u32[at * 2 + 14] }
	}
	*[Symbol.iterator]() {
		for (let i = 0; i < this.length; i++)
			yield this.get(i)
	}
}

/* One gauge, read whole, with the names that belong to it. */
export class Batch {
	constructor(fields) {
		Object.assign(this, fields)
	}
	get stateName() {
		return stateName(STATES, this.state)
	}
	/* Committed of total, in hundredths; 100 is said of a completed batch and of no other. */
	get percentage() {
		if (this.state === COMPLETED)
			return 100
		const [done, total] = this.itemsTotal ? [this.committed, this.itemsTotal] : [this.bytesDone, this.bytesTotal]
		const points = total ? done * 10000n / total : 0n
		return Number(points < 9999n ? points : 9999n) / 100
	}
	get message() {
		const next = (this.itemsDone + 1n) & MASK
		if (!this.itemsTotal)
			return `Processing batch item ${next}`
		return `Processing batch item ${this.itemsDone < this.itemsTotal ? next : this.itemsTotal} of ${this.itemsTotal}`
	}
	/* For toJson: a progress message for a web page, and behind it the exact numbers. */
	view(user) {
		const stats = new Map([['sourcesAnalyzed', this.itemsDone], ['currentOperation', this.stageName],
			['currentArticle', this.itemsDone], ['totalArticles', this.itemsTotal], ...this.live])
		return { kind: 'batch', userId: user, stage: this.stageName, percentage: this.percentage, message: this.message,
			details: { liveStats: stats }, batch: hex16(this.id), label: this.label, state: this.stateName, attempt: this.attempt,
			queued_ms: this.queuedMs, started_ms: this.startedMs, updated_ms: this.updatedMs, bytes_total: this.bytesTotal,
			bytes_done: this.bytesDone, items_total: this.itemsTotal, committed: this.committed, rejected: this.rejected,
			failed: this.failed, skipped: this.skipped, duplicates: this.duplicates, retrying: this.retrying,
			rate_milli: this.rateMilli, eta_ms: this.etaMs, code: codeName(this.code), commit_lsn: this.commitLsn,
			as_of: this.asOf, user_tag: this.userTag, gauge: this.gauge }
	}
	/* The batch as `event` leaves it; unchanged if it knows of the event already, or if the event is another's. */
	after(event) {
		if (event.index < this.asOf || event.batch !== this.id)
			return this
		const now = new Batch(this)
		now.asOf = event.index + 1n
		now.state = STATE_AFTER[event.type] ?? this.state
		if (event.type === 1)
			[now.bytesTotal, now.itemsTotal] = [event.a, event.b]
		else if (event.type === 3 || event.type === 5)
			[now.bytesDone, now.committed] = [event.a, event.b]
		else if (event.type === 4)
			now.attempt = Number(event.a & 0xffffffffn)
		else if (event.type === 6 || event.type === 23)
			now.code = event.code
		return now
	}
}

/* One ring file. owners: uids beside root and ours whose rings are believed (a daemon's). */
export class Ring {
	#fd
	#inode
	#hot
	#word = new Words(16)
	#slots
	#pieces
	#gauge = new Words(COPY_BYTES)
	#seen = new Map()
	#beat

	constructor(file, { owners = [], checkCrc = true } = {}) {
		if (os.endianness() !== 'LE')
			throw new RingError('platform', 'rings are read on little-endian machines only')
		this.path = String(file)
		const [fd, st] = openFile(this.path, owners)
		this.#fd = fd
		try {
			this.header = parseHeader(this.#read(new Uint8Array(PAGE), PAGE, 0), st.size)
			this.#inode = `${st.dev}:${st.ino}`
			this.#hot = this.header.sections[HOT].offset
			this.#slots = this.header.sections[EVENTS]
			this.#pieces = new Words(Math.min(this.#slots.count, EVENTS_AT_ONCE) * this.#slots.size)
			this.checkCrc = checkCrc && Boolean(this.header.compat & COMPAT_CRC)
			this.#beat = [this.#load(this.#hot + 0x88), process.hrtime.bigint()]
			this.lost = 0n
			this.stages = this.#stageNames()
		} catch (error) {
			this.close()
			throw error
		}
	}
	close() {
		if (this.#fd !== undefined)
			fs.closeSync(this.#fd)
		this.#fd = undefined
	}
	/* Whose batches these are: the owner in the file's name, else the owner's uid. */
	get user() {
		const named = /^([^]+)\.[0-9]+\.ring$/.exec(path.basename(this.path))
		return named ? unescape(named[1]) : String(this.header.ownerUid)
	}
	get gaugeCount() {
		return this.header.sections[GAUGES].count
	}
	/* Events published so far. */
	get tail() {
		return this.#load(this.#hot + 8)
	}

	#read(into, length, at, from = 0) {
		let got = 0
		try {
			while (got < length) {
				const n = fs.readSync(this.#fd, into, from + got, length - got, at + got)
				if (n === 0)
					break
				got += n
			}
		} catch (error) {
			throw new RingError('open', `${this.path}: ${error.message}`)
		}
		if (got < length)
			throw new RingError('short', `${this.path}: the file was cut`)
		return into
	}
	#load(at) {
		this.#read(this.#word.bytes, 8, at)
		return this.#word.u64[0]
	}

	// ---- events
	/* The oldest event that can still be read. */
	oldest() {
		const n = BigInt(this.#slots.count)
		const [claim, tail] = [this.#load(this.#hot), this.tail]
		let index = claim > n ? claim - n : 0n
		const end = tail < index + n ? tail : index + n
		while (index < end && !this.#load(this.#slots.offset + Number(index & (n - 1n)) * this.#slots.size))
			index++
		return index
	}
	/* { events, cursor, lost }: what was published from event `cursor` on, at most `limit`, and where to go on. Tail, then
	 * the slots, then the claim: what the writer may have touched meanwhile is thrown away. */
	drain(cursor, limit = EVENTS_AT_ONCE) {
		const n = BigInt(this.#slots.count)
		const tail = this.tail
		if (tail === cursor)
			return { events: new Events(this.#pieces, this.#slots.size, 0, cursor, 0), cursor, lost: 0n }
		if (tail < cursor || tail - cursor >= FAR)
			throw new RingError('corrupt', "the ring's tail went back")
		const start = tail - cursor > n ? tail - n : cursor
		const most = BigInt(Math.min(limit, EVENTS_AT_ONCE))
		const count = Number(tail - start < most ? tail - start : most)
		this.#copy(Number(start & (n - 1n)), count)
		const claim = this.#load(this.#hot)
		if (claim < tail || claim - tail >= FAR)
			throw new RingError('corrupt', "the ring's claim is behind its tail")
		const first = claim - start > n ? claim - n : start
		const drop = Number(first - start < BigInt(count) ? first - start : BigInt(count))
		const events = new Events(this.#pieces, this.#slots.size, drop, first, count - drop)
		this.#check(events)
		this.lost += first - cursor
		return { events, cursor: first + BigInt(count - drop), lost: first - cursor }
	}
	#copy(from, count) {
		const { offset, size, count: n } = this.#slots
		const head = Math.min(count, n - from)
		this.#read(this.#pieces.bytes, head * size, offset + from * size)
		if (head < count)
			this.#read(this.#pieces.bytes, (count - head) * size, offset, head * size)
	}
	#check(events) {
		const { u32, bytes } = this.#pieces
		const seq = events.first + 1n
		// In halves: a BigInt for each would cost more than all the rest.
		let low = Number(seq & 0xffffffffn)
		let high = Number(seq >> 32n)
		for (let i = 0; i < events.length; i++) {
			const at = events.at(i) * 2
			if (u32[at] !== low || u32[at + 1] !== high)
				throw new RingError('corrupt', 'an event is not where it must be')
			if (this.checkCrc && crc32(bytes.subarray(at * 4, at * 4 + 60)) !== u32[at + 15])
				throw new RingError('corrupt', 'an event is damaged')
			low = (low + 1) >>> 0
			high += low === 0 ? 1 : 0
		}
	}

	// ---- batches
	/* The batch in gauge g, null if it is free. If the writer is always faster: what was read last, or null. */
	gauge(g) {
		const { offset, size } = this.header.sections[GAUGES]
		const at = offset + g * size
		for (let tries = 0; tries < TRIES; tries++) {
			const seq = this.#load(at)
			this.#read(this.#gauge.bytes, COPY_BYTES, at + (seq & 1n ? 0x140 : 0x40))
			if (this.#load(at) === seq)
				return this.#remember(g, this.#gauge)
		}
		return this.#seen.get(g) ?? null
	}
	#remember(g, words) {
		if (!words.u32[2]) {
			this.#seen.delete(g)
			return null
		}
		const batch = this.#batch(g, words)
		this.#seen.set(g, batch)
		return batch
	}
	/* Every batch that has a gauge, each read whole. */
	*batches() {
		const { offset, size, count } = this.header.sections[GAUGES]
		const some = Math.max(1, Math.floor(1048576 / size))
		const before = new Words(some * size)
		const copies = new Words(some * size)
		const after = new Words(some * size)
		const one = new Words(COPY_BYTES)
		for (let base = 0; base < count; base += some) {
			// Three reads for many gauges: their numbers, all copies, their numbers again.
			const n = Math.min(some, count - base)
			for (const words of [before, copies, after])
				this.#read(words.bytes, n * size, offset + base * size)
			for (let i = 0; i < n; i++) {
				const at = i * size
				let batch
				if (before.u64[at / 8] !== after.u64[at / 8]) {
					batch = this.gauge(base + i)
				} else {
					const copy = at + (before.u64[at / 8] & 1n ? 0x140 : 0x40)
					one.bytes.set(copies.bytes.subarray(copy, copy + COPY_BYTES))
					batch = this.#remember(base + i, one)
				}
				if (batch)
					yield batch
			}
		}
	}
	#batch(g, { u32, u64 }) {
		const [label, names] = this.#names(g, u64[0])
		const stage = u32[32]
		return new Batch({
			gauge: g, id: u64[0], state: u32[2], attempt: u32[3], queuedMs: u64[2], startedMs: u64[3], updatedMs: u64[4],
			bytesTotal: u64[5], bytesDone: u64[6], itemsTotal: u64[7], committed: u64[8], rejected: u64[9], failed: u64[10],
			skipped: u64[11], duplicates: u64[12], retrying: u64[13], rateMilli: u64[14],
			etaMs: u64[15] === MASK ? null : u64[15], stage, code: u32[33], commitLsn: u64[17], asOf: u64[18], userTag: u64[19],
			live: new Map(names.map((name, i) => [name, u64[20 + i]]).filter(([name]) => name)), label,
			stageName: this.stageName(stage) || (STATES[u32[2]] ?? ''),
			itemsDone: (u64[8] + u64[9] + u64[10] + u64[11]) & MASK,
		})
	}
	/* Label and names of the live counters; they are the batch's only if they say so before and after. */
	#names(g, batch) {
		const section = this.header.sections[NAMES]
		if (!batch || !section || g + 1 >= section.count)
			return ['', []]
		const at = section.offset + (g + 1) * section.size
		if (this.#load(at) !== batch)
			return ['', []]
		const raw = this.#read(new Uint8Array(256), 256, at)
		if (this.#load(at) !== batch)
			return ['', []]
		return [text(raw.subarray(8, 64)), Array.from({ length: 8 }, (_, i) => text(raw.subarray(64 + 24 * i, 88 + 24 * i)))]
	}
	#stageNames() {
		const section = this.header.sections[NAMES]
		if (!section || !section.count)
			return Array(8).fill('')
		const raw = this.#read(new Uint8Array(256), 256, section.offset)
		return Array.from({ length: 8 }, (_, i) => text(raw.subarray(32 * i, 32 * i + 32)))
	}
	stageName(stage) {
		return this.stages[stage] ?? ''
	}

	// ---- the writer
	/* The words of the whole engine, each by itself. */
	hot() {
		const w = new Words(HOT_BYTES)
		this.#read(w.bytes, HOT_BYTES, this.#hot)
		const q = w.u64
		return { claim: q[0], tail: q[1], coalesced: q[3], hb_mono_ns: q[16], hb_count: q[17],
			real_minus_mono: BigInt.asIntN(64, q[18]), state: w.u32[38], state_reason: w.u32[39], last_batch: q[32],
			commit_lsn: q[33], durable_lsn: q[34], inflight_chunks: q[35], inflight_bytes: q[36], queued_batches: q[37] }
	}
	/* [{ id, name, unit, value }] in the order of the file, added up over the threads. */
	counters() {
		const section = this.header.sections[COUNTERS]
		const sums = new Map()
		for (let i = 0; section && i < section.count; i++) {
			const raw = new Words(64)
			this.#read(raw.bytes, 64, section.offset + i * section.size)
			const off = Number(raw.u64[1])
			const inside = raw.u64[1] % 8n === 0n && off <= section.length - 8
			const value = inside ? this.#load(section.offset + off) : 0n
			const old = sums.get(raw.u32[0])
			if (old)
				old.value = (old.value + value) & MASK
			else
				sums.set(raw.u32[0], { id: raw.u32[0], name: text(raw.bytes.subarray(16)), unit: raw.bytes[5], value })
		}
		return [...sums.values()]
	}
	/* alive, stalled (no heartbeat, the process may be there), dead (no heartbeat and no process), replaced (another file has
	 * the name, or none: open again), ended (closed in good order, or failed: hot().state). */
	life() {
		const { state, hb_count: count, hb_mono_ns: beat } = this.hot()
		if (state === 4 || state === 5)
			return 'ended'
		if (state === 6 || inodeOf(this.path) !== this.#inode)
			return 'replaced'
		const h = this.header
		if (!sameBoot(h.bootId))
			return 'dead'
		const now = process.hrtime.bigint()
		if (count !== this.#beat[0])
			this.#beat = [count, now]
		const here = pidNamespace() === h.pidns
		const patience = 4n * BigInt(h.hbPeriodMs) * 1000000n
		// Its clock reads like ours unless namespaces differ, and then only progress that we saw counts.
		if (now - this.#beat[1] <= patience && (!here || now - beat <= patience))
			return 'alive'
		return here && !processLives(h.pid, h.startTicks) ? 'dead' : 'stalled'
	}

	/* Yields ['batch', Batch] for every batch now, and after each of its events; ['event', event]; ['lost', n], after which
	 * all batches come again; ['life', word] when it changes. Ends with the writer, or when nothing came for `timeout`
	 * seconds, or when `signal` is aborted. Polls: every millisecond at first, every 10 ms in the end. */
	async *follow({ timeout = Infinity, signal } = {}) {
		const follower = new Follower(this)
		let came = Date.now()
		let pause = 1
		while (!signal?.aborted) {
			const items = follower.step()
			yield* items
			if (follower.over)
				return
			if (items.length) {
				came = Date.now()
				pause = 1
				continue
			}
			if (Date.now() - came > timeout * 1000)
				return
			await sleep(pause)
			pause = Math.min(pause * 1.5, 10)
		}
	}
}

/* The state of all batches, kept by gauges and events together. It is right at once, and right again after a loss: first the
 * tail, then all gauges, then the events from that tail on, of which a gauge ignores those it contains. */
export class Follower {
	#looked = 0n
	#fresh = true
	constructor(ring) {
		this.ring = ring
		this.cursor = ring.tail
		this.batches = new Map()
		this.life = 'alive'
		this.over = false
	}
	/* What is new, as in Ring.follow, without waiting. Sets over when nothing will come any more. */
	step(limit = 4096) {
		const out = []
		const { events, cursor, lost } = this.ring.drain(this.cursor, limit)
		const fresh = [...events].filter((event) => EVENT_TYPES[event.type])
		this.cursor = cursor
		if (lost)
			out.push(['lost', lost])
		if (lost || this.#fresh) {
			this.#fresh = false
			this.batches = new Map()
			for (const batch of this.ring.batches()) {
				this.batches.set(batch.gauge, batch)
				out.push(['batch', batch])
			}
		}
		const touched = new Set()
		for (const event of fresh) {
			out.push(['event', event])
			const batch = this.batches.get(event.gauge)
			if (batch)
				this.batches.set(event.gauge, batch.after(event))
			if (event.gauge < this.ring.gaugeCount)
				touched.add(event.gauge)
		}
		for (const g of touched) {
			const batch = this.ring.gauge(g)
			if (!batch)
				continue
			this.batches.set(g, batch)
			out.push(['batch', batch])
		}
		if (!events.length)
			this.#look(out)
		return out
	}
	#look(out) {
		const now = process.hrtime.bigint()
		if (now - this.#looked < 200000000n)
			return
		this.#looked = now
		const life = this.ring.life()
		// What it published last may have come between our drain and its end.
		this.over = ['ended', 'replaced', 'dead'].includes(life) && this.ring.tail === this.cursor
		if (life !== this.life && (this.over || life === 'alive' || life === 'stalled')) {
			this.life = life
			out.push(['life', life])
		}
	}
}

function slurp(file) {
	try {
		return fs.readFileSync(file, 'latin1')
	} catch (error) {
		return error.code === 'ENOENT' || error.code === 'ESRCH' ? '' : undefined
	}
}

function sameBoot(bootId) {
	const here = slurp('/proc/sys/kernel/random/boot_id')?.trim().replaceAll('-', '')
	return !here || /^0+$/.test(bootId) || here === bootId
}

function pidNamespace() {
	try {
		return fs.statSync('/proc/self/ns/pid', { bigint: true }).ino
	} catch {
		return 0n
	}
}

function inodeOf(file) {
	try {
		const st = fs.lstatSync(file, { bigint: true })
		return `${st.dev}:${st.ino}`
	} catch {
		return ''
	}
}

/* A zombie does not live, nor does another process that got the number. */
function processLives(pid, startTicks) {
	const said = slurp(`/proc/${pid}/stat`)
	if (said === undefined)
		return true
	const fields = said.slice(said.lastIndexOf(')') + 1).trim().split(/\s+/)
	return fields.length >= 20 && !'ZX'.includes(fields[0]) && BigInt(fields[19]) === startTicks
}

/* The owner's name out of a file's name, where odd bytes are %XX. */
function unescape(name) {
	const raw = Buffer.from(name).toString('latin1').replace(/%([0-9A-Fa-f]{2})/g, (_, x) => String.fromCharCode(parseInt(x, 16)))
	return utf8.decode(Buffer.from(raw, 'latin1'))
}

// ---- where rings are
/* Where an engine may have put its ring, in its order of preference. Only root's and our own are believed. */
export function rundirs() {
	const { PENSTOCK_RUN: given, XDG_RUNTIME_DIR: session } = process.env
	const wanted = given ? [given] :
		['/run/penstock', ...(session ? [`${session}/penstock`] : []), `/dev/shm/penstock-${process.geteuid()}`]
	return [...new Set(wanted)].filter((dir) => {
		const st = fs.lstatSync(dir, { throwIfNoEntry: false })
		return st?.isDirectory() && [0, process.geteuid()].includes(st.uid)
	})
}

function ringsIn(dir, deep) {
	let names = []
	try {
		names = fs.readdirSync(dir).sort()
	} catch {
		return []
	}
	return names.flatMap((name) => {
		if (name.endsWith('.ring') && !name.startsWith('.'))
			return [path.join(dir, name)]
		return deep && !name.startsWith('.') ? ringsIn(path.join(dir, name), false) : []
	})
}

/* A store's id: the value "meta" of its database penstock.meta, found by LMDB's format 1 alone. null: not found. */
export function storeId(store) {
	let fd
	try {
		fd = fs.openSync(path.join(store, 'data.mdb'), 'r')
		for (let tries = 0; tries < 8; tries++) {
			// Nobody holds the pages for us; the id never changes, so any page that makes sense will do.
			try {
				return readStoreId(fd)
			} catch (error) {
				if (!(error instanceof RangeError))
					throw error
			}
		}
	} catch (error) {
		if (error.code === undefined)
			throw error
	} finally {
		if (fd !== undefined)
			fs.closeSync(fd)
	}
	return null
}

function pageAt(fd, size, number) {
	const page = Buffer.alloc(size)
	fs.readSync(fd, page, 0, size, number * size)
	return page
}

function readStoreId(fd) {
	const size = pageAt(fd, PAGE, 0).readUInt32LE(40)
	if (size < 512 || size > 65536)
		throw new RangeError('page size')
	const metas = [0, 1].map((n) => pageAt(fd, size, n)).filter((m) => m.readUInt32LE(16) === 0xbeefc0de && m.readUInt32LE(20) === 1)
	metas.sort((a, b) => (a.readBigUInt64LE(144) < b.readBigUInt64LE(144) ? 1 : -1))
	if (!metas.length)
		throw new RangeError('no meta page')
	const sub = findKey(fd, size, metas[0].readBigUInt64LE(128), 'penstock.meta')
	const meta = findKey(fd, size, sub.readBigUInt64LE(40), 'meta')
	if (meta.readUInt16LE(4) !== 1)
		throw new RangeError('no meta value')
	return meta.readBigUInt64LE(16)
}

/* The value of a key in an LMDB tree, for values that lie in their page. */
function findKey(fd, size, number, wanted) {
	for (let depth = 0; depth < 32 && number < 1n << 36n; depth++) {
		const page = pageAt(fd, size, Number(number))
		const flags = page.readUInt16LE(10)
		const keys = (page.readUInt16LE(12) - 16) / 2
		let below
		for (let i = 0; i < keys; i++) {
			const at = page.readUInt16LE(16 + 2 * i)
			const [lo, hi, more, keySize] = [0, 2, 4, 6].map((k) => page.readUInt16LE(at + k))
			const key = page.toString('latin1', at + 8, at + 8 + keySize)
			if (flags & 1 && (i === 0 || key <= wanted))
				below = BigInt(lo) | BigInt(hi) << 16n | BigInt(more) << 32n
			else if (flags & 2 && key === wanted)
				return page.subarray(at + 8 + keySize, at + 8 + keySize + lo + hi * 65536)
		}
		if (below === undefined)
			break
		number = below
	}
	throw new RangeError('no such key')
}

/* Paths of rings: `where` itself, those of a store's directory, of a directory of rings, or (undefined) all that can be seen. */
export function find(where) {
	if (where === undefined)
		return rundirs().flatMap((dir) => ringsIn(dir, true))
	if (!fs.statSync(where, { throwIfNoEntry: false })?.isDirectory())
		return [where]
	if (!fs.existsSync(path.join(where, 'data.mdb')))
		return ringsIn(where, true)
	const id = storeId(where)
	if (id === null)
		throw new RingError('open', `${where}: this store's id cannot be read`)
	return rundirs().flatMap((dir) => ringsIn(path.join(dir, hex16(id)), false))
}

// ---- the command
/* JSON with whole 64-bit numbers, and with a Map's keys in the Map's order. */
export function toJson(value) {
	if (typeof value === 'bigint')
		return value.toString()
	if (value === null || typeof value !== 'object')
		return JSON.stringify(value)
	if (Array.isArray(value))
		return `[${value.map(toJson).join(',')}]`
	const pairs = value instanceof Map ? [...value] : Object.entries(value)
	return `{${pairs.map(([k, v]) => `${JSON.stringify(k)}:${toJson(v)}`).join(',')}}`
}

/* The ring for toJson. still: only what is in the file, so that one file always gives one text. */
export function ringView(ring, still = false) {
	const h = ring.header
	const hot = ring.hot()
	return { kind: 'ring', ...(still ? {} : { path: ring.path, life: ring.life() }), abi: `${h.abiMajor}.${h.abiMinor}`,
		compat: h.compat, epoch: h.epoch, instance: h.instance, boot_id: h.bootId, writer_pid: h.pid,
		writer_start_ticks: h.startTicks, pidns: h.pidns, writer_uid: h.writerUid, owner_uid: h.ownerUid,
		created_mono_ns: h.createdMonoNs, created_real_ns: h.createdRealNs, hb_period_ms: h.hbPeriodMs,
		wake_period_us: h.wakePeriodUs, event_slots: h.sections[EVENTS].count, gauge_slots: h.sections[GAUGES].count, ...hot,
		state: stateName(WRITER_STATES, hot.state), last_batch: hex16(hot.last_batch), stages: ring.stages }
}

export function eventView(ring, e) {
	return { kind: 'event', index: e.index, time_ns: e.timeNs, batch: hex16(e.batch), type: EVENT_TYPES[e.type],
		stage: ring.stageName(e.stage), gauge: e.gauge, a: e.a, b: e.b, sequence: e.c,
		code: e.type === ERROR_DOMAIN ? e.code : codeName(e.code) }
}

function itemView(ring, kind, value) {
	if (kind === 'batch')
		return value.view(ring.user)
	if (kind === 'event')
		return eventView(ring, value)
	return { kind, path: ring.path, [kind === 'lost' ? 'events' : 'life']: value }
}

/* All that is in the file, oldest event first. */
export function* dump(ring) {
	yield ringView(ring, true)
	for (const counter of ring.counters())
		yield { kind: 'counter', ...counter }
	for (const batch of ring.batches())
		yield batch.view(ring.user)
	const tail = ring.tail
	for (let at = ring.oldest(); at < tail;) {
		const left = tail - at
		const { events, cursor, lost } = ring.drain(at, left < EVENTS_AT_ONCE ? Number(left) : EVENTS_AT_ONCE)
		at = cursor
		if (lost)
			yield { kind: 'lost', events: lost }
		for (const event of events)
			if (EVENT_TYPES[event.type])
				yield eventView(ring, event)
	}
}

function line(view, asJson) {
	if (asJson)
		return toJson(view)
	if (view.kind === 'batch')
		return `${view.batch}  ${view.userId}  ${view.state}  ${view.stage}  ${view.percentage} %  ${view.message}, ` +
			`${view.rate_milli / 1000n}/s`
	return Object.values(view).join('  ')
}

function put(view, asJson) {
	const said = line(view, asJson)
	// A name from a file may hold control characters; a terminal must not get them.
	let left = Buffer.from(`${asJson ? said : said.replace(/\p{C}/gu, '?')}\n`)
	while (left.length) {
		try {
			left = left.subarray(fs.writeSync(1, left))
		} catch (error) {
			if (error.code !== 'EAGAIN')
				throw error
			// A pipe that its other end made non-blocking is full.
			Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
		}
	}
}

function complain(why) {
	fs.writeSync(2, `penstock_progress: ${why}\n`)
}

/* Starts to follow the files that were not there when we looked last. 1 if one is refused. */
function openNew(where, followers, known, asJson) {
	let bad = 0
	for (const file of find(where)) {
		const inode = inodeOf(file)
		if (known.get(file) === inode || followers.has(file))
			continue
		known.set(file, inode)
		try {
			// Before anything is said: who reads us may then count on the events that follow.
			followers.set(file, new Follower(new Ring(file)))
			put(ringView(followers.get(file).ring), asJson)
		} catch (error) {
			if (!(error instanceof RingError))
				throw error
			complain(error.message)
			bad = 1
		}
	}
	return bad
}

/* Every ring there is and every one that comes, until all their writers are gone. Exit status. */
async function followAll(where, timeout, asJson) {
	const [followers, known] = [new Map(), new Map()]
	let [bad, looked, came, pause] = [0, -Infinity, Date.now(), 1]
	for (;;) {
		if (Date.now() - looked > 1000) {
			looked = Date.now()
			bad |= openNew(where, followers, known, asJson)
		}
		let busy = false
		for (const [file, follower] of followers) {
			const items = follower.step()
			for (const [kind, value] of items)
				put(itemView(follower.ring, kind, value), asJson)
			busy ||= items.length > 0
			if (follower.over) {
				bad |= follower.life === 'dead' ? 1 : 0
				follower.ring.close()
				followers.delete(file)
			}
		}
		if (busy)
			came = Date.now()
		if (timeout === undefined ? !followers.size : Date.now() - came > timeout * 1000)
			return bad
		pause = busy ? 1 : Math.min(pause * 1.5, 10)
		await sleep(pause)
	}
}

function show(where, mode, asJson) {
	const files = find(where)
	let bad = 0
	for (const file of files) {
		try {
			const ring = new Ring(file)
			if (mode === '--dump') {
				for (const view of dump(ring))
					put(view, asJson)
			} else {
				put(ringView(ring), asJson)
				for (const batch of ring.batches())
					put(batch.view(ring.user), asJson)
			}
			ring.close()
		} catch (error) {
			if (!(error instanceof RingError))
				throw error
			complain(`${file}: ${error.message}`)
			bad = 3
		}
	}
	if (!files.length)
		complain('no engine runs there')
	return bad
}

const USAGE = 'usage: penstock_progress.mjs [--json] [--snapshot | --follow | --dump] [--timeout S] [RING | STORE | RUNDIR]'

async function main(args) {
	let [mode, asJson, timeout, where] = ['--snapshot', false, undefined, undefined]
	while (args.length) {
		const arg = args.shift()
		if (arg === '--json')
			asJson = true
		else if (['--snapshot', '--follow', '--dump'].includes(arg))
			mode = arg
		else if (arg === '--timeout' && args.length && Number.isFinite(Number(args[0])))
			timeout = Number(args.shift())
		else if (!arg.startsWith('-') && where === undefined)
			where = arg
		else
			return complain(USAGE) ?? 2
	}
	try {
		return mode === '--follow' ? await followAll(where, timeout, asJson) : show(where, mode, asJson)
	} catch (error) {
		if (error.code === 'EPIPE')
			return 0
		if (!(error instanceof RingError))
			throw error
		return complain(error.message) ?? 3
	}
}

if (process.argv[1] && fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url))
	process.exitCode = await main(process.argv.slice(2))
