/* SPDX-License-Identifier: MIT */
/*
 * verify and doctor: is the store whole, and what does this machine let it do?
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/vfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "include/penstock.h"
#include "tools/cmd.h"
#include "tools/home.h"
#include "tools/json.h"
#include "tools/live.h"
#include "tools/logs.h"
#include "tools/say.h"
#include "tools/text.h"

#define CHAIN 30 /* the number of what is found in audit lines (docs/FORMAT.md) */

struct findings {
	struct pen_out out;
	struct pen_jw jw;
	bool json;
};

static void finding(void *arg, int invariant, const char *text)
{
	struct findings *f = arg;

	if (!f->json) {
		pen_out_format(&f->out, "[%d] ", invariant);
		pen_out_safe(&f->out, text, strlen(text), false);
		pen_out_char(&f->out, '\n');
		return;
	}
	pen_jw_object(&f->jw, NULL);
	pen_jw_i64(&f->jw, "invariant", invariant);
	pen_jw_data(&f->jw, "finding", text, strlen(text));
	pen_jw_object_end(&f->jw);
	pen_jw_line(&f->jw);
}

/* ---- rings that nobody writes any more ------------------------------------------------------ */

static void note_stale(void *arg, const char *path, uint32_t pid)
{
	(void)arg;
	pen_say_note(
		"the progress ring '%s' was left behind by process %u, which is gone; a next run removes it",
		path, pid);
}

static void note_rings(const char *home)
{
	struct pen_store_options opt = { .size = sizeof opt, .read_only = true };
	struct pen_store_info s;
	struct pen_store *store;

	if (pen_store_open(home, &opt, &store, NULL))
		return;
	if (!pen_store_info(store, &s))
		(void)pen_live_stale(s.store_id, note_stale, NULL);
	pen_store_close(store);
}

struct stale_list {
	struct pen_jw *jw;
	struct pen_out *out;
	bool json;
};

static void list_stale(void *arg, const char *path, uint32_t pid)
{
	struct stale_list *l = arg;

	if (l->json) {
		pen_jw_data(l->jw, NULL, path, strlen(path));
		return;
	}
	pen_out_text(l->out, "            ");
	pen_out_safe(l->out, path, strlen(path), false);
	pen_out_format(l->out, ": left behind by process %u; a next run removes it\n", pid);
}

static void doctor_rings(uint64_t store_id, struct pen_jw *jw, struct pen_out *out, bool json)
{
	struct stale_list l = { .jw = jw, .out = out, .json = json };

	if (json)
		pen_jw_array(jw, "stale_rings");
	(void)pen_live_stale(store_id, list_stale, &l);
	if (json)
		pen_jw_array_end(jw);
}

static void chain_finding(void *arg, const char *text)
{
	finding(arg, CHAIN, text);
}

/* Audit lines lie in files beside the store. The number of findings; negative: a code, after a message. */
static long verify_chain(const struct pen_cmd *cmd, const struct pen_home *home, struct findings *f)
{
	struct pen_failure why = { 0 };
	char dir[PEN_HOME_PATH + 8];
	long n;

	if (!pen_logs_dir(cmd->args, home->path, dir, sizeof dir))
		return 0;
	n = pen_log_verify(dir, chain_finding, f, &why);
	if (n < 0)
		(void)pen_say_failure((int)n, &why);
	return n;
}

int pen_cmd_verify(const struct pen_cmd *cmd)
{
	struct findings f = { .json = pen_cmd_set(cmd, PEN_O_JSON) };
	struct pen_failure why = { 0 };
	struct pen_home home;
	long n;
	int rc = pen_home_find(cmd->args, &home);

	if (rc)
		return rc;
	pen_out_init(&f.out, STDOUT_FILENO);
	pen_jw_init(&f.jw, &f.out);
	n = pen_verify(home.path, finding, &f, &why);
	if (n < 0) {
		(void)pen_out_end(&f.out, 0);
		return pen_say_failure((int)n, &why);
	}
	if (n) {
		rc = pen_out_end(&f.out, 65);
		pen_say_error(-PEN_STORE_DAMAGED, "%ld violations in '%s'", n, home.path);
		pen_say_advice(
			"restore a backup, or load the sources into a new store; docs/FORMAT.md explains the numbers");
		return rc;
	}
	n = verify_chain(cmd, &home, &f);
	if (n < 0) {
		(void)pen_out_end(&f.out, 0);
		return pen_error_exit((int)n);
	}
	if (n) {
		rc = pen_out_end(&f.out, 65);
		pen_say_error(-PEN_LOG_CHAIN, "%ld violations in the audit lines of '%s'", n, home.path);
		pen_say_advice("%s", pen_error_advice(-PEN_LOG_CHAIN));
		return rc;
	}
	pen_say_note("the store '%s' is whole", home.path);
	note_rings(home.path);
	return pen_out_end(&f.out, 0);
}

static uint64_t limit_of(int what)
{
	struct rlimit r;

	return getrlimit(what, &r) || r.rlim_cur == RLIM_INFINITY ? 0 : r.rlim_cur;
}

/* What the store's directory lies on, or its parent while there is none. */
static const char *file_system(const char *path)
{
	static const struct {
		long magic;
		const char *name;
	} known[] = {
		{ 0xef53, "ext4" },
		{ 0x58465342, "xfs" },
		{ 0x9123683e, "btrfs" },
		{ 0x01021994, "tmpfs (gone after a restart)" },
		{ 0x794c7630, "overlayfs" },
		{ 0x2fc12fc1, "zfs" },
		{ 0xf2f52010, "f2fs" },
		{ 0x6969, "nfs (not for a store)" },
		{ 0x517b, "smb (not for a store)" },
		{ 0xff534d42, "cifs (not for a store)" },
		{ 0xfe534d42, "smb2 (not for a store)" },
		{ 0x01021997, "9p (not for a store)" },
		{ 0x65735546, "fuse" },
	};
	struct statfs fs;

	if (statfs(path, &fs) != 0)
		return NULL;
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if ((unsigned long)fs.f_type == (unsigned long)known[i].magic)
			return known[i].name;
	return "another one";
}

