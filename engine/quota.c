/* SPDX-License-Identifier: MIT */
/*
 * quota - see quota.h
 *
 * What a slot's two words mean:
 *
 *   sliding     a: cost of all marks
 *   gcra        a: theoretical arrival time, ns; b: and so many L-ths of one
 *   fixed       a: when the window began; b: taken since
 *   concurrent  a: cost of all leases; marks: owner, cost
 */
#include "engine/quota.h"

#include "ring/base.h"

typedef unsigned __int128 u128;

bool pen_quota_rule(struct pen_quota_rule *ret, enum pen_quota_kind kind, uint64_t window_ns, uint64_t limit,
		    uint64_t burst)
{
	if (kind >= PEN_QUOTA_KINDS || window_ns < PEN_QUOTA_WINDOW_MIN || window_ns > PEN_QUOTA_WINDOW_MAX ||
	    !limit || limit > PEN_QUOTA_LIMIT_MAX || (burst > PEN_QUOTA_LIMIT_MAX && burst != UINT64_MAX) ||
	    (kind == PEN_QUOTA_CONCURRENT && limit > PEN_QUOTA_MARKS))
		return false;
	*ret = (struct pen_quota_rule){
		.window_ns = window_ns,
		.limit = limit,
		.burst = burst == UINT64_MAX ? limit - 1 : burst,
		.kind = kind,
	};
	/* W / 999 + 1 parts of a window that are begun in it: no more than PEN_QUOTA_MARKS. */
	if (kind == PEN_QUOTA_SLIDING && limit > PEN_QUOTA_MARKS)
		ret->granule_ns = (window_ns + PEN_QUOTA_MARKS - 2) / (PEN_QUOTA_MARKS - 1);
	return true;
}

/* ---- marks ----------------------------------------------------------------------------------- */

/* A place in a slot's marks, oldest first. */
struct place {
	uint32_t block; /* PEN_CELL_NONE: in the slot */
	uint32_t i;
};

static const struct pen_mark *first_mark(const struct pen_cells *c, const struct pen_slot *s,
					 struct place *at)
{
	*at = (struct place){ 0 };
	if (s->count)
		return &s->mark[0];
	at->block = s->first_block;
	if (!at->block)
		return NULL;
	at->i = c->cell[at->block].block.first;
	return &c->cell[at->block].block.mark[at->i];
}

static const struct pen_mark *next_mark(const struct pen_cells *c, const struct pen_slot *s, struct place *at)
{
	at->i++;
	if (!at->block) {
		if (at->i < s->count)
			return &s->mark[at->i];
		at->block = s->first_block;
	} else {
		const struct pen_block *b = &c->cell[at->block].block;

		if (at->i < (uint32_t)b->first + b->count)
			return &b->mark[at->i];
		at->block = b->next;
	}
	if (!at->block)
		return NULL;
	at->i = c->cell[at->block].block.first;
	return &c->cell[at->block].block.mark[at->i];
}

/* The place's mark, to be changed. */
static struct pen_mark *change_mark(struct pen_cells *c, uint32_t slot, const struct place *at)
{
	pen_cells_touch(c, at->block ? at->block : slot);
	return at->block ? &c->cell[at->block].block.mark[at->i] : &c->cell[slot].slot.mark[at->i];
}

/* The newest mark; the slot has one. */
static struct place last_place(const struct pen_cells *c, const struct pen_slot *s)
{
	const struct pen_block *b = &c->cell[s->last_block].block;

	if (!s->last_block)
		return (struct place){ PEN_CELL_NONE, s->count - 1u };
	return (struct place){ s->last_block, (uint32_t)b->first + b->count - 1 };
}

/* The slot itself was touched before. */
static bool push_mark(struct pen_cells *c, uint32_t slot, uint64_t at, uint64_t cost)
{
	struct pen_slot *s = &c->cell[slot].slot;
	struct pen_block *b;
	uint32_t block = s->last_block;

	if (!block && s->count < PEN_SLOT_MARKS) {
		s->mark[s->count++] = (struct pen_mark){ at, cost };
		s->marks_all++;
		return true;
	}
	if (block && (uint32_t)c->cell[block].block.first + c->cell[block].block.count < PEN_BLOCK_MARKS) {
		pen_cells_touch(c, block);
	} else {
		uint32_t before = block;

		block = pen_cells_take(c);
		if (!block)
			return false;
		if (before) {
			pen_cells_touch(c, before);
			c->cell[before].block.next = block;
		} else {
			s->first_block = block;
		}
		s->last_block = block;
	}
	b = &c->cell[block].block;
	b->mark[b->first + b->count++] = (struct pen_mark){ at, cost };
	s->marks_all++;
	return true;
}

