/* SPDX-License-Identifier: MIT */
/*
 * log - which levels are wanted, by module: of this process alone, or of all that share a directory
 *
 * The shared words are a page of this library's data. Opening maps the directory's file over it, closing maps nothing
 * over it again, so that who looks at a word needs no lock and never meets a map that is gone. A word is looked at with
 * each record; a process that changes the file is seen at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ring/error.h"
#include "ring/log.h"

#define FILE_NAME "levels"
#define PAGE 65536u /* as large as any machine's */

static const char *const parts[PEN_LOG_PARTS] = {
	"program", "log",    "ring",  "store", "engine", "foreman",
	"crew",	   "limits", "flags", "serve", "plugin", "tools",
};
static const char *const levels[PEN_LOG_LEVELS] = { "off", "error", "warn", "info", "verbose", "debug" };

static _Alignas(PAGE) union {
	struct pen_log_words words;
	uint8_t page[PAGE];
} shared;

static struct {
	pthread_mutex_t lock; /* names and numbers of modules, and the file while they are looked up in it */
	char names[PEN_LOG_MODULES][24];
	uint32_t count;			       /* of names */
	_Atomic uint32_t own[PEN_LOG_MODULES]; /* as in the shared words; wins */
	_Atomic uint32_t
		place[PEN_LOG_MODULES]; /* the module's in the shared words, counted from 1; 0: as its own */
	bool mapped;
} all = { .lock = PTHREAD_MUTEX_INITIALIZER, .count = PEN_LOG_PARTS };

const char *pen_log_level_name(enum pen_log_level level)
{
	return (unsigned)level < PEN_LOG_LEVELS ? levels[level] : "info";
}

int pen_log_level_find(const char *name)
{
	for (int i = 0; i < PEN_LOG_LEVELS; i++)
		if (!strcmp(levels[i], name))
			return i;
	return -1;
}

const char *pen_log_module_name(unsigned module)
{
	if (module < PEN_LOG_PARTS)
		return parts[module];
	/* A name is written once, before its number is handed out. */
	return module < PEN_LOG_MODULES && all.names[module][0] ? all.names[module] : parts[0];
}

bool pen_log_on(unsigned module, enum pen_log_level level)
{
	/* Relaxed: one word, which stands for itself. */
	uint32_t word, place;

	if (module >= PEN_LOG_MODULES || level == PEN_LOG_OFF)
		return false;
	word = atomic_load_explicit(&all.own[module], memory_order_relaxed);
	if (!word) {
		place = atomic_load_explicit(&all.place[module], memory_order_relaxed);
		word = atomic_load_explicit(&shared.words.at[place ? place - 1 : module].level,
					    memory_order_relaxed);
	}
	return level <= (word && word <= PEN_LOG_LEVELS ? word - 1 : PEN_LOG_INFO);
}

static bool good_name(const char *name, size_t len)
{
	if (!len || len > 23)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!((name[i] >= 'a' && name[i] <= 'z') || (name[i] >= '0' && name[i] <= '9') ||
		      name[i] == '-' || name[i] == '_'))
			return false;
	return true;
}

/* Place of a name in the words, entered where there is room; -1: there is none. */
static int find_place(struct pen_log_words *words, const char *name, size_t len)
{
	for (int i = 0; i < (int)PEN_LOG_MODULES; i++) {
		char *at = words->at[i].name;

		if (!at[0])
			memcpy(at, name, len); /* zero behind it */
		if (strnlen(at, sizeof words->at[i].name) == len && !memcmp(at, name, len))
			return i;
	}
	return -1;
}

static void name_parts(struct pen_log_words *words)
{
	memcpy(words->magic, PEN_LOG_WORDS_MAGIC, sizeof words->magic);
	for (int i = 0; i < PEN_LOG_PARTS; i++)
		memcpy(words->at[i].name, parts[i], strlen(parts[i]));
}

