/* SPDX-License-Identifier: MIT */
/*
 * logger - open, the thread, close, and the end by a signal
 *
 * The happy path
 *   - a record comes: its thread rings, ours wakes, and waits GATHER_NS for more, or until a ring is half full
 *   - all records go, the earliest first, into the buffers of their files; audit lines are sealed one by one
 *   - each buffer is written with one call; who waits for a flush is told
 *
 * What can go wrong: a file that cannot be written loses its lines, which is counted, said once to people, and in the
 * log as soon as it goes on. A crash while we format: the handler passes over that record and goes on with the rest. A
 * crash while we write, and the disk hangs: the handler waits LAST_MS and gives up.
 */
#include "store/logger.h"

#include <errno.h>
#include <execinfo.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ring/assert.h"
#include "ring/error.h"
#include "store/logbook.h"
#include "store/store.h"

#define GATHER_NS (20 * PEN_NS_PER_MS)
#define ROUND 8192u /* records, then others get their turn */
#define LAST_MS 500
#define DAY_MS 86400000ull

/* Who formats and writes. */
enum turn { NOBODY, WRITER, LAST };

struct buffer {
	char at[PEN_LOG_LINE_BYTES * 3];
	size_t len;
	uint32_t lines;
};

static struct {
	pthread_mutex_t lock; /* open, close */
	bool open;
	bool forks; /* the handler for forks is there */
	pid_t pid;
	const struct pen_clock *clock;
	struct pen_log_options opt; /* its strings are not used behind open */
	struct pen_logbook book;
	int journal;
	pthread_t thread;
	uintptr_t base; /* where the program is loaded */

	_Atomic bool stop;     /* close -> thread */
	_Atomic uint32_t turn; /* enum turn */
	_Atomic uint32_t last; /* a signal ends the process */
	_Atomic uint32_t tid;  /* of the thread */

	/* Whose turn it is. */
	struct buffer buffers[PEN_LOGBOOK_AUDIT];
	struct pen_log_scratch scratch;
	struct pen_logger_tally tally;
	uint64_t day, tidied;
	uint64_t dropped_told;
	uint64_t next_ms; /* time of the first record that is not written; UINT64_MAX: none is there */
	bool in_record;	  /* it is being formatted */
	bool failed;	  /* the last write did */
	bool said[2];	  /* to people: it fails, it is full */

	pthread_mutex_t flush_lock; /* what is below */
	pthread_cond_t flushed;
	uint64_t asked, asked_ms, done;
} logger = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.flush_lock = PTHREAD_MUTEX_INITIALIZER,
	.clock = &pen_clock_real,
	.journal = -1,
	.book.dir = -1,
};

void pen_logger_set_clock(const struct pen_clock *clock)
{
	logger.clock = clock;
}

/* ---- writing --------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void notice(int code, const char *format, ...)
{
	char text[256];
	va_list args;

	if (!logger.opt.notice)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof text, format, args);
	va_end(args);
	logger.opt.notice(logger.opt.arg, code, text);
}

static void write_buffer(enum pen_logbook_stream stream, bool last)
{
	struct buffer *b = &logger.buffers[stream];
	bool full;
	int rc;

	if (!b->len)
		return;
	rc = pen_logbook_write(&logger.book, stream, logger.day, b->at, b->len, b->lines);
	b->len = b->lines = 0;
	if (stream == PEN_LOGBOOK_APPLICATION)
		logger.failed = rc != 0;
	full = rc == -EFBIG;
	if (!rc || last || logger.said[full])
		return;
	logger.said[full] = true;
	if (full)
		notice(-PEN_LOG_FULL,
		       "a log file has %llu bytes, as many as it may: lines are lost until tomorrow",
		       (unsigned long long)logger.book.file_bytes);
	else
		notice(-PEN_LOG_PLACE, "the log cannot be written: %s; lines are lost meanwhile",
		       strerror(-rc));
}

static void write_all(bool last)
{
	for (int s = 0; s < PEN_LOGBOOK_AUDIT; s++)
		write_buffer((enum pen_logbook_stream)s, last);
}

static void begin_day(uint64_t day, bool last)
{
	if (day == logger.day)
		return;
	write_all(last);
	logger.day = day;
	logger.said[true] = false;
	if (!last && day > logger.tidied) {
		(void)pen_logbook_tidy(&logger.book, day);
		logger.tidied = day;
	}
}

/* ---- lines ----------------------------------------------------------------------------------- */