/* Drops marks from the front while they have left the window: at + window <= now. */
static void drop_old(struct pen_cells *c, uint32_t slot, uint64_t window_ns, uint64_t now_ns)
{
	struct pen_slot *s = &c->cell[slot].slot;
	uint32_t gone = 0, blocks = 0, first = s->first_block, last = 0, at = first;
	uint64_t cost = 0, dropped = 0;

	while (gone < s->count && s->mark[gone].at + window_ns <= now_ns)
		cost += s->mark[gone++].cost;
	dropped = gone;
	if (gone == s->count) {
		/* Whole blocks go at once: what lies between is found by reading, and one link is written. */
		while (at) {
			const struct pen_block *b = &c->cell[at].block;
			uint32_t i = 0;

			while (i < b->count && b->mark[b->first + i].at + window_ns <= now_ns)
				cost += b->mark[b->first + i++].cost;
			dropped += i;
			if (i < b->count) {
				if (i) {
					pen_cells_touch(c, at);
					c->cell[at].block.first = (uint16_t)(b->first + i);
					c->cell[at].block.count = (uint16_t)(b->count - i);
				}
				break;
			}
			last = at;
			blocks++;
			at = b->next;
		}
	}
	if (!dropped)
		return;
	pen_cells_touch(c, slot);
	memmove(s->mark, s->mark + gone, (s->count - gone) * sizeof s->mark[0]);
	s->count = (uint16_t)(s->count - gone);
	s->a -= cost;
	s->marks_all -= dropped;
	if (blocks) {
		s->first_block = at;
		if (!at)
			s->last_block = PEN_CELL_NONE;
		pen_cells_give(c, first, last, blocks);
	}
}

static void empty(struct pen_cells *c, uint32_t slot, enum pen_quota_kind kind)
{
	struct pen_slot *s = &c->cell[slot].slot;
	uint32_t first = s->first_block, last = s->last_block, blocks = 0;

	for (uint32_t at = first; at; at = c->cell[at].block.next)
		blocks++;
	pen_cells_touch(c, slot);
	s->first_block = s->last_block = PEN_CELL_NONE;
	s->count = 0;
	s->a = s->b = s->marks_all = s->expire_ns = 0;
	s->algorithm = (uint8_t)kind;
	s->unused = kind == PEN_QUOTA_CONCURRENT; /* its marks are in no order */
	if (first)
		pen_cells_give(c, first, last, blocks);
}

/* ---- looking --------------------------------------------------------------------------------- */

static void look_sliding(const struct pen_cells *c, const struct pen_slot *s,
			 const struct pen_quota_rule *rule, uint64_t now_ns, uint64_t cost,
			 struct pen_quota_verdict *v)
{
	uint64_t live = s->a, left = live;
	const struct pen_mark *m;
	struct place at;

	v->remaining = live < rule->limit ? rule->limit - live : 0;
	if (s->marks_all) {
		at = last_place(c, s);
		m = at.block ? &c->cell[at.block].block.mark[at.i] : &s->mark[at.i];
		v->reset_ns = m->at + rule->window_ns - now_ns;
	}
	/* A limit may have been lowered: nothing is refused that takes nothing. */
	v->refused = cost && cost > v->remaining;
	if (!v->refused || cost > rule->limit)
		return;
	for (m = first_mark(c, s, &at); m; m = next_mark(c, s, &at)) {
		left -= m->cost;
		if (left + cost <= rule->limit) {
			v->retry_ns = m->at + rule->window_ns - now_ns;
			return;
		}
	}
}

static u128 gcra_tat(const struct pen_slot *s, const struct pen_quota_rule *rule)
{
	/* After a change of the limit the remainder may be of another kind: rounded up. */
	return s->b < rule->limit ? (u128)s->a * rule->limit + s->b : ((u128)s->a + 1) * rule->limit;
}

static void look_gcra(const struct pen_slot *s, const struct pen_quota_rule *rule, uint64_t now_ns,
		      uint64_t cost, struct pen_quota_verdict *v)
{
	/* All in L-ths of a nanosecond: the emission interval is the window, exactly. */
	u128 now = (u128)now_ns * rule->limit, tat = gcra_tat(s, rule), tau, inc, next;

	tau = (u128)rule->window_ns * (rule->burst + 1);
	inc = (u128)rule->window_ns * cost;
	tat = tat > now ? tat : now;
	v->limit = rule->burst + 1;
	v->remaining = tat - now < tau ? (uint64_t)((tau - (tat - now)) / rule->window_ns) : 0;
	v->reset_ns = (uint64_t)((tat - now + rule->limit - 1) / rule->limit);
	next = tat + inc;
	v->refused = cost && now + tau < next;
	if (v->refused && inc <= tau)
		v->retry_ns = (uint64_t)((next - tau - now + rule->limit - 1) / rule->limit);
}

