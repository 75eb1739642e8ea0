#!/usr/bin/env node
/*
 * probe - the Node reader, driven line by line by run.py
 *
 *	probe.mjs open           for each path on stdin: "ok N" (N lines dumped) or "refused REASON"
 *	probe.mjs soak PATH      follows a ring of ring_cast from its start; says "ready", and counts at the end
 *	probe.mjs life PATH      for each line on stdin: the writer's life
 *	probe.mjs late PATH      joins at once, follows by gauges and events to the end, and says what it then believes
 *	probe.mjs id STORE       the store's id, and the rings that belong to it
 */
import readline from 'node:readline'
import { Follower, Ring, RingError, dump, find, storeId, toJson } from '../../tools/readers/penstock_progress.mjs'

const ODD = 0x9e3779b97f4a7c15n
const MASK = (1n << 64n) - 1n
const [what, file] = process.argv.slice(2)
const say = (text) => process.stdout.write(`${text}\n`)

function bad(why) {
	say(`corrupt ${why}`)
	process.exit(1)
}

/* All that an event or a gauge of ring_cast says follows from one number. */
function checkEvent(e) {
	const x = e.index
	if (e.a !== x + 1n || e.b !== x + 1n || e.c !== (x * ODD & MASK) || BigInt(e.code) !== (~x & 0xffffffffn) || e.type !== 3)
		bad(`event ${x}`)
}

function checkBatch(b) {
	const n = b.bytesDone
	if (b.bytesTotal !== (n * ODD & MASK) || b.committed !== n || b.rejected !== (~n & MASK) || b.etaMs !== (n ^ ODD) ||
		b.userTag !== (n + ODD & MASK) || b.live.get('same') !== n || b.live.get('not') !== (~n & MASK) || b.label !== 'torn?' ||
		b.asOf !== n || BigInt(b.attempt) !== (n & 0xffffffffn))
		bad(`gauge ${b.gauge} ${toJson(b.view('x'))}`)
}

async function open() {
	for await (const path of readline.createInterface({ input: process.stdin })) {
		try {
			const ring = new Ring(path)
			try {
				say(`ok ${[...dump(ring)].map(toJson).length}`)
			} catch (error) {
				if (!(error instanceof RingError))
					throw error
				say(`ok ${error.reason}`)
			}
			ring.close()
		} catch (error) {
			if (!(error instanceof RingError))
				throw error
			say(`refused ${error.reason}`)
		}
	}
}

function soak() {
	const ring = new Ring(file)
	let [cursor, seen, gauges] = [0n, 0, 0]
	say('ready')
	for (let spins = 0; ; spins++) {
		const { events, cursor: next } = ring.drain(cursor)
		cursor = next
		for (const event of events)
			checkEvent(event)
		seen += events.length
		for (const batch of spins % 2 ? ring.batches() : [ring.gauge(0)]) {
			if (!batch)
				continue // the writer was always faster
			checkBatch(batch)
			gauges++
		}
		if (ring.hot().state === 4 && ring.tail === cursor)
			break
	}
	say(toJson({ seen, lost: ring.lost, gauges }))
}

async function life() {
	const ring = new Ring(file)
	say('ready')
	for await (const _ of readline.createInterface({ input: process.stdin }))
		say(ring.life())
}

/* Its gauges are looked at all together or not at all, so that events must do the rest. */
class Late extends Ring {
	gauge(g) {
		return this.all ? super.gauge(g) : null
	}
	*batches() {
		this.all = true
		yield* super.batches()
		this.all = false
	}
}

async function late() {
	const follower = new Follower(new Late(file))
	while (!follower.over) {
		follower.step()
		await new Promise((resolve) => setTimeout(resolve, 1))
	}
	say(toJson(Object.fromEntries([...follower.batches.values()].map((b) => [`b${b.id}`, [b.bytesDone, b.committed, b.asOf]]))))
}

function id() {
	say(storeId(file))
	say(toJson(find(file)))
}

await { open, soak, life, late, id }[what]()