static void copy_to(enum pen_logbook_stream stream, const char *line, size_t len, bool last)
{
	struct buffer *b = &logger.buffers[stream];

	if (b->len + len > sizeof b->at)
		write_buffer(stream, last);
	memcpy(b->at + b->len, line, len);
	b->len += len;
	b->lines++;
}

/* Seals an audit line; where that fails it is in the application's file all the same, without a seal. */
static size_t seal(uint64_t day, char *line, size_t len)
{
	size_t sealed = len;
	int rc = pen_logbook_audit(&logger.book, day, line, &sealed);

	if (!rc)
		return sealed;
	notice(-PEN_LOG_PLACE, "an audit line cannot be kept: %s", strerror(-rc));
	/* Lines have lengths. NOLINTNEXTLINE(bugprone-not-null-terminated-result) */
	memcpy(line + len, ",\"sealed\":false}\n", 17);
	return len + 17;
}

static void write_record(const struct pen_log_record *rec, bool last)
{
	struct buffer *b = &logger.buffers[PEN_LOGBOOK_APPLICATION];
	const size_t cap = PEN_LOG_LINE_BYTES - PEN_LOGBOOK_SEAL;
	uint64_t day = rec->time_ms / DAY_MS;
	size_t len;
	char *line;

	begin_day(day, last);
	if (sizeof b->at - b->len < PEN_LOG_LINE_BYTES)
		write_buffer(PEN_LOGBOOK_APPLICATION, last);
	line = b->at + b->len;
	len = pen_log_line_make(rec, (int)logger.pid, &logger.scratch, line, cap);
	if (rec->frame_count)
		len = pen_logger_trace(rec, line, len, cap, &logger.scratch, last);
	if (rec->kind == PEN_LOG_KIND_AUDIT && !last) {
		len = seal(day, line, len);
	} else if (rec->kind == PEN_LOG_KIND_AUDIT) {
		/* Lines have lengths. NOLINTNEXTLINE(bugprone-not-null-terminated-result) */
		memcpy(line + len, ",\"sealed\":false}\n", 17);
		len += 17;
	} else {
		line[len++] = '}';
		line[len++] = '\n';
	}
	b->len += len;
	b->lines++;
	if (rec->level == PEN_LOG_ERROR)
		copy_to(PEN_LOGBOOK_ERROR, line, len, last);
	if (rec->kind == PEN_LOG_KIND_SECURITY)
		copy_to(PEN_LOGBOOK_SECURITY, line, len, last);
	if (last)
		return;
	if (rec->kind == PEN_LOG_KIND_PERFORMANCE)
		pen_logger_tally_add(&logger.tally, rec);
	if (logger.opt.sink)
		logger.opt.sink(logger.opt.arg, (enum pen_log_level)rec->level, line, len - 1);
	if (logger.journal >= 0)
		pen_journal_send(logger.journal, rec, line, len - 1, &logger.scratch);
}

/* All that is there, or a round of it. Whose turn it is. */
static uint32_t drain(uint32_t most, bool last)
{
	const struct pen_log_record *rec;
	uint32_t n = 0;

	/* Relaxed: who is about to take the turn for good waits for the end of the record in hand. */
	while (n < most && (last || !atomic_load_explicit(&logger.last, memory_order_relaxed)) &&
	       (rec = pen_log_peek())) {
		logger.in_record = true;
		write_record(rec, last);
		logger.in_record = false;
		pen_log_pass();
		n++;
	}
	write_all(last);
	return n;
}

/* ---- the thread ------------------------------------------------------------------------------ */