void pen_quota_look(const struct pen_cells *c, uint32_t slot, const struct pen_quota_rule *rule,
		    uint64_t now_ns, uint64_t cost, struct pen_quota_verdict *ret)
{
	static const struct pen_slot nothing;
	const struct pen_slot *s = slot ? &c->cell[slot].slot : &nothing;

	if (s->algorithm != rule->kind)
		s = &nothing;
	*ret = (struct pen_quota_verdict){ .limit = rule->limit, .retry_ns = PEN_QUOTA_NEVER };
	switch (rule->kind) {
	case PEN_QUOTA_SLIDING:
		look_sliding(c, s, rule, now_ns, cost, ret);
		break;
	case PEN_QUOTA_GCRA:
		look_gcra(s, rule, now_ns, cost, ret);
		break;
	case PEN_QUOTA_FIXED:
		ret->remaining = s->b < rule->limit ? rule->limit - s->b : 0;
		ret->reset_ns = s->b ? s->a + rule->window_ns - now_ns : 0;
		ret->refused = cost && cost > ret->remaining;
		if (ret->refused && cost <= rule->limit)
			ret->retry_ns = ret->reset_ns;
		break;
	default:
		ret->remaining = s->a < rule->limit ? rule->limit - s->a : 0;
		ret->reset_ns = s->a ? PEN_QUOTA_AGAIN_NS : 0;
		ret->refused = cost && cost > ret->remaining;
		if (ret->refused && cost <= rule->limit)
			ret->retry_ns = PEN_QUOTA_AGAIN_NS;
		break;
	}
	if (!ret->refused)
		ret->retry_ns = 0;
}

/* ---- changing -------------------------------------------------------------------------------- */

void pen_quota_prune(struct pen_cells *c, uint32_t slot, const struct pen_quota_rule *rule, uint64_t now_ns)
{
	struct pen_slot *s = &c->cell[slot].slot;

	if (s->algorithm != rule->kind) {
		empty(c, slot, rule->kind);
		return;
	}
	if (rule->kind == PEN_QUOTA_SLIDING)
		drop_old(c, slot, rule->window_ns, now_ns);
	if (rule->kind == PEN_QUOTA_FIXED && s->b && s->a + rule->window_ns <= now_ns) {
		pen_cells_touch(c, slot);
		s->a = s->b = 0;
	}
}

static bool take_sliding(struct pen_cells *c, uint32_t slot, const struct pen_quota_rule *rule,
			 uint64_t now_ns, uint64_t cost)
{
	struct pen_slot *s = &c->cell[slot].slot;

	s->a += cost;
	s->expire_ns = now_ns + rule->window_ns;
	if (s->marks_all) {
		struct place at = last_place(c, s);
		const struct pen_mark *m = at.block ? &c->cell[at.block].block.mark[at.i] : &s->mark[at.i];
		bool same = rule->granule_ns && m->at / rule->granule_ns == now_ns / rule->granule_ns;

		/* After a change of the limit a log may be full of marks that were each kept. */
		if (m->at == now_ns || same || s->marks_all >= PEN_QUOTA_MARKS) {
			struct pen_mark *to = change_mark(c, slot, &at);

			to->at = now_ns;
			to->cost += cost;
			return true;
		}
	}
	return push_mark(c, slot, now_ns, cost);
}

bool pen_quota_take(struct pen_cells *c, uint32_t slot, const struct pen_quota_rule *rule, uint64_t now_ns,
		    uint64_t cost, uint64_t who)
{
	struct pen_slot *s = &c->cell[slot].slot;
	u128 tat;

	if (!cost)
		return true;
	pen_cells_touch(c, slot);
	s->algorithm = (uint8_t)rule->kind;
	switch (rule->kind) {
	case PEN_QUOTA_SLIDING:
		return take_sliding(c, slot, rule, now_ns, cost);
	case PEN_QUOTA_GCRA:
		tat = gcra_tat(s, rule);
		if (tat < (u128)now_ns * rule->limit)
			tat = (u128)now_ns * rule->limit;
		tat += (u128)rule->window_ns * cost;
		s->a = (uint64_t)(tat / rule->limit);
		s->b = (uint64_t)(tat % rule->limit);
		s->expire_ns = s->a + 1;
		return true;
	case PEN_QUOTA_FIXED:
		if (!s->b)
			s->a = now_ns;
		s->b += cost;
		s->expire_ns = s->a + rule->window_ns;
		return true;
	default:
		s->a += cost;
		s->unused = 1;
		s->expire_ns = UINT64_MAX;
		return push_mark(c, slot, who, cost);
	}
}

