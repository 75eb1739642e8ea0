/* SPDX-License-Identifier: MIT */
/*
 * recall - results of earlier work that a batch may use instead of doing it again (store/cache.h)
 *
 * A result is known by what it was made of: the item's bytes, and the processor. The processor is its command text, the
 * program that it names, and every other word of it that is the name of a file (a script): their contents, as they
 * were when the batch began. What else a command depends on, it must not change, or --cache is not for it.
 *
 *   Threads    one, the foreman's.
 *   Memory     one hasher; files are hashed through 64 KiB.
 *   Limits     PEN_RECALL_FILE_MAX bytes of each file are looked at. Values up to PEN_CACHE_ENTRY_MAX are kept, all
 *              together up to PEN_RECALL_BUDGET.
 */
#ifndef PEN_ENGINE_RECALL_H
#define PEN_ENGINE_RECALL_H

#include "store/cache.h"

#define PEN_RECALL_FILE_MAX (256u << 20)
#define PEN_RECALL_BUDGET (1ull << 30)

struct pen_recall;

/* command: as after "exec:" or "worker:"; kind: 'e' or 'w'. 0, -ENOMEM, -ENOTSUP. */
int pen_recall_open(struct pen_recall **ret, char kind, const char *command);
void pen_recall_close(struct pen_recall *recall); /* NULL is allowed */
struct pen_cache_key pen_recall_key(struct pen_recall *recall, const void *item, size_t len);

#endif