/* The file, locked, filled if it was empty; -errno, -EBADMSG when it is something else. */
static int open_words(int dirfd, bool make)
{
	int fd = openat(dirfd, FILE_NAME, O_RDWR | (make ? O_CREAT : 0) | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK,
			0640);
	struct pen_log_words words = { 0 };
	struct stat st;
	int rc = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		rc = -EBADMSG;
	while (!rc && flock(fd, LOCK_EX) && errno == EINTR)
		;
	if (!rc && fstat(fd, &st))
		rc = -errno;
	if (!rc && !st.st_size) {
		name_parts(&words);
		if (pwrite(fd, &words, sizeof words, 0) != (ssize_t)sizeof words)
			rc = -ENOSPC;
	} else if (!rc && (pread(fd, &words, sizeof words, 0) != (ssize_t)sizeof words ||
			   memcmp(words.magic, PEN_LOG_WORDS_MAGIC, sizeof words.magic))) {
		rc = -EBADMSG;
	}
	if (rc) {
		(void)close(fd);
		return rc;
	}
	return fd;
}

/* The places of this process's own modules. */
static void place_modules(void)
{
	for (uint32_t i = PEN_LOG_PARTS; i < all.count; i++) {
		int place = find_place(&shared.words, all.names[i], strlen(all.names[i]));

		/* Relaxed: a number that stands for itself. Where there is no place, the last one is shared. */
		atomic_store_explicit(&all.place[i], place < 0 ? PEN_LOG_MODULES : (uint32_t)place + 1,
				      memory_order_relaxed);
	}
}

/* The words stand where they stood. The call itself: the race checker takes the function for a write. */
static int map_over(int flags, int fd)
{
	return syscall(SYS_mmap, &shared, PAGE, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0) ==
			       (long)&shared
		       ? 0
		       : -1;
}

int pen_log_words_open(int dirfd)
{
	int fd = open_words(dirfd, true), rc = 0;

	if (fd < 0)
		return fd;
	pthread_mutex_lock(&all.lock);
	if (map_over(MAP_SHARED, fd)) {
		rc = -errno;
	} else {
		all.mapped = true;
		place_modules();
	}
	pthread_mutex_unlock(&all.lock);
	(void)flock(fd, LOCK_UN); /* the map would keep it */
	(void)close(fd);
	return rc;
}

void pen_log_words_close(void)
{
	pthread_mutex_lock(&all.lock);
	/* What cannot be mapped away stays, and is as good. */
	if (all.mapped && !map_over(MAP_PRIVATE | MAP_ANONYMOUS, -1)) {
		all.mapped = false;
		place_modules();
	}
	pthread_mutex_unlock(&all.lock);
}

int pen_log_module(const char *name)
{
	size_t len = name ? strnlen(name, 24) : 0;
	int got = -ENOSPC;

	if (!good_name(name, len))
		return -EINVAL;
	for (int i = 0; i < PEN_LOG_PARTS; i++)
		if (!strcmp(parts[i], name))
			return i;
	pthread_mutex_lock(&all.lock);
	for (uint32_t i = PEN_LOG_PARTS; i < all.count; i++)
		if (!strcmp(all.names[i], name))
			got = (int)i;
	if (got < 0 && all.count < PEN_LOG_MODULES) {
		memcpy(all.names[all.count], name, len);
		got = (int)all.count++;
		place_modules();
	}
	pthread_mutex_unlock(&all.lock);
	return got;
}

/* ---- words a person types -------------------------------------------------------------------- */

typedef int set_fn(void *arg, const char *module, size_t len, uint32_t word);

/* "info,engine=debug": calls set for each; module NULL is all. */
static int parse(const char *text, set_fn *set, void *arg, struct pen_failure *why)
{
	while (*text) {
		size_t len = strcspn(text, ","), name_len = 0;
		const char *eq = memchr(text, '=', len), *level = eq ? eq + 1 : text;
		char word[16];
		int n = -1;

		if (eq)
			name_len = (size_t)(eq - text);
		if (len - (size_t)(level - text) < sizeof word) {
			(void)snprintf(word, sizeof word, "%.*s", (int)(len - (size_t)(level - text)), level);
			n = pen_log_level_find(word);
		}
		if (n < 0)
			return pen_fail(why, -PEN_LOG_LEVEL, 0,
					"'%.*s' is no level: off, error, warn, info, verbose, debug",
					(int)len, text);
		if (eq && !good_name(text, name_len))
			return pen_fail(why, -PEN_LOG_LEVEL, 0, "'%.*s' is no module's name", (int)name_len,
					text);
		n = set(arg, eq ? text : NULL, name_len, (uint32_t)n + 1);
		if (n)
			return pen_fail(why, -PEN_LOG_LEVEL, 0, "there is no room for a module '%.*s'",
					(int)name_len, text);
		text += len + (text[len] == ',');
	}
	return 0;
}