static void back_sliding(struct pen_cells *c, uint32_t slot, uint64_t at_ns, uint64_t cost)
{
	struct pen_slot *s = &c->cell[slot].slot;
	const struct pen_mark *m;
	struct place at;

	/* It lies in the first mark that is not older: marks become one at the later time. */
	for (m = first_mark(c, s, &at); m && m->at < at_ns;)
		m = next_mark(c, s, &at);
	if (!m)
		return;
	cost = pen_min(cost, m->cost);
	pen_cells_touch(c, slot);
	s->a -= cost;
	change_mark(c, slot, &at)->cost -= cost;
}

/* Takes the lease's mark out: the newest one takes its place. */
static void drop_lease(struct pen_cells *c, uint32_t slot, struct place at)
{
	struct pen_slot *s = &c->cell[slot].slot;
	struct place last = last_place(c, s);
	struct pen_mark moved = last.block ? c->cell[last.block].block.mark[last.i] : s->mark[last.i];
	struct pen_mark *to;

	pen_cells_touch(c, slot);
	to = change_mark(c, slot, &at);
	s->a -= to->cost;
	s->marks_all--;
	*to = moved;
	if (!last.block) {
		s->count--;
	} else {
		struct pen_block *b = &c->cell[last.block].block;

		pen_cells_touch(c, last.block);
		b->count--;
		if (!b->count) {
			uint32_t before = s->first_block;

			if (before == last.block) {
				s->first_block = s->last_block = PEN_CELL_NONE;
			} else {
				while (c->cell[before].block.next != last.block)
					before = c->cell[before].block.next;
				pen_cells_touch(c, before);
				c->cell[before].block.next = PEN_CELL_NONE;
				s->last_block = before;
			}
			pen_cells_give(c, last.block, last.block, 1);
		}
	}
	if (!s->marks_all)
		s->expire_ns = 0;
}

void pen_quota_back(struct pen_cells *c, uint32_t slot, const struct pen_quota_rule *rule, uint64_t at_ns,
		    uint64_t cost, uint64_t who)
{
	struct pen_slot *s = &c->cell[slot].slot;
	const struct pen_mark *m;
	struct place at;
	u128 tat, less;

	if (s->algorithm != rule->kind || !cost)
		return;
	switch (rule->kind) {
	case PEN_QUOTA_SLIDING:
		back_sliding(c, slot, at_ns, cost);
		break;
	case PEN_QUOTA_GCRA:
		tat = gcra_tat(s, rule);
		less = (u128)rule->window_ns * cost;
		tat = tat > less ? tat - less : 0;
		pen_cells_touch(c, slot);
		s->a = (uint64_t)(tat / rule->limit);
		s->b = (uint64_t)(tat % rule->limit);
		break;
	case PEN_QUOTA_FIXED:
		/* Of an earlier window: gone with it. */
		if (!s->b || at_ns < s->a)
			break;
		pen_cells_touch(c, slot);
		s->b -= pen_min(cost, s->b);
		break;
	default:
		for (m = first_mark(c, s, &at); m; m = next_mark(c, s, &at))
			if (m->at == who && m->cost == cost) {
				drop_lease(c, slot, at);
				break;
			}
		break;
	}
}

uint32_t pen_quota_bury(struct pen_cells *c, uint32_t slot, pen_quota_dead_fn *dead, void *arg)
{
	const struct pen_slot *s = &c->cell[slot].slot;
	const struct pen_mark *m;
	struct place at;
	uint32_t n = 0;

	if (s->algorithm != PEN_QUOTA_CONCURRENT)
		return 0;
	m = first_mark(c, s, &at);
	while (m) {
		struct place last;

		if (!dead(arg, m->at)) {
			m = next_mark(c, s, &at);
			continue;
		}
		last = last_place(c, s);
		drop_lease(c, slot, at);
		pen_cells_commit(c); /* each is a change by itself */
		n++;
		/* The newest one has taken its place, unless it was that. */
		if (at.block == last.block && at.i == last.i)
			break;
	}
	return n;
}