static void doctor_store(const struct pen_cmd *cmd, struct pen_jw *jw, struct pen_out *out, bool json)
{
	struct pen_store_options opt = { .size = sizeof opt, .read_only = true };
	struct pen_failure why = { 0 };
	struct pen_store_info s;
	struct pen_store *store;
	struct pen_home home;
	char used[PEN_TEXT_NUMBER], disk[PEN_TEXT_NUMBER];

	if (pen_home_find(cmd->args, &home))
		return;
	if (json) {
		pen_jw_data(jw, "store", home.path, strlen(home.path));
		pen_jw_text(jw, "store_from", home.origin);
		pen_jw_text(jw, "file_system", file_system(home.path));
	} else {
		pen_out_text(out, "store       ");
		pen_out_safe(out, home.path, strlen(home.path), false);
		pen_out_format(out, " (%s)\n", home.origin);
		if (file_system(home.path))
			pen_out_format(out, "            file system: %s\n", file_system(home.path));
	}
	if (pen_store_open(home.path, &opt, &store, &why)) {
		if (json)
			pen_jw_text(jw, "store_problem", why.text);
		else
			pen_out_format(out, "            %s\n", why.text);
		return;
	}
	if (!pen_store_info(store, &s)) {
		if (json) {
			pen_jw_u64(jw, "format", s.format);
			pen_jw_u64(jw, "map_bytes", s.map_bytes);
			pen_jw_u64(jw, "used_bytes", s.used_bytes);
			pen_jw_u64(jw, "free_disk_bytes", s.free_disk_bytes);
			pen_jw_u64(jw, "readers", s.readers);
			pen_jw_u64(jw, "readers_max", s.readers_max);
		} else {
			pen_out_format(
				out,
				"            format %u, %s used, %s free on its disk, %u of %u reader slots\n",
				s.format, pen_text_bytes(used, s.used_bytes),
				pen_text_bytes(disk, s.free_disk_bytes), s.readers, s.readers_max);
		}
		doctor_rings(s.store_id, jw, out, json);
	}
	pen_store_close(store);
}

static void doctor_bill(struct pen_jw *jw, struct pen_out *out, bool json)
{
	char bill[4096], bytes[PEN_TEXT_NUMBER];
	size_t len = pen_memory_bill(NULL, bill, sizeof bill);

	if (json)
		pen_jw_array(jw, "memory");
	else
		pen_out_text(out, "memory      of a run, at most:\n");
	for (char *line = bill; len && *line;) {
		char *tab = strchr(line, '\t'), *end = strchr(line, '\n');
		uint64_t n = strtoull(line, NULL, 10);

		if (!tab || !end)
			break;
		*end = 0;
		if (json) {
			pen_jw_object(jw, NULL);
			pen_jw_u64(jw, "bytes", n);
			pen_jw_text(jw, "what", tab + 1);
			pen_jw_object_end(jw);
		} else {
			pen_out_format(out, "  %10s  %s\n", pen_text_bytes(bytes, n), tab + 1);
		}
		line = end + 1;
	}
	if (json)
		pen_jw_array_end(jw);
}

int pen_cmd_doctor(const struct pen_cmd *cmd)
{
	bool json = pen_cmd_set(cmd, PEN_O_JSON);
	char text[1024] = "";
	int uring = pen_io_probe(text, sizeof text);
	char size[PEN_TEXT_NUMBER];
	uint64_t memory = 0;
	struct utsname un;
	struct sysinfo si;
	struct pen_out out;
	struct pen_jw jw;
	uint64_t memlock = limit_of(RLIMIT_MEMLOCK), files = limit_of(RLIMIT_NOFILE),
		 space = limit_of(RLIMIT_AS);
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	pen_out_init(&out, STDOUT_FILENO);
	pen_jw_init(&jw, &out);
	uname(&un);
	if (sysinfo(&si) == 0)
		memory = (uint64_t)si.totalram * si.mem_unit;
	if (json) {
		pen_jw_object(&jw, NULL);
		pen_jw_text(&jw, "kernel", un.release);
		pen_jw_i64(&jw, "cores", cores);
		pen_jw_u64(&jw, "memory_bytes", memory);
		pen_jw_bool(&jw, "io_uring", uring == 0);
		pen_jw_text(&jw, "io_uring_says", text);
		pen_jw_u64(&jw, "memlock_bytes", memlock);
		pen_jw_u64(&jw, "open_files", files);
		pen_jw_u64(&jw, "address_space_bytes", space);
	} else {
		pen_out_format(&out, "machine     Linux %s, %ld cores, %s of memory\n", un.release, cores,
			       pen_text_bytes(size, memory));
		pen_out_format(&out, "io_uring    %s\n", text);
		if (uring)
			pen_out_text(
				&out,
				"            files are read with threads instead; results are the same\n");
		pen_out_format(&out, "limits      %llu open files, %llu bytes of locked memory%s\n",
			       (unsigned long long)files, (unsigned long long)memlock,
			       space ? ", and an address space limit (ulimit -v) that bounds the store's map"
				     : "");
	}
	doctor_store(cmd, &jw, &out, json);
	doctor_bill(&jw, &out, json);
	if (json) {
		pen_jw_object_end(&jw);
		pen_jw_line(&jw);
	}
	return pen_out_end(&out, 0);
}