static bool take_turn(enum turn who)
{
	uint32_t nobody = NOBODY;

	/* PAIR(logger.turn): who has it sees the buffers as the one before left them. */
	return atomic_compare_exchange_strong_explicit(&logger.turn, &nobody, who, memory_order_acquire,
						       memory_order_relaxed);
}

static void leave_turn(void)
{
	/* PAIR(logger.turn): the buffers are as the next one finds them. */
	atomic_store_explicit(&logger.turn, NOBODY, memory_order_release);
}

/* What was lost is a line as well, which comes with the next round. */
static uint32_t tell_losses(void)
{
	uint64_t lost = pen_log_lost(), dropped = logger.book.dropped - logger.dropped_told;
	const struct pen_log_context context = { .module = PEN_LOG_IN_LOG };

	if (lost)
		(void)pen_log_warn(&context, "lines were lost: they came faster than they could be written",
				   &PEN_LOG_U64("lost", lost), 1);
	if (dropped && !logger.failed) {
		logger.dropped_told = logger.book.dropped;
		(void)pen_log_warn(&context,
				   "lines were dropped: a log file was full or could not be written",
				   &PEN_LOG_U64("dropped", dropped), 1);
	}
	return (lost != 0) + (dropped && !logger.failed);
}

static void answer_flush(uint64_t asked)
{
	pthread_mutex_lock(&logger.flush_lock);
	if (asked > logger.done) {
		logger.done = asked;
		pthread_cond_broadcast(&logger.flushed);
	}
	pthread_mutex_unlock(&logger.flush_lock);
}

static uint64_t flush_asked(uint64_t *ret_ms)
{
	uint64_t asked;

	pthread_mutex_lock(&logger.flush_lock);
	asked = logger.asked;
	*ret_ms = logger.asked_ms;
	pthread_mutex_unlock(&logger.flush_lock);
	return asked;
}

/* More comes together: one write for all of it. */
static void gather(uint64_t flushed)
{
	uint32_t ticket = pen_park_ticket(&pen_log_bell.hurry);
	uint64_t ms;

	/* Relaxed: whoever sets it rings. */
	if (!atomic_load_explicit(&logger.stop, memory_order_relaxed) && flush_asked(&ms) == flushed)
		(void)pen_park_wait(&pen_log_bell.hurry, ticket, GATHER_NS);
}

/* A round with the turn. False: a signal ends the process, and the turn is gone for good. */
static uint32_t round_of(uint32_t most)
{
	const struct pen_log_record *rec;
	uint32_t n;

	pen_log_look();
	while (!take_turn(WRITER))
		(void)pause();
	n = drain(most, false);
	rec = pen_log_peek();
	logger.next_ms = rec ? rec->time_ms : UINT64_MAX;
	leave_turn();
	return n;
}

/* What is there, what is to be said at the end, and then nothing more. */
static void finish(void)
{
	uint64_t ms, begun = pen_real_ms(logger.clock);

	/* Others may go on; what was there when we were asked is written. */
	do
		(void)round_of(ROUND);
	while (logger.next_ms <= begun);
	pen_logger_tally_tell(&logger.tally);
	(void)tell_losses();
	pen_log_stop();
	while (round_of(ROUND))
		;
	answer_flush(flush_asked(&ms));
}

static void *logger_main(void *arg)
{
	(void)arg;
	(void)pthread_setname_np(pthread_self(), "pen-log"); /* for people who look */
	atomic_store_explicit(&logger.tid, (uint32_t)gettid(), memory_order_relaxed); /* a number by itself */
	/* Relaxed: whoever sets it rings. */
	while (!atomic_load_explicit(&logger.stop, memory_order_relaxed)) {
		uint32_t ticket = pen_park_ticket(&pen_log_bell.park), n;
		uint64_t asked_ms, asked = flush_asked(&asked_ms);

		n = round_of(ROUND);
		/* The earliest go first: those that were there before are written. */
		if (logger.next_ms > asked_ms)
			answer_flush(asked);
		if (n + tell_losses())
			continue;
		(void)pen_park_wait(&pen_log_bell.park, ticket, UINT64_MAX);
		gather(asked);
	}
	finish();
	return NULL;
}

