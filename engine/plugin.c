/* SPDX-License-Identifier: MIT */
/*
 * The file is hashed before it is loaded, so that a batch is known by what its plugin was. A file that is exchanged
 * between the two is noticed by its inode and time.
 */
#include "engine/plugin.h"

#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ring/assert.h"
#include "ring/base.h"
#include "ring/error.h"

struct pen_plugin_host {
	char path[PATH_MAX];
	struct pen_sum hash;
	void *object;		 /* dlopen's */
	struct pen_plugin about; /* a copy: what a shorter one lacks is 0 */
	void **instances;
	uint32_t instance_count;
};

/* Up to this field a descriptor has to reach; what came later may be missing. */
#define SIZE_MIN (offsetof(struct pen_plugin, close) + sizeof(void (*)(void *)))

/* ---- finding and loading ------------------------------------------------------------------- */

static bool is_symbol(const char *text)
{
	if (!isalpha((unsigned char)*text) && *text != '_')
		return false;
	for (; *text; text++)
		if (!isalnum((unsigned char)*text) && *text != '_')
			return false;
	return true;
}

/* FILE[:SYMBOL]: what stands behind the last colon is a symbol if it can be one and no file has the whole name. */
static int resolve(struct pen_plugin_host *host, const char *spec, const char **ret_symbol,
		   struct pen_failure *why)
{
	const char *colon = strrchr(spec, ':');
	char file[PATH_MAX];
	size_t len = strlen(spec);

	*ret_symbol = PEN_PLUGIN_SYMBOL;
	if (colon && is_symbol(colon + 1) && access(spec, F_OK)) {
		*ret_symbol = colon + 1;
		len = (size_t)(colon - spec);
	}
	if (!len || len >= sizeof file)
		return pen_fail(why, -PEN_USAGE, 0, "so: needs a file: so:FILE or so:FILE:SYMBOL");
	memcpy(file, spec, len);
	file[len] = '\0';
	if (!realpath(file, host->path))
		return pen_fail(why, -PEN_PLUGIN_OPEN, errno, "the plugin '%s' cannot be opened: %s", file,
				strerrordesc_np(errno));
	return 0;
}

