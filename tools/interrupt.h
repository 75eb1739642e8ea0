/* SPDX-License-Identifier: MIT */
/*
 * interrupt - signals while a batch runs
 *
 * The first SIGINT or SIGTERM asks the engine to drain; the second ends the process at once with 128 + the
 * signal. Both are safe: what is committed stays, the same command goes on. Before an engine is armed the
 * first one ends the process. A crash puts the terminal right before the signal does its work.
 *
 * One engine a process. arm and disarm: the thread that owns the engine.
 */
#ifndef PEN_TOOLS_INTERRUPT_H
#define PEN_TOOLS_INTERRUPT_H

#include <stdbool.h>

struct pen_engine;

/* At start: SIGPIPE ignored, handlers installed. */
void pen_interrupt_init(void);
/* Keeps SIGINT and SIGTERM from the calling thread and from those it starts, or lets them through again. */
void pen_interrupt_block(bool block);
void pen_interrupt_arm(struct pen_engine *engine);
void pen_interrupt_disarm(void);
/* What else is to be done before a signal ends the process at once, async-signal-safe; NULL: nothing any more. */
void pen_interrupt_on_end(void (*clean)(void));
/* The signal that asked for the end, or 0. */
int pen_interrupt_signal(void);

#endif
