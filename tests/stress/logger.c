/* SPDX-License-Identifier: MIT */
/*
 * stress/logger - threads log while the logger is opened, flushed, told other levels and closed, again and again
 *
 * What was logged before a flush that succeeded is in the files; every file is whole lines. PEN_SEED, PEN_SECS.
 */
#include "store/logger.h"

#include <ftw.h>
#include <pthread.h>
#include <string.h>

#include "tests/lib/stress.h"

#define LOGGERS 3u

static _Atomic bool over;
static char dir[64];

static void *log_on(void *arg)
{
	struct stress_random random = stress_random((uint64_t)(uintptr_t)arg);

	while (!atomic_load(&over)) {
		(void)pen_log_info(NULL, "from a thread", &PEN_LOG_U64("n", 1), 1);
		(void)pen_log_debug(NULL, "seldom wanted", NULL, 0);
		(void)pen_log_performance(NULL, "turn", 1000000, NULL, 0);
		stress_pause(&random);
		(void)nanosleep(&(struct timespec){ .tv_nsec = 200000 },
				NULL); /* a file is read again and again */
	}
	return NULL;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

/* Lines with this number, all of them whole. */
static unsigned count(uint64_t number)
{
	char path[128], time[24], line[4096], want[64];
	unsigned n = 0;
	FILE *f;

	pen_log_line_time(time, pen_real_ms(&pen_clock_real));
	snprintf(path, sizeof path, "%s/application-%.10s.log", dir, time);
	snprintf(want, sizeof want, "\"number\":%lu}", number);
	f = fopen(path, "r");
	STRESS_CHECK(f, "%s", path);
	while (fgets(line, sizeof line, f)) {
		size_t len = strlen(line);

		STRESS_CHECK(len > 2 && line[0] == '{' && !strcmp(line + len - 2, "}\n"), "half a line: %s",
			     line);
		n += strstr(line, want) != NULL;
	}
	fclose(f);
	return n;
}

int main(void)
{
	uint64_t seed = stress_start("logger"), number = 0;
	pthread_t threads[LOGGERS];

	snprintf(dir, sizeof dir, "/tmp/pen-logger-XXXXXX");
	STRESS_CHECK(mkdtemp(dir), "mkdtemp");
	for (uint32_t i = 0; i < LOGGERS; i++)
		STRESS_CHECK(!pthread_create(&threads[i], NULL, log_on, (void *)(uintptr_t)(seed + i)),
			     "thread");
	while (stress_time_left()) {
		const struct pen_log_options opt = { .size = sizeof opt, .dir = dir, .file_bytes = 1u << 30 };
		struct pen_failure why = { 0 };

		STRESS_CHECK(!pen_log_open(&opt, &why), "%s", why.text);
		(void)pen_log_share(dir, number % 2 ? "debug" : "info", NULL);
		(void)pen_log_audit(NULL, "turn", "number", &PEN_LOG_U64("number", number), 1);
		(void)pen_log_error(NULL, "with a trace", &PEN_LOG_U64("number", ++number), 1);
		if (number % 3)
			STRESS_CHECK(pen_log_flush(10 * PEN_NS_PER_S) && count(number), "flush %lu", number);
		pen_log_close();
		STRESS_CHECK(count(number), "close %lu", number);
		STRESS_CHECK(!pen_log_verify(dir, NULL, NULL, &why), "the chain of audit lines");
	}
	atomic_store(&over, true);
	for (uint32_t i = 0; i < LOGGERS; i++)
		(void)pthread_join(threads[i], NULL);
	(void)nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	printf("opened %lu times\n", number);
	return 0;
}
