/* SPDX-License-Identifier: MIT */
/*
 * cast - writes a progress ring: a shared file that any process may map and none can disturb
 *
 * Publishing n events at index t, and why a reader accepts nothing but whole events:
 *
 *   claim = t + n      slots t .. t + n - 1 are about to change: what they held, t - N and up, is gone
 *   the slots
 *   tail = t + n       they are there
 *
 * A reader loads tail, copies slots below it, loads claim, and keeps event i if i + N >= claim. Two things can
 * spoil a copy, and one pair of orders rules out each:
 *
 *   too old   a word from before event i. Ruled out by cast.publish: tail > i was stored after all words of it.
 *   too new   a word of event i + N, or a later one in that slot. It was stored with release, after claim was
 *             raised to i + N + 1 at least; it was loaded with acquire, before claim was. So that load returns
 *             i + N + 1 or more, and the reader drops the event. This is cast.reuse.
 *
 * A gauge is ring/gauge.c's flip-latch on a shared page, with the same two arguments (cast.flip, cast.refill).
 * As there, orders are on the words instead of in fences: the race checker sees them, and on x86-64 they cost
 * nothing.
 *
 * A writer that dies anywhere in here leaves a tail, and gauges, that stay readable; nothing spins on anything.
 */
#include "ring/cast.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ring/assert.h"
#include "ring/base.h"
#include "ring/cast_private.h"

#define WAKE_SHARE 50 /* wakes get one of so many parts of a CPU */

/* Race tests break the protocol one step at a time and expect to be told. */
#ifdef PEN_PLANT_CAST_ORDER
#define ORDER_STORE __ATOMIC_RELAXED
#else
#define ORDER_STORE __ATOMIC_RELEASE
#endif
#ifdef PEN_PLANT_CAST_CLAIM
#define CLAIMED(tail, n) ((void)(n), (tail))
#else
#define CLAIMED(tail, n) ((tail) + (n))
#endif
#ifdef PEN_PLANT_CAST_FLIP
#define COPY_TO_FILL(seq) ((seq)&1)
#else
#define COPY_TO_FILL(seq) (((seq) + 1) & 1)
#endif

static void store_release(pen_ring_word *at, uint64_t value)
{
	/* PAIR(cast.publish), PAIR(cast.claim), PAIR(cast.flip), PAIR(cast.names): the callers say which. */
	__atomic_store_n(at, value, ORDER_STORE);
}

/*
 * PAIR(cast.reuse), PAIR(cast.refill): each word after the claim, or the flip away from this copy. Without it
 * a reader keeps a mix of two events, or of two sets.
 */
static void store_words(pen_ring_word *to, const void *from, size_t size)
{
	uint64_t words[32];

	pen_assert(size <= sizeof(words));
	memcpy(words, from, size);
	for (size_t i = 0; i < size / 8; i++)
		__atomic_store_n(&to[i], words[i], ORDER_STORE);
}

/* ---- waking --------------------------------------------------------------------------------- */

