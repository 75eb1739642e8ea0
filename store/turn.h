/* SPDX-License-Identifier: MIT */
/*
 * turn - fair hand-off of the write lock between processes
 *
 * LMDB's write lock is a robust mutex and not fair: a committer that unlocks and locks again starves
 * everyone. So whoever wants the lock says so in STORE/run/turn, a shared mapping, and the committer looks
 * there between chunks (wanted), closes its group, and stands aside until the waiting ones had their turn
 * (yield).
 *
 *   Threads    wanted: any thread. announce, served: whoever begins a transaction. yield: after a commit,
 *              without the lock. level: the engine that starts or stops a run.
 *   Crashes    a waiter that died is noticed by its pid and start time when a yield had to time out, and
 *              struck off; the file is advisory: losing it costs fairness, never data.
 *   Orderings  turn.announce, turn.served (docs/CONCURRENCY.md).
 */
#ifndef PEN_STORE_TURN_H
#define PEN_STORE_TURN_H

#include <sys/types.h>

#include "store/store.h"

struct pen_turn;

/* Ticks since boot at which a process started, or 0 when it cannot be read. *ret_dead: it is a zombie. */
uint64_t pen_turn_started(pid_t pid, bool *ret_dead);

/* Maps STORE/run/turn, making it if needed. A file that cannot be mapped gives a turn that nobody else sees. */
int pen_turn_open(int run_fd, struct pen_turn **ret);
void pen_turn_close(struct pen_turn *turn);

/* Says that this thread waits for the lock; returns the slot to give to served. */
uint32_t pen_turn_announce(struct pen_turn *turn);
/* This thread has the lock (or gave up). */
void pen_turn_served(struct pen_turn *turn, uint32_t slot);
uint32_t pen_turn_waiting(const struct pen_turn *turn);

/* Somebody else waits for the store's write lock. One relaxed load. */
bool pen_turn_wanted(const struct pen_store *store);
/* Stands aside until those who wait now were served, at most max_ns. */
void pen_turn_yield(struct pen_store *store, uint64_t max_ns);

/* How often flags were changed, modulo 2^32: told by those who did, after their commit. A hint: one that died between
 * the two told nothing. Always 0 where there is no turn. One relaxed load. */
uint32_t pen_turn_flags(const struct pen_store *store);
void pen_turn_flags_changed(struct pen_store *store);

/* Registers this engine's durability level while it runs a batch; unregister with the ticket. Two runs at once take
 * the stricter level. */
uint32_t pen_turn_level_enter(struct pen_store *store, enum pen_durability level);
void pen_turn_level_leave(struct pen_store *store, uint32_t ticket);
/* The strictest of `level` and those of all live engines. */
enum pen_durability pen_turn_level(const struct pen_store *store, enum pen_durability level);

#endif