bool pen_log_flush(uint64_t timeout_ns)
{
	struct timespec until;
	uint64_t mine;
	bool done;

	if (!pen_log_started())
		return false;
	pthread_mutex_lock(&logger.flush_lock);
	mine = ++logger.asked;
	logger.asked_ms = pen_real_ms(logger.clock);
	pthread_mutex_unlock(&logger.flush_lock);
	pen_park_ring(&pen_log_bell.park);
	pen_park_ring(&pen_log_bell.hurry);
	timeout_ns = pen_min(timeout_ns, 3600 * PEN_NS_PER_S) + pen_mono_ns(&pen_clock_real);
	until.tv_sec = (time_t)(timeout_ns / PEN_NS_PER_S);
	until.tv_nsec = (long)(timeout_ns % PEN_NS_PER_S);
	pthread_mutex_lock(&logger.flush_lock);
	while (logger.done < mine &&
	       !pthread_cond_clockwait(&logger.flushed, &logger.flush_lock, CLOCK_MONOTONIC, &until))
		;
	done = logger.done >= mine;
	pthread_mutex_unlock(&logger.flush_lock);
	return done;
}

/* ---- the end by a signal --------------------------------------------------------------------- */

static const int crashes[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
static struct sigaction before[PEN_COUNT(crashes)];

static struct {
	struct pen_log_record rec;
	char text[256];
	uint64_t frames[PEN_LOG_FRAMES];
} crash_line;

static const char *signal_name(int sig)
{
	return sig == SIGSEGV  ? "SIGSEGV"
	       : sig == SIGBUS ? "SIGBUS"
	       : sig == SIGILL ? "SIGILL"
	       : sig == SIGFPE ? "SIGFPE"
			       : "SIGABRT";
}

static void add_field(char **at, const char *name, enum pen_log_type type, const void *value, size_t len)
{
	struct pen_log_packed f = { (uint8_t)type, (uint8_t)strlen(name), (uint16_t)len };

	*at = mempcpy(*at, &f, sizeof f);
	*at = mempcpy(*at, name, f.name_len);
	*at = mempcpy(*at, value, len);
	crash_line.rec.field_count++;
}

/* The last line: which signal, where, and what was under way. */
static void write_crash(int sig, const void *address)
{
	static const char message[] = "a signal ends the process";
	void *frames[PEN_LOG_FRAMES];
	char *at = crash_line.text, where[20];
	size_t used;
	int count = backtrace(frames, PEN_LOG_FRAMES);

	crash_line.rec = (struct pen_log_record){
		.message_len = sizeof message - 1,
		.kind = PEN_LOG_KIND_FAULT,
		.level = PEN_LOG_ERROR,
		.time_ms = pen_real_ms(logger.clock),
		.module = PEN_LOG_IN_LOG,
		.tid = (uint32_t)gettid(),
		.frame_count = (uint8_t)(count > 0 ? count : 0),
	};
	at = mempcpy(at, message, sizeof message - 1);
	add_field(&at, "signal", PEN_LOG_IS_TEXT, signal_name(sig), strlen(signal_name(sig)));
	pen_logger_hex((uintptr_t)address, where);
	add_field(&at, "address", PEN_LOG_IS_TEXT, where, strlen(where));
	pen_logger_hex(logger.base, where);
	add_field(&at, "programAt", PEN_LOG_IS_TEXT, where, strlen(where));
	used = pen_round_up((size_t)(at - crash_line.text), 8);
	pen_assert_slow(used <= sizeof crash_line.text);
	for (int i = 0; i < count; i++)
		memcpy(crash_line.text + used + (size_t)i * 8, &frames[i], 8);
	crash_line.rec.bytes = (uint32_t)(sizeof crash_line.rec + used) + crash_line.rec.frame_count * 8u;
	write_record(&crash_line.rec, true);
}
_Static_assert(sizeof crash_line.text + sizeof crash_line.frames >= 200 + PEN_LOG_FRAMES * 8, "it fits");

/* The turn for good: from the thread when it is done with a round, or at once when we are that thread. */
static bool take_last(void)
{
	if ((uint32_t)gettid() ==
	    atomic_load_explicit(&logger.tid, memory_order_relaxed)) { /* our own store */
		uint32_t was = atomic_exchange_explicit(&logger.turn, LAST,
							memory_order_relaxed); /* the same thread */

		/* What it died of is not tried again. */
		if (was == WRITER && logger.in_record)
			pen_log_pass();
		return true;
	}
	for (int ms = 0; !take_turn(LAST); ms += 5) {
		if (ms >= LAST_MS)
			return false;
		(void)poll(NULL, 0, 5);
	}
	return true;
}

static void end_by(int sig, const void *address)
{
	int saved = errno;

	if (!pen_log_started() || getpid() != logger.pid)
		return;
	/* Relaxed: one of several threads that crash at once writes; the others give it time. */
	if (atomic_exchange_explicit(&logger.last, 1, memory_order_relaxed)) {
		(void)poll(NULL, 0, LAST_MS);
		return;
	}
	if (take_last()) {
		pen_log_stop();
		(void)drain(UINT32_MAX, true);
		if (sig)
			write_crash(sig, address);
		write_all(true);
	}
	errno = saved;
}

void pen_log_last(void)
{
	end_by(0, NULL);
}

static void on_crash(int sig, siginfo_t *info, void *context)
{
	(void)context;
	end_by(sig, info->si_addr);
	for (size_t i = 0; i < PEN_COUNT(crashes); i++)
		if (crashes[i] == sig)
			(void)sigaction(sig, &before[i], NULL);
	(void)raise(sig); /* it waits until we return, and then does what it did before */
}

static void catch_crashes(bool yes)
{
	struct sigaction act = { .sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK }, now;
	void *frame;

	if (yes)
		(void)backtrace(&frame, 1); /* loads what it needs: a handler may not */
	sigemptyset(&act.sa_mask);
	for (size_t i = 0; i < PEN_COUNT(crashes); i++) {
		if (yes)
			(void)sigaction(crashes[i], &act, &before[i]);
		/* Who has put a handler over ours meanwhile keeps it. */
		else if (!sigaction(crashes[i], NULL, &now) && now.sa_sigaction == on_crash)
			(void)sigaction(crashes[i], &before[i], NULL);
	}
}

/* ---- open and close -------------------------------------------------------------------------- */

/* The parent's logger is none of the child's business: not its thread, nor its files, nor its lines. */
static void forked(void)
{
	pen_log_forked();
	if (!logger.open)
		return;
	logger.open = false;
	pen_logbook_close(&logger.book);
	if (logger.journal >= 0)
		(void)close(logger.journal);
	logger.journal = -1;
	for (size_t i = 0; i < PEN_COUNT(logger.buffers); i++)
		logger.buffers[i].len = logger.buffers[i].lines = 0;
	pthread_mutex_init(&logger.lock, NULL);
	pthread_mutex_init(&logger.flush_lock, NULL);
	leave_turn();
	if (!logger.opt.no_crash)
		catch_crashes(false);
}

static int find_base(struct dl_phdr_info *info, size_t size, void *ret)
{
	(void)size;
	*(uintptr_t *)ret = info->dlpi_addr;
	return 1; /* the program is the first */
}

/* Behind all that programs built against an older header know of. */
static void take_options(const struct pen_log_options *opt)
{
	memset(&logger.opt, 0, sizeof logger.opt);
	memcpy(&logger.opt, opt, pen_min(opt->size, sizeof logger.opt));
	if (logger.opt.keep_days)
		logger.book.keep_days[PEN_LOGBOOK_APPLICATION] = logger.book.keep_days[PEN_LOGBOOK_ERROR] =
			logger.opt.keep_days;
	if (logger.opt.keep_days_security)
		logger.book.keep_days[PEN_LOGBOOK_SECURITY] = logger.opt.keep_days_security;
	if (logger.opt.file_bytes)
		logger.book.file_bytes = logger.opt.file_bytes;
}

static void open_journal(void)
{
	logger.journal = -1;
	if (!logger.opt.journal)
		return;
	logger.journal = pen_journal_open(PEN_JOURNAL_SOCKET);
	if (logger.journal < 0)
		notice(-PEN_LOG_JOURNAL,
		       "there is no system journal to log to (%s: %s); the files get every line",
		       PEN_JOURNAL_SOCKET, strerror(-logger.journal));
}

static int start_thread(struct pen_failure *why)
{
	sigset_t set, old;
	int rc;

	/* Signals are for other threads, but what this one itself does wrong. */
	sigfillset(&set);
	for (size_t i = 0; i < PEN_COUNT(crashes); i++)
		sigdelset(&set, crashes[i]);
	pthread_sigmask(SIG_SETMASK, &set, &old);
	rc = pthread_create(&logger.thread, NULL, logger_main, NULL);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc ? pen_fail(why, -rc, rc, "no thread for the logger") : 0;
}

static int begin(const struct pen_log_options *opt, struct pen_failure *why)
{
	char path[4096];
	const char *dir = opt->dir;
	int rc;

	if (!dir && opt->store) {
		(void)snprintf(path, sizeof path, "%s/logs", pen_store_path(opt->store));
		dir = path;
	}
	if (!dir)
		return pen_fail(why, -PEN_USAGE, 0, "a log needs a directory or a store");
	pen_log_levels_reset();
	rc = opt->levels ? pen_log_levels(opt->levels, why) : 0;
	if (!rc)
		rc = pen_logbook_open(&logger.book, dir, why);
	if (rc)
		return rc;
	take_options(opt);
	if (!logger.forks && pthread_atfork(NULL, NULL, forked)) {
		pen_logbook_close(&logger.book);
		return pen_fail(why, -PEN_MEMORY, ENOMEM, "no memory for the logger");
	}
	logger.forks = true;
	(void)pen_log_words_open(logger.book.dir); /* else the levels are this process's alone */
	open_journal();
	logger.pid = getpid();
	logger.day = logger.tidied = pen_real_ms(logger.clock) / DAY_MS;
	logger.dropped_told = 0;
	logger.said[0] = logger.said[1] = logger.failed = logger.in_record = false;
	logger.tally.count = 0;
	atomic_store_explicit(&logger.stop, false,
			      memory_order_relaxed); /* the thread's creation orders it */
	pthread_cond_init(&logger.flushed, NULL);
	(void)pen_logbook_tidy(&logger.book, logger.day);
	(void)dl_iterate_phdr(find_base, &logger.base);
	pen_log_reset();
	pen_log_start(logger.clock);
	rc = start_thread(why);
	if (rc) {
		pen_log_stop();
		pen_log_words_close();
		pen_logbook_close(&logger.book);
		return rc;
	}
	if (!logger.opt.no_crash)
		catch_crashes(true);
	return 0;
}

int pen_log_open(const struct pen_log_options *opt, struct pen_failure *why)
{
	int rc;

	pthread_mutex_lock(&logger.lock);
	if (logger.open)
		rc = pen_fail(why, -EBUSY, 0, "this process logs already");
	else
		rc = begin(opt, why);
	logger.open |= rc == 0;
	pthread_mutex_unlock(&logger.lock);
	return rc;
}

void pen_log_close(void)
{
	pthread_mutex_lock(&logger.lock);
	if (logger.open) {
		atomic_store_explicit(&logger.stop, true, memory_order_relaxed); /* the rings order it */
		pen_park_ring(&pen_log_bell.park);
		pen_park_ring(&pen_log_bell.hurry);
		pthread_join(logger.thread, NULL);
		pen_log_stop();
		if (!logger.opt.no_crash)
			catch_crashes(false);
		if (logger.journal >= 0)
			(void)close(logger.journal);
		logger.journal = -1;
		pen_log_words_close();
		pen_logbook_close(&logger.book);
		logger.open = false;
	}
	pthread_mutex_unlock(&logger.lock);
}