void pen_cast_wake_now(struct pen_cast *cast)
{
	uint64_t begun = cast->cpu_ns(), now, spent;
	long woken;

	cast->owed = false;
	/*
	 * PAIR(cast.wake): after the tail, so that who sees this number sees those events. Without it a
	 * reader takes the number, misses the events, and sleeps.
	 */
	__atomic_store_n(&cast->hot->wake_seq, ++cast->wake_seq, __ATOMIC_RELEASE);
	PEN_CAST_POINT(wake);
	woken = syscall(SYS_futex, &cast->hot->wake_seq, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
	now = pen_mono_ns(cast->clock);
	spent = cast->cpu_ns() - begun;

	cast->wakes.wakes++;
	cast->wakes.woken += woken > 0 ? (uint64_t)woken : 0;
	cast->wakes.spent_ns += spent;
	cast->wake_allowed_ns = now + spent * (WAKE_SHARE - 1);
	cast->wake_next_ns = pen_max(now + cast->wake_period_ns, cast->wake_allowed_ns);
	cast->wakes.period_ns = cast->wake_next_ns - now;
	cast->wakes.widened += cast->wakes.period_ns > cast->wake_period_ns;
}

/* loud: waits for its share of the CPU only, not for the period. */
static void wake(struct pen_cast *cast, uint64_t now, bool loud)
{
	if (now >= (loud ? cast->wake_allowed_ns : cast->wake_next_ns))
		pen_cast_wake_now(cast);
	else
		cast->owed = true;
}

void pen_cast_idle(struct pen_cast *cast)
{
	if (cast->owed)
		wake(cast, pen_mono_ns(cast->clock), true);
}

uint64_t pen_cast_owes(const struct pen_cast *cast)
{
	uint64_t now;

	if (!cast->owed)
		return UINT64_MAX;
	now = pen_mono_ns(cast->clock);
	return now < cast->wake_allowed_ns ? cast->wake_allowed_ns - now : 0;
}

void pen_cast_wakes(const struct pen_cast *cast, struct pen_cast_wakes *ret)
{
	*ret = cast->wakes;
}

/* ---- events --------------------------------------------------------------------------------- */

/* What somebody waits for: it is told at once. */
static bool is_loud(uint32_t type)
{
	const uint32_t loud = 1u << PEN_RING_EV_COMPLETED | 1u << PEN_RING_EV_FAILED |
			      1u << PEN_RING_EV_CANCELLED | 1u << PEN_RING_EV_WRITER_STATE |
			      1u << PEN_RING_EV_STOPPED | 1u << PEN_RING_EV_INTERRUPTED;

	return type < 32 && (loud >> type & 1);
}

static void store_event(struct pen_cast *cast, uint64_t index, const struct pen_ring_event *event,
			uint64_t now)
{
	struct pen_ring_event e = *event;

	e.seq = index + 1;
	e.rec_ver = 1;
	e.crc = 0;
	if (!e.ts_ns)
		e.ts_ns = now;
	if (cast->crc)
		e.crc = pen_ring_crc32(0, &e, offsetof(struct pen_ring_event, crc));
	store_words((pen_ring_word *)(void *)(cast->events + (index & cast->mask) * sizeof(e)), &e,
		    sizeof(e));
}

/*
 * At most a quarter of the ring at once: a reader that is behind by less than the rest loses nothing to a
 * claim.
 */
static void publish(struct pen_cast *cast, const struct pen_ring_event *events, uint32_t n, uint64_t now)
{
	PEN_CAST_POINT(before_claim);
	/*
	 * PAIR(cast.claim): after the gauges that contain these events, so that who counts one as lost finds
	 * it there. PAIR(cast.reuse): before the words; their own order keeps it there.
	 */
	store_release(&cast->hot->claim, CLAIMED(cast->tail, n));
	PEN_CAST_POINT(claimed);
	for (uint32_t i = 0; i < n; i++) {
		store_event(cast, cast->tail + i, &events[i], now);
		PEN_CAST_POINT(slot);
	}
	cast->tail += n;
	/* PAIR(cast.publish): after the words. Without it a reader copies events that are not there yet. */
	store_release(&cast->hot->tail, cast->tail);
	PEN_CAST_POINT(published);
}

void pen_cast_events(struct pen_cast *cast, const struct pen_ring_event *events, uint32_t n)
{
	uint64_t now = pen_mono_ns(cast->clock);
	uint32_t most = (uint32_t)(cast->mask + 1) / 4;
	bool loud = false;

	for (uint32_t i = 0; i < n; i++)
		loud |= is_loud(events[i].type);
	for (uint32_t done = 0; done < n; done += most)
		publish(cast, events + done, n - done < most ? n - done : most, now);
	if (n)
		wake(cast, now, loud);
}

/* ---- gauges and names ----------------------------------------------------------------------- */

static struct pen_cast_slot *slot_of(struct pen_cast *cast, uint32_t slot)
{
	pen_assert(slot < cast->slot_count && cast->slots[slot].active);
	return &cast->slots[slot];
}

static void store_names(struct pen_cast *cast, uint32_t slot, const struct pen_ring_names *names)
{
	pen_ring_word *at = (pen_ring_word *)(void *)(cast->names + (slot + 1) * sizeof(*names));
	uint64_t words[sizeof(*names) / 8] = { 0 };

	if (names)
		memcpy(words, names, sizeof(words));
	/*
	 * PAIR(cast.names): nobody's while the words change, and the batch's after them. Without it names get
	 * mixed.
	 */
	store_release(at, 0);
	PEN_CAST_POINT(names);
	/* From the back: who sees the first bytes of a name sees all of it. */
	for (size_t i = sizeof(*names) / 8 - 1; i > 0; i--)
		store_words(&at[i], &words[i], 8);
	store_release(at, cast->slots[slot].batch_id);
}

void pen_cast_names(struct pen_cast *cast, uint32_t slot, const struct pen_ring_names *names)
{
	(void)slot_of(cast, slot);
	store_names(cast, slot, names);
}

uint32_t pen_cast_get(struct pen_cast *cast, uint64_t batch_id, const struct pen_ring_names *names)
{
	uint32_t slot = cast->free_first;

	pen_assert(batch_id);
	if (slot != PEN_RING_NONE) {
		cast->free_first = cast->slots[slot].next;
	} else {
		slot = cast->rest_first;
		if (slot == PEN_RING_NONE)
			return slot;
		cast->rest_first = cast->slots[slot].next;
		if (cast->rest_first == PEN_RING_NONE)
			cast->rest_last = PEN_RING_NONE;
	}
	cast->slots[slot].active = true;
	cast->slots[slot].batch_id = batch_id;
	store_names(cast, slot, names);
	return slot;
}

void pen_cast_put(struct pen_cast *cast, uint32_t slot)
{
	struct pen_cast_slot *s = slot_of(cast, slot);

	s->active = false;
	s->next = PEN_RING_NONE;
	if (cast->rest_last == PEN_RING_NONE)
		cast->rest_first = slot;
	else
		cast->slots[cast->rest_last].next = slot;
	cast->rest_last = slot;
}

void pen_cast_gauge(struct pen_cast *cast, uint32_t slot, const struct pen_ring_gauge *gauge, uint32_t ahead)
{
	struct pen_ring_gauge_slot *at =
		(struct pen_ring_gauge_slot *)(void *)(cast->gauges +
						       slot * sizeof(struct pen_ring_gauge_slot));
	struct pen_cast_slot *s = slot_of(cast, slot);
	struct pen_ring_gauge g = *gauge;

	g.as_of = cast->tail + ahead;
	PEN_CAST_POINT(before_gauge);
	/* PAIR(cast.refill): each word after the flip away from this copy, which the last call did. */
	store_words((pen_ring_word *)(void *)&at->copies[COPY_TO_FILL(s->seq)], &g, sizeof(g));
	PEN_CAST_POINT(gauge);
	/* PAIR(cast.flip): after the words. Without it a reader takes words that were not written yet. */
	store_release(&at->seq, ++s->seq);
	PEN_CAST_POINT(flipped);
}

/* ---- hot words ------------------------------------------------------------------------------ */

void pen_cast_beat(struct pen_cast *cast)
{
	uint64_t now = pen_mono_ns(cast->clock);

	if (cast->owed)
		wake(cast, now, false);
	if (now < cast->hb_next_ns)
		return;
	cast->hb_next_ns = now + cast->hb_period_ns / 2;
	pen_cast_store(&cast->hot->hb_mono_ns, now);
	pen_cast_store(&cast->hot->real_minus_mono, pen_real_ms(cast->clock) * PEN_NS_PER_MS - now);
	pen_cast_store(&cast->hot->hb_count, ++cast->hb_count);
}

void pen_cast_state(struct pen_cast *cast, uint32_t state, uint32_t reason)
{
	/* Relaxed: read by themselves; the wake that follows is what orders them for who sleeps. */
	__atomic_store_n(&cast->hot->state_reason, reason, __ATOMIC_RELAXED);
	__atomic_store_n(&cast->hot->state, state, __ATOMIC_RELAXED);
	pen_cast_wake_now(cast);
}

void pen_cast_hot(struct pen_cast *cast, const struct pen_ring_hot *hot)
{
	struct pen_ring_hot *to = cast->hot;

	pen_cast_store(&to->coalesced_total, hot->coalesced_total);
	pen_cast_store(&to->last_batch_id, hot->last_batch_id);
	pen_cast_store(&to->commit_lsn, hot->commit_lsn);
	pen_cast_store(&to->durable_lsn, hot->durable_lsn);
	pen_cast_store(&to->inflight_chunks, hot->inflight_chunks);
	pen_cast_store(&to->inflight_bytes, hot->inflight_bytes);
	pen_cast_store(&to->queued_batches, hot->queued_batches);
}

uint64_t *pen_cast_block(struct pen_cast *cast, uint32_t thread)
{
	pen_assert(thread < cast->threads);
	return (uint64_t *)(void *)(cast->blocks + (size_t)thread * PEN_RING_BLOCK * 8);
}