static int hash_file(struct pen_plugin_host *host, struct stat *ret, struct pen_failure *why)
{
	int fd = open(host->path, O_RDONLY | O_CLOEXEC), rc = 0;
	void *map = MAP_FAILED;

	*ret = (struct stat){ 0 };
	if (fd < 0 || fstat(fd, ret))
		rc = errno;
	else if (!S_ISREG(ret->st_mode))
		rc = S_ISDIR(ret->st_mode) ? EISDIR : EINVAL;
	else if (!ret->st_size)
		rc = ENOEXEC;
	if (!rc) {
		map = mmap(NULL, (size_t)ret->st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		rc = map == MAP_FAILED ? errno : 0;
	}
	if (!rc) {
		host->hash = pen_hash128(map, (size_t)ret->st_size);
		munmap(map, (size_t)ret->st_size);
	}
	if (fd >= 0)
		close(fd);
	return rc ? pen_fail(why, -PEN_PLUGIN_OPEN, rc, "the plugin '%s' cannot be read: %s", host->path,
			     strerrordesc_np(rc))
		  : 0;
}

static int load(struct pen_plugin_host *host, const struct stat *hashed, struct pen_failure *why)
{
	struct stat st;
	const char *text;

	host->object = dlopen(host->path, RTLD_NOW | RTLD_LOCAL);
	text = host->object ? NULL : dlerror();
	if (text)
		return pen_fail(why, -PEN_PLUGIN_OPEN, 0, "the plugin cannot be loaded: %s", text);
	if (stat(host->path, &st) || st.st_ino != hashed->st_ino || st.st_size != hashed->st_size ||
	    st.st_mtim.tv_sec != hashed->st_mtim.tv_sec || st.st_mtim.tv_nsec != hashed->st_mtim.tv_nsec)
		return pen_fail(why, -PEN_PLUGIN_OPEN, 0, "the plugin '%s' changed while it was loaded",
				host->path);
	return 0;
}

/* Takes the descriptor over, if it is one of ours. */
static int check(struct pen_plugin_host *host, const char *symbol, struct pen_failure *why)
{
	const struct pen_plugin *found = dlsym(host->object, symbol);
	struct pen_plugin *about = &host->about;

	if (!found)
		return pen_fail(why, -PEN_PLUGIN_UNFIT, 0, "'%s' has no symbol '%s'", host->path, symbol);
	if (found->abi != PEN_PLUGIN_ABI)
		return pen_fail(why, -PEN_PLUGIN_UNFIT, 0,
				"'%s' was built for plugin interface %u, this version has %u", host->path,
				found->abi, PEN_PLUGIN_ABI);
	if (found->size < SIZE_MIN || found->size > 1u << 20)
		return pen_fail(why, -PEN_PLUGIN_UNFIT, 0,
				"'%s': the plugin's descriptor has %zu bytes, %zu are needed", host->path,
				found->size, (size_t)SIZE_MIN);
	memcpy(about, found, pen_min(found->size, sizeof *about));
	if (!about->item || !about->name || !about->version)
		return pen_fail(why, -PEN_PLUGIN_UNFIT, 0,
				"'%s': the plugin lacks a name, a version or an item function", host->path);
	if (about->flags & ~(PEN_PLUGIN_KEYS | PEN_PLUGIN_JSON))
		return pen_fail(why, -PEN_PLUGIN_UNFIT, 0,
				"'%s': the plugin has flags (%#x) that this version does not know",
				host->path, about->flags);
	if (about->emit_extra > PEN_PLUGIN_EXTRA_MAX)
		return pen_fail(why, -PEN_PLUGIN_UNFIT, 0,
				"'%s': the plugin asks for %zu bytes beyond an item's; %u can be had",
				host->path, about->emit_extra, PEN_PLUGIN_EXTRA_MAX);
	return 0;
}

int pen_plugin_open(const char *spec, struct pen_plugin_host **ret, struct pen_failure *why)
{
	struct pen_plugin_host *host = calloc(1, sizeof *host);
	const char *symbol;
	struct stat st;
	int rc;

	if (!host)
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for a plugin");
	rc = resolve(host, spec, &symbol, why);
	if (!rc)
		rc = hash_file(host, &st, why);
	if (!rc)
		rc = load(host, &st, why);
	if (!rc)
		rc = check(host, symbol, why);
	if (rc) {
		pen_plugin_close(host);
		return rc;
	}
	*ret = host;
	return 0;
}

static void log_line(int level, const char *message)
{
	const struct pen_log_line line = {
		.size = sizeof line,
		.context.module = PEN_LOG_IN_PLUGIN,
		.context.level = level > PEN_LOG_OFF && level < PEN_LOG_LEVELS ? (uint8_t)level
									       : PEN_LOG_INFO,
		.message = message,
	};

	(void)pen_log_put(&line);
}

int pen_plugin_start(struct pen_plugin_host *host, const char *config, uint32_t threads,
		     struct pen_failure *why)
{
	struct pen_plugin_config given = {
		.size = sizeof given, .text = config, .threads = threads, .log = log_line
	};
	int rc;

	pen_assert(!host->instances);
	host->instances = calloc(threads, sizeof *host->instances);
	if (!host->instances)
		return pen_fail(why, -ENOMEM, ENOMEM, "no memory for a plugin");
	for (uint32_t i = 0; i < threads; i++) {
		char message[PEN_PLUGIN_MESSAGE_MAX + 1] = "";

		given.thread = i;
		rc = host->about.open ? host->about.open(&given, &host->instances[i], message, sizeof message)
				      : 0;
		message[sizeof message - 1] = '\0';
		if (rc)
			return pen_fail(why, -PEN_PLUGIN_OPEN, 0, "the plugin %s does not start: %s",
					host->about.name, message[0] ? message : "it does not say why");
		host->instance_count = i + 1;
	}
	return 0;
}

void pen_plugin_close(struct pen_plugin_host *host)
{
	if (!host)
		return;
	for (uint32_t i = 0; host->about.close && i < host->instance_count; i++)
		host->about.close(host->instances[i]);
	free(host->instances);
	if (host->object)
		(void)dlclose(host->object); /* that it stays loaded harms nobody */
	free(host);
}

const struct pen_plugin *pen_plugin_about(const struct pen_plugin_host *host)
{
	return &host->about;
}

const char *pen_plugin_path(const struct pen_plugin_host *host)
{
	return host->path;
}

struct pen_sum pen_plugin_hash(const struct pen_plugin_host *host)
{
	return host->hash;
}

/* ---- calling ------------------------------------------------------------------------------- */

static int cancelled(const struct pen_plugin_sink *sink)
{
	const _Atomic bool *stop = sink->engine;

	/* Relaxed: a flag that rises once, and nothing is read through it. */
	return stop && atomic_load_explicit(stop, memory_order_relaxed);
}

static void bad(struct pen_plugin_answer *ret, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void bad(struct pen_plugin_answer *ret, const char *format, ...)
{
	va_list ap;

	ret->verdict = PEN_PLUGIN_REJECT;
	ret->code = -PEN_PLUGIN_BAD;
	va_start(ap, format);
	(void)vsnprintf(ret->message, sizeof ret->message, format, ap);
	va_end(ap);
}

/* Length of the character that p begins, 0 when it is none. */
static size_t character(const unsigned char *p, size_t len)
{
	size_t n = *p < 0x80		     ? 1
		   : *p >= 0xc2 && *p < 0xe0 ? 2
		   : *p >= 0xe0 && *p < 0xf0 ? 3
		   : *p >= 0xf0 && *p < 0xf5 ? 4
					     : 0;

	if (n > len)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if (n > 2 && ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
		      (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f)))
		return 0;
	return n;
}

/* One line of UTF-8, whatever the plugin wrote. */
static void clean(char *text, size_t len)
{
	size_t n;

	for (size_t i = 0; i < len; i += n ? n : 1) {
		n = character((unsigned char *)text + i, len - i);
		if (!n)
			text[i] = '?';
		else if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			text[i] = ' ';
	}
}

/* The plugin's number and sentence. */
static void take_message(struct pen_plugin_answer *ret, const struct pen_plugin_sink *sink)
{
	char number[16] = "";
	size_t len = 0;

	ret->code = -PEN_PLUGIN_REJECTED;
	if (sink->code)
		len = (size_t)snprintf(number, sizeof number, "%d%s", sink->code, sink->message ? ": " : "");
	memcpy(ret->message, number, len);
	if (sink->message)
		len += (size_t)(stpncpy(ret->message + len, sink->message, PEN_PLUGIN_MESSAGE_MAX - len) -
				(ret->message + len));
	ret->message[len] = '\0';
	clean(ret->message, len);
}

void pen_plugin_call(struct pen_plugin_host *host, uint32_t thread, const struct pen_plugin_item *item,
		     char *value, size_t value_cap, char *key, const _Atomic bool *stop,
		     struct pen_plugin_answer *ret)
{
	struct pen_plugin_sink sink = {
		.size = sizeof sink,
		.value = value,
		.value_cap = value_cap,
		.key = key,
		.cancelled = cancelled,
		.engine = stop,
	};
	int verdict;

	pen_assert(thread < host->instance_count);
	verdict = host->about.item(host->instances[thread], item, &sink);
	*ret = (struct pen_plugin_answer){ .verdict = (enum pen_plugin_verdict)verdict };
	switch (verdict) {
	case PEN_PLUGIN_KEEP:
		break;
	case PEN_PLUGIN_EMIT:
		ret->value_len = sink.value_len;
		if (sink.value_len > value_cap) {
			bad(ret, "a value of %zu bytes, with room for %zu", sink.value_len, value_cap);
			return;
		}
		break;
	case PEN_PLUGIN_REJECT:
		take_message(ret, &sink);
		return;
	case PEN_PLUGIN_DROP:
		return;
	default:
		bad(ret, "the verdict %d, which is none", verdict);
		return;
	}
	if (sink.key_len && (!key || sink.key_len > PEN_PLUGIN_KEY_MAX)) {
		if (key)
			bad(ret, "a key of %zu bytes; %u is the longest", sink.key_len, PEN_PLUGIN_KEY_MAX);
		else
			bad(ret, "a key of %zu bytes, where none may be changed", sink.key_len);
		return;
	}
	ret->key_len = sink.key_len;
}
