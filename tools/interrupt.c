/* SPDX-License-Identifier: MIT */
#include "tools/interrupt.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/say.h"

/* Written by the owner of the engine, read by the handler on the same thread (block() keeps others out). */
static _Atomic(struct pen_engine *) armed;
/* Written by the handler, read by the owner. */
static atomic_int asked;

/* Written by the thread whose signals end the process, read by the handlers. */
static void (*_Atomic last_wish)(void);

static void clean_up(void)
{
	void (*clean)(void) = atomic_load_explicit(&last_wish, memory_order_relaxed);

	pen_log_last();
	pen_say_restore();
	if (clean)
		clean();
}

static void on_end(int sig)
{
	struct pen_engine *engine = atomic_load_explicit(&armed, memory_order_relaxed);
	int saved = errno;

	if (!engine || atomic_load_explicit(&asked, memory_order_relaxed)) {
		clean_up();
		_exit(128 + sig);
	}
	atomic_store_explicit(&asked, sig, memory_order_relaxed);
	pen_engine_drain(engine);
	errno = saved;
}

/* SA_RESETHAND: the signal raised again has its default action. */
static void on_crash(int sig)
{
	clean_up();
	raise(sig);
}

/*
 * A page of the store's map cannot be read: the disk failed under it, or somebody cut the file short. Nothing that
 * was committed is touched by that, so it ends like any failure of the disk.
 */
static void on_dead_page(int sig)
{
	static const char text[] =
		"error[PEN411]: a page of the store cannot be read: the disk failed, or the file was cut short\n"
		"  = check the disk (dmesg), then run `penstock verify`; the next start goes on\n";

	(void)sig;
	clean_up();
	_exit(write(STDERR_FILENO, text, sizeof text - 1) < 0 ? 3 : 74);
}

void pen_interrupt_init(void)
{
	static const int crashes[] = { SIGSEGV, SIGABRT, SIGILL, SIGFPE, SIGQUIT, SIGHUP };
	struct sigaction end = { .sa_handler = on_end, .sa_flags = SA_RESTART };
	struct sigaction crash = { .sa_handler = on_crash, .sa_flags = SA_RESETHAND | SA_NODEFER };
	struct sigaction dead_page = { .sa_handler = on_dead_page };
	struct sigaction ignore = { .sa_handler = SIG_IGN }, old;

	sigaction(SIGPIPE, &ignore, NULL);
	sigaction(SIGXFSZ, &ignore, NULL); /* a file size limit is an error of the write, with a message */
	sigaction(SIGINT, &end, NULL);
	sigaction(SIGTERM, &end, NULL);
	if (sigaction(SIGBUS, NULL, &old) == 0 && old.sa_handler == SIG_DFL)
		sigaction(SIGBUS, &dead_page, NULL);
	for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++)
		/* A sanitizer's handler and nohup's choice stay. */
		if (sigaction(crashes[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
			sigaction(crashes[i], &crash, NULL);
}

void pen_interrupt_block(bool block)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(block ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

void pen_interrupt_arm(struct pen_engine *engine)
{
	atomic_store_explicit(&armed, engine, memory_order_relaxed);
}

void pen_interrupt_disarm(void)
{
	atomic_store_explicit(&armed, NULL, memory_order_relaxed);
}

int pen_interrupt_signal(void)
{
	return atomic_load_explicit(&asked, memory_order_relaxed);
}

void pen_interrupt_on_end(void (*clean)(void))
{
	atomic_store_explicit(&last_wish, clean, memory_order_relaxed);
}
