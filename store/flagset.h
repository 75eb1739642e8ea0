/* SPDX-License-Identifier: MIT */
/*
 * flagset - what this process believes about all flags, so that asking costs no transaction
 *
 * All flags, compiled (verdict.h), in one table. It is made anew, from one snapshot, when the word that every process
 * with the store open shares (turn.h) says that flags changed; and, because whoever changed them may have died
 * before saying so, and a store that is open for reading has no such word, the number of the newest change in the store
 * is compared too, at most PEN_FLAGSET_CHECK_NS apart. So a change is seen at once, and in any case that soon.
 *
 *   Threads    any. Asking takes a read lock that is held for the time of an answer; a new table is made outside of it.
 *   Memory     as verdict.h says, for all flags; twice while a table is made.
 *   Failures   a store that cannot be read: the table of before holds, and is tried again. Never read: GENERAL.
 */
#ifndef PEN_STORE_FLAGSET_H
#define PEN_STORE_FLAGSET_H

#include "store/store.h"

#define PEN_FLAGSET_CHECK_NS (250 * PEN_NS_PER_MS)

struct pen_flagset;

int pen_flagset_open(struct pen_flagset **ret);	 /* 0 or -PEN_MEMORY */
void pen_flagset_close(struct pen_flagset *set); /* NULL is allowed */
/* Looks at the store now: what was committed before the call is believed behind it. 0 or a code. */
int pen_flagset_sync(struct pen_store *store);
/* The change up to which this process knows flags, after a look if one is due. Grows with every change that is seen. */
uint64_t pen_flagset_seen(struct pen_store *store);

#endif