static int set_own(void *arg, const char *module, size_t len, uint32_t word)
{
	char name[24] = "";
	int n;

	(void)arg;
	if (!module) {
		for (uint32_t i = 0; i < PEN_LOG_MODULES; i++)
			atomic_store_explicit(&all.own[i], word, memory_order_relaxed); /* a word by itself */
		return 0;
	}
	memcpy(name, module, len);
	n = pen_log_module(name);
	if (n < 0)
		return n;
	atomic_store_explicit(&all.own[n], word, memory_order_relaxed); /* as above */
	return 0;
}

static int set_none(void *arg, const char *module, size_t len, uint32_t word)
{
	(void)arg, (void)module, (void)len, (void)word;
	return 0;
}

int pen_log_levels(const char *text, struct pen_failure *why)
{
	int rc = parse(text, set_none, NULL, why); /* all of it or nothing */

	return rc ? rc : parse(text, set_own, NULL, why);
}

void pen_log_levels_reset(void)
{
	for (uint32_t i = 0; i < PEN_LOG_MODULES; i++)
		atomic_store_explicit(&all.own[i], 0, memory_order_relaxed); /* a word by itself */
}

static int set_shared(void *arg, const char *module, size_t len, uint32_t word)
{
	struct pen_log_words *words = arg;
	int place;

	for (uint32_t i = 0; !module && i < PEN_LOG_MODULES; i++)
		atomic_store_explicit(&words->at[i].level, word, memory_order_relaxed); /* a word by itself */
	if (!module)
		return 0;
	place = find_place(words, module, len);
	if (place < 0)
		return -ENOSPC;
	atomic_store_explicit(&words->at[place].level, word, memory_order_relaxed); /* as above */
	return 0;
}

/* The file's words, mapped; the lock goes with *ret_fd. */
static int map_words(int dirfd, struct pen_log_words **ret, int *ret_fd)
{
	int fd = open_words(dirfd, true);
	void *map;

	if (fd < 0)
		return fd;
	map = mmap(NULL, sizeof **ret, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		(void)close(fd);
		return -ENOMEM;
	}
	*ret = map;
	*ret_fd = fd;
	return 0;
}

int pen_log_words_set(int dirfd, const char *text, struct pen_failure *why)
{
	struct pen_log_words *words;
	int fd, rc = parse(text, set_none, NULL, why);

	if (rc)
		return rc;
	rc = map_words(dirfd, &words, &fd);
	if (rc)
		return pen_fail(why, -PEN_LOG_PLACE, -rc, "the file of log levels cannot be written: %s",
				strerror(-rc));
	rc = parse(text, set_shared, words, why);
	(void)munmap(words, sizeof *words);
	(void)close(fd);
	return rc;
}

long pen_log_words_text(int dirfd, char *ret, size_t cap)
{
	struct pen_log_words words;
	size_t at = 0;
	/* Only to be looked at: a directory that cannot be written is as good. */
	int fd = openat(dirfd, FILE_NAME, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	bool good = fd >= 0 && pread(fd, &words, sizeof words, 0) == (ssize_t)sizeof words &&
		    !memcmp(words.magic, PEN_LOG_WORDS_MAGIC, sizeof words.magic);
	int err = fd < 0 ? errno : EBADMSG;

	if (fd >= 0)
		(void)close(fd);
	if (!good && err != ENOENT)
		return -err;
	if (!good) {
		memset(&words, 0, sizeof words);
		name_parts(&words);
	}
	for (uint32_t i = 0; i < PEN_LOG_MODULES && words.at[i].name[0]; i++) {
		uint32_t word = words.at[i].level;

		at += (size_t)snprintf(at < cap ? ret + at : NULL, at < cap ? cap - at : 0, "%s%.23s=%s",
				       at ? "," : "", words.at[i].name,
				       pen_log_level_name(word && word <= PEN_LOG_LEVELS ? word - 1
											 : PEN_LOG_INFO));
	}
	return (long)at;
}
